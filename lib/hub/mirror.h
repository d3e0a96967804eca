/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A query: one thing that is asked of the Hub, then of its mirrors in order of
 * preference. A mirror comes last while its circuit is open or it throttles its callers.
 * When an endpoint cannot be reached, or answers "too many requests", the next one is
 * asked, and only when there is none does the caller wait. Whatever else the Hub says is
 * the answer.
 *
 * A mirror's answer counts when it has what is asked for, or says that a commit has no
 * such file. A mirror gets no token, may lag behind and may lack repos, so its refusals
 * mean nothing. With `hub_only` or `endpoint` in the credentials no mirror is asked. For
 * the files of this folder.
 */
#ifndef HC_HUB_MIRROR_H
#define HC_HUB_MIRROR_H

#include "hub_request.h"

struct hc_hub_query {
    struct hc_hub *hub;
    const struct hc_hub_credentials *credentials;
    struct hc_hub_target target;
    bool is_known_to_exist; /* the Hub has said that what is asked for is there */
    const struct hc_hub_download *download; /* Optional: of the bytes of a file */

    /* Sends `request` to its endpoint; the URL is still to be set. */
    int (*send)(void *ctx, struct hc_hub_request *request, struct hc_error *err);
    void *ctx;
};

/* What `send` returned last; when no endpoint could be reached, the Hub's own failure. */
int hc_hub_query_run(const struct hc_hub_query *query, struct hc_error *err);

#endif
