/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whom to believe over TLS: the system's authorities, or those of one file or directory,
 * or of several directories with a colon between them, in their place. Unchanging once
 * loaded; any thread may apply it.
 */
#ifndef HC_HUB_CERTIFICATES_H
#define HC_HUB_CERTIFICATES_H

#include <curl/curl.h>
#include <stdbool.h>

struct hc_error;

struct hc_certificates {
    char *path; /* NULL: the system's */
    bool is_dir;
};

/* `path` is copied, NULL for the system's; INVALID_OPTIONS when none is there. */
int hc_certificates_load(struct hc_certificates *certificates, const char *path,
                         struct hc_error *err);
void hc_certificates_clear(struct hc_certificates *certificates);

void hc_certificates_apply(const struct hc_certificates *certificates, CURL *curl);

#endif
