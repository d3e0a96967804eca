/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of a query, each in a state: new, postponed or done. Of those that are
 * not done, the one that is available soonest is asked next (breaker.h), and is done
 * then; but a new one that throttles the caller is postponed while another one is left,
 * and waited for when all others were of no use. A caller with an older answer skips an
 * endpoint whose circuit is open; for others it is the last resort.
 */
#include "mirror.h"

#include "retry.h"

#include <base/error.h>

enum endpoint_state { ENDPOINT_NEW, ENDPOINT_POSTPONED, ENDPOINT_DONE };

/* A query on its way from one endpoint to the next. */
struct rotation {
    const struct hc_hub_query *query;
    size_t count; /* of endpoints that may be asked: all, or the Hub alone */
    enum endpoint_state progress[HC_ENDPOINTS_MAX];
    size_t left;            /* that are not done */
    struct hc_error of_hub; /* why the Hub itself was no use */
};

/* Whether the next endpoint is to be asked after a mirror's failure. "The commit has no
 * such file" is as good as the Hub's answer, unless the Hub has said that it has. */
static bool mirror_failure_is_meaningless(const struct hc_hub_query *query,
                                          const struct hc_error *err)
{
    switch (err->reason) {
    case HC_HUB_UNAUTHORIZED:
    case HC_GATED_REPO:
    case HC_REPO_DISABLED:
    case HC_REPO_NOT_FOUND:
    case HC_REVISION_NOT_FOUND:
    case HC_BAD_HUB_REPLY:
        return true;
    case HC_ENTRY_NOT_FOUND:
        return query->is_known_to_exist;
    default:
        return hc_retry_may_help(err);
    }
}

static bool query_may_try_next(const struct hc_hub_query *query,
                               const struct hc_hub_request *request,
                               const struct hc_error *err)
{
    if (request->has_begun)
        return false;
    return request->is_trusted ? hc_retry_may_help(err)
                               : mirror_failure_is_meaningless(query, err);
}

/* The circuit is tried right before the request is sent, so that a try is never lost. */
static int query_send(const struct hc_hub_query *query, struct hc_hub_request *request,
                      struct hc_error *err)
{
    int64_t open_ms = hc_endpoint_try(request->endpoint, &request->key);

    if (open_ms == 0 || !query->credentials->no_retry)
        return query->send(query->ctx, request, err);
    (void)hc_endpoint_fail_open(request->endpoint, open_ms, err);
    return hc_hub_request_fail(request, err);
}

static struct hc_endpoint *rotation_endpoint(const struct rotation *rotation, size_t i)
{
    const struct hc_hub *hub = rotation->query->hub;

    return i == 0 ? hc_hub_first_endpoint(hub, rotation->query->credentials)
                  : hub->endpoints[i];
}

/* 1: another one is to be asked; 0 and -1: that was the answer. */
static int rotation_try(struct rotation *rotation, size_t i, struct hc_error *err)
{
    const struct hc_hub_query *query = rotation->query;
    struct hc_hub_request request;

    hc_hub_request_init(&request, query->hub, query->credentials, &query->target);
    if (i > 0)
        hc_hub_request_set_endpoint(&request, rotation_endpoint(rotation, i));
    request.download = query->download;
    request.has_mirror = rotation->left > 1 && rotation->progress[i] == ENDPOINT_NEW;
    if (query_send(query, &request, err) == 0)
        return 0;
    if (!query_may_try_next(query, &request, err))
        return -1;
    if (request.is_trusted)
        rotation->of_hub = *err;
    if (request.has_mirror &&
        hc_endpoint_throttled_ms(request.endpoint, &request.key) > 0) {
        rotation->progress[i] = ENDPOINT_POSTPONED;
        return 1;
    }
    rotation->progress[i] = ENDPOINT_DONE;
    rotation->left--;
    return 1;
}

/* Of those that are left, the one that is available soonest; of equals, the first. */
static size_t rotation_choose(const struct rotation *rotation)
{
    int64_t soonest_ms = INT64_MAX;
    size_t chosen = 0;

    for (size_t i = 0; i < rotation->count; i++) {
        const struct hc_breaker_key key =
            hc_hub_request_breaker_key(rotation->query->credentials,
                                       rotation->query->target.repo, i == 0);
        int64_t unavailable_ms =
            hc_endpoint_unavailable_ms(rotation_endpoint(rotation, i), &key);

        if (rotation->progress[i] != ENDPOINT_DONE && unavailable_ms < soonest_ms) {
            soonest_ms = unavailable_ms;
            chosen = i;
        }
    }
    return chosen;
}

/* Budget: an endpoint is asked once, and once more, after its throttle, when it was
 * postponed. */
int hc_hub_query_run(const struct hc_hub_query *query, struct hc_error *err)
{
    size_t count = hc_hub_endpoint_count(query->hub, query->credentials);
    struct rotation rotation = {.query = query, .count = count, .left = count};
    int result = 1;

    while (result > 0 && rotation.left > 0)
        result = rotation_try(&rotation, rotation_choose(&rotation), err);
    if (result > 0)
        *err = rotation.of_hub;
    if (result == 0)
        return 0;
    return query->target.path ? hc_fail_about_file(err, query->target.path) : -1;
}
