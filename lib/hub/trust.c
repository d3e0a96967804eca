/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl reads none of the variables that name authorities: the curl program does.
 */
#include "trust.h"

#include <base/error.h>
#include <base/text.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A directory, or several with a colon between them, as OpenSSL reads SSL_CERT_DIR; it
 * goes on without those that are not there, if there is one. */
static bool names_dir(const char *list)
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

int hc_trust_load(struct hc_trust *trust, const char *path, struct hc_error *err)
{
    struct stat info;

    *trust = (struct hc_trust){0};
    if (!path)
        return 0;
    trust->is_dir = names_dir(path);
    if (!trust->is_dir && stat(path, &info) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "ca_file",
                             "the authorities to trust: cannot read '%s': %s", path,
                             strerrordesc_np(errno));
    trust->path = hc_text_copy(path, err);
    return trust->path ? 0 : -1;
}

void hc_trust_clear(struct hc_trust *trust)
{
    free(trust->path);
    *trust = (struct hc_trust){0};
}

/* Sets both, for curl would add the one it was built with to the other; and for a proxy
 * that is spoken to over TLS, which has options of its own. */
void hc_trust_apply(const struct hc_trust *trust, CURL *curl)
{
    const char *file = trust->is_dir ? NULL : trust->path;
    const char *dir = trust->is_dir ? trust->path : NULL;

    if (!trust->path)
        return;
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, file);
    (void)curl_easy_setopt(curl, CURLOPT_CAPATH, dir);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, file);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, dir);
}
