/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question, several endpoints: the Hub, then its mirrors in order of preference,
 * those that are down or want to be left alone last. "Unreachable" and "too many
 * requests" send on to the next one, and only when there is none does the caller wait.
 * Whatever else the Hub says is the answer. Of a mirror only what it has is an answer,
 * and that a commit has no such file: it gets no token, may lag behind and may lack
 * repos, so its refusals say nothing. A caller with hub_only asks no mirror. For the
 * files of this folder.
 */
#ifndef HC_HUB_MIRROR_H
#define HC_HUB_MIRROR_H

#include "hub_request.h"

struct hc_hub_query {
    struct hc_hub *hub;
    const struct hc_hub_credentials *credentials;
    struct hc_hub_target target;
    bool is_known_to_exist; /* the Hub has said that what is asked for is there */

    /* Asks one endpoint, with what `ask` was made for; the URL is still to be set. */
    int (*send)(void *ctx, struct hc_hub_request *request, struct hc_error *err);
    void *ctx;
};

/* What `put` returned at last; when no endpoint could be reached, the Hub's own failure.
 */
int hc_hub_query_run(const struct hc_hub_query *query, struct hc_error *err);

#endif
