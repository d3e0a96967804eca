/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mirror.h. An endpoint that is down is skipped by those who have an older answer; of
 * the others it is the last resort.
 */
#include "mirror.h"

#include <base/error.h>

/* One endpoint, and how long it still counts as down; 0: it does not. */
struct candidate {
    struct hc_endpoint *endpoint;
    int64_t down_ms;
};

/* Those that are up in their order, then the others in theirs. */
static void rank(const struct hc_hub *hub, struct candidate ranked[HC_ENDPOINTS_MAX])
{
    struct candidate down[HC_ENDPOINTS_MAX];
    size_t count = 0, down_count = 0;

    for (size_t i = 0; i < hub->endpoint_count; i++) {
        struct candidate candidate = {hub->endpoints[i],
                                      hc_endpoint_probe(hub->endpoints[i])};

        if (candidate.down_ms == 0)
            ranked[count++] = candidate;
        else
            down[down_count++] = candidate;
    }
    for (size_t i = 0; i < down_count; i++)
        ranked[count++] = down[i];
}

/* A mirror is not given the token, so its refusal is not the Hub's. */
static bool is_for_want_of_token(const struct hc_ask *ask, const struct hc_error *err)
{
    bool is_refusal = err->reason == HC_HUB_UNAUTHORIZED ||
                      err->reason == HC_GATED_REPO || err->reason == HC_REPO_NOT_FOUND;

    return is_refusal && !ask->is_trusted && ask->caller->token && ask->caller->token[0];
}

static bool may_be_elsewhere(const struct hc_ask *ask, const struct hc_error *err)
{
    if (ask->has_begun)
        return false;
    return (err->reason == HC_HUB_UNREACHABLE && !err->is_final) ||
           is_for_want_of_token(ask, err);
}

static int put(const struct hc_errand *errand, const struct candidate *candidate,
               struct hc_ask *ask, struct hc_error *err)
{
    if (candidate->down_ms == 0 || !errand->caller->asks_once)
        return errand->put(errand->ctx, ask, err);
    (void)hc_endpoint_fail_down(candidate->endpoint, candidate->down_ms, err);
    return hc_ask_fail(ask, err);
}

int hc_mirrors_ask(const struct hc_errand *errand, struct hc_error *err)
{
    const struct hc_hub *hub = errand->hub;
    struct candidate ranked[HC_ENDPOINTS_MAX] = {0};
    struct hc_error of_hub = {0};

    rank(hub, ranked);
    for (size_t i = 0; i < hub->endpoint_count; i++) {
        struct hc_ask ask;

        hc_ask_init(&ask, errand->hub, errand->caller, &errand->about);
        hc_ask_address(&ask, ranked[i].endpoint);
        ask.has_mirror = i + 1 < hub->endpoint_count;
        if (put(errand, &ranked[i], &ask, err) == 0)
            return 0;
        if (!may_be_elsewhere(&ask, err))
            return -1;
        if (ask.is_trusted)
            of_hub = *err;
    }
    *err = of_hub;
    return -1;
}
