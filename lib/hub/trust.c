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

int hc_trust_load(struct hc_trust *trust, const char *path, struct hc_error *err)
{
    struct stat info;

    *trust = (struct hc_trust){0};
    if (!path)
        return 0;
    if (stat(path, &info) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "ca_file",
                             "the authorities to trust: cannot read '%s': %s", path,
                             strerrordesc_np(errno));
    trust->is_dir = S_ISDIR(info.st_mode);
    trust->path = hc_text_copy(path, err);
    return trust->path ? 0 : -1;
}

void hc_trust_clear(struct hc_trust *trust)
{
    free(trust->path);
    *trust = (struct hc_trust){0};
}

/* Sets both, for curl would add the one it was built with to the other. */
void hc_trust_apply(const struct hc_trust *trust, CURL *curl)
{
    if (!trust->path)
        return;
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, trust->is_dir ? NULL : trust->path);
    (void)curl_easy_setopt(curl, CURLOPT_CAPATH, trust->is_dir ? trust->path : NULL);
}
