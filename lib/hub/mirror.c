/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mirror.h. An endpoint that is down is skipped by those who have an older answer; of
 * the others it is the last resort. So is one that wants to be left alone: it is put off,
 * and waited for when all others were of no use.
 */
#include "mirror.h"

#include "retry.h"

#include <base/error.h>

enum state { NEW, PUT_OFF, DONE };

/* A question on its way from one endpoint to the next. */
struct round {
    const struct hc_errand *errand;
    size_t count; /* of endpoints that may be asked: all, or the Hub alone */
    enum state states[HC_ENDPOINTS_MAX];
    size_t left;            /* that are not done */
    struct hc_error of_hub; /* why the Hub itself was no use */
};

/*
 * Whether a mirror's failure says nothing, and the next endpoint is to be asked. A mirror
 * gets no token, may lag behind and may lack repos: that it refuses or lacks something is
 * not the Hub's word. Only that a commit has no such file is as good as the Hub's, unless
 * the Hub has said that it has.
 */
static bool says_nothing(const struct hc_errand *errand, const struct hc_error *err)
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
        return errand->is_known;
    default:
        return hc_retry_may_help(err);
    }
}

static bool may_be_elsewhere(const struct hc_errand *errand,
                             const struct hc_hub_request *request,
                             const struct hc_error *err)
{
    if (request->has_begun)
        return false;
    return request->is_trusted ? hc_retry_may_help(err) : says_nothing(errand, err);
}

/* Who may find out that it is back does so now: not before it is asked. */
static int put(const struct hc_errand *errand, struct hc_hub_request *request,
               struct hc_error *err)
{
    int64_t down_ms = hc_endpoint_try(request->endpoint, &request->key);

    if (down_ms == 0 || !errand->credentials->no_retry)
        return errand->put(errand->ctx, request, err);
    (void)hc_endpoint_fail_open(request->endpoint, down_ms, err);
    return hc_hub_request_fail(request, err);
}

/* 1: another one is to be asked; 0 and -1: that was the answer. */
static int visit(struct round *round, size_t i, struct hc_error *err)
{
    const struct hc_errand *errand = round->errand;
    struct hc_hub_request request;

    hc_hub_request_init(&request, errand->hub, errand->credentials, &errand->about);
    hc_hub_request_set_endpoint(&request, errand->hub->endpoints[i]);
    request.has_mirror = round->left > 1 && round->states[i] == NEW;
    if (put(errand, &request, err) == 0)
        return 0;
    if (!may_be_elsewhere(errand, &request, err))
        return -1;
    if (request.is_trusted)
        round->of_hub = *err;
    if (request.has_mirror &&
        hc_endpoint_throttled_ms(request.endpoint, &request.key) > 0) {
        round->states[i] = PUT_OFF;
        return 1;
    }
    round->states[i] = DONE;
    round->left--;
    return 1;
}

/* Of those that are left, which may be asked soonest; of equals, the first. */
static size_t choose(const struct round *round)
{
    const struct hc_hub *hub = round->errand->hub;
    int64_t soonest_ms = INT64_MAX;
    size_t chosen = 0;

    for (size_t i = 0; i < round->count; i++) {
        const struct hc_breaker_key key =
            hc_hub_request_breaker_key(round->errand->credentials,
                                       round->errand->about.repo, i == 0);
        int64_t away_ms = hc_endpoint_unavailable_ms(hub->endpoints[i], &key);

        if (round->states[i] != DONE && away_ms < soonest_ms) {
            soonest_ms = away_ms;
            chosen = i;
        }
    }
    return chosen;
}

/* Budget: an endpoint is asked once, and once more, after its hold, when it was put off. */
int hc_mirrors_ask(const struct hc_errand *errand, struct hc_error *err)
{
    size_t count = errand->credentials->hub_only ? 1 : errand->hub->endpoint_count;
    struct round round = {.errand = errand, .count = count, .left = count};
    int result = 1;

    while (result > 0 && round.left > 0)
        result = visit(&round, choose(&round), err);
    if (result > 0)
        *err = round.of_hub;
    if (result == 0)
        return 0;
    return errand->about.path ? hc_fail_about_file(err, errand->about.path) : -1;
}
