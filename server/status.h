/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure on its way out: the reason's status code, and a google.rpc.Status that tells
 * a program what is wrong with which repo, when to try again, which field is at fault,
 * where to read on. Small enough for a trailer, whatever the request held. From any
 * thread.
 */
#ifndef HC_SERVER_STATUS_H
#define HC_SERVER_STATUS_H

#include "answer.h"

#include <hubcache/repo.h>

/* What the request was about, as far as known; NULL or "" is not told. */
struct hc_error_info {
    const char *repo_id;
    enum hc_repo_type repo_type;
    const char *revision;
    const char *filename;
};

/* `facts` may be NULL. NULL: out of memory. */
struct hc_answer *hc_status_answer(const struct hc_error *err,
                                   const struct hc_error_info *info);

#endif
