/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl reads none of the variables that name authorities: the curl program does.
 */
#include "certificates.h"

#include <base/error.h>
#include <base/text.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A directory, or several with a colon between them, as OpenSSL reads SSL_CERT_DIR; it
 * goes on without those that are not there, if there is one. */
static bool path_list_has_directory(const char *list)
{
    struct stat info;

    while (*list) {
        const char *end = strchrnul(list, ':');
        HC_AUTO_FREE char *path = strndup(list, (size_t)(end - list));

        if (path && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            return true;
        list = *end ? end + 1 : end;
    }
    return false;
}

int hc_certificates_load(struct hc_certificates *certificates, const char *path,
                         struct hc_error *err)
{
    struct stat info;

    *certificates = (struct hc_certificates){0};
    if (!path)
        return 0;
    certificates->is_dir = path_list_has_directory(path);
    if (!certificates->is_dir && stat(path, &info) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "ca_file",
                             "the authorities to trust: cannot read '%s': %s", path,
                             strerrordesc_np(errno));
    certificates->path = hc_text_copy(path, err);
    return certificates->path ? 0 : -1;
}

void hc_certificates_clear(struct hc_certificates *certificates)
{
    free(certificates->path);
    *certificates = (struct hc_certificates){0};
}

/* Sets both, for curl would add the one it was built with to the other; and for a proxy
 * that is spoken to over TLS, which has options of its own. */
void hc_certificates_apply(const struct hc_certificates *certificates, CURL *curl)
{
    const char *file = certificates->is_dir ? NULL : certificates->path;
    const char *dir = certificates->is_dir ? certificates->path : NULL;

    if (!certificates->path)
        return;
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, file);
    (void)curl_easy_setopt(curl, CURLOPT_CAPATH, dir);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, file);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, dir);
}
