/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that looks every two seconds whether files of the configuration have changed:
 * those of callers, of TLS, and the policy. They are local files, or those of a mounted
 * Secret or ConfigMap, so that one does not keep another waiting for long.
 */
#ifndef HC_SERVER_FILE_WATCHER_H
#define HC_SERVER_FILE_WATCHER_H

#include "auth.h"
#include "policy_file.h"
#include "tls.h"

struct hc_file_watcher;

/* All borrowed until the close; each may be NULL. */
struct hc_watched_files {
    struct hc_auth *auth;
    struct hc_tls *tls;
    struct hc_policy_file *policy;
};

struct hc_file_watcher *hc_file_watcher_open(const struct hc_watched_files *files,
                                             struct hc_error *err);
void hc_file_watcher_close(struct hc_file_watcher *watcher);
HC_DEFINE_AUTO(hc_file_watcher, hc_file_watcher_close)

#endif
