/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See mirror.h. An endpoint that is down is skipped by those who have an older answer; of
 * the others it is the last resort.
 */
#include "mirror.h"

#include <base/error.h>

/* A question on its way from one endpoint to the next. */
struct round {
    const struct hc_errand *errand;
    int64_t down_ms[HC_ENDPOINTS_MAX]; /* of those that count as down, for how long */
    size_t left;                       /* not asked yet */
    struct hc_error of_hub;            /* why the Hub itself was no use */
};

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

static int put(const struct round *round, size_t i, struct hc_ask *ask,
               struct hc_error *err)
{
    const struct hc_errand *errand = round->errand;

    if (round->down_ms[i] == 0 || !errand->caller->asks_once)
        return errand->put(errand->ctx, ask, err);
    (void)hc_endpoint_fail_down(ask->endpoint, round->down_ms[i], err);
    return hc_ask_fail(ask, err);
}

/* 1: the next one is to be asked; 0 and -1: that was the answer. */
static int visit(struct round *round, size_t i, struct hc_error *err)
{
    const struct hc_errand *errand = round->errand;
    struct hc_ask ask;

    hc_ask_init(&ask, errand->hub, errand->caller, &errand->about);
    hc_ask_address(&ask, errand->hub->endpoints[i]);
    ask.has_mirror = --round->left > 0;
    if (put(round, i, &ask, err) == 0)
        return 0;
    if (!may_be_elsewhere(&ask, err))
        return -1;
    if (ask.is_trusted)
        round->of_hub = *err;
    return 1;
}

int hc_mirrors_ask(const struct hc_errand *errand, struct hc_error *err)
{
    const struct hc_hub *hub = errand->hub;
    struct round round = {.errand = errand, .left = hub->endpoint_count};
    int result = 1;

    for (size_t i = 0; result > 0 && i < hub->endpoint_count; i++) {
        /* Not before it is asked: who may find out that it is back must do so. */
        round.down_ms[i] = hc_endpoint_probe(hub->endpoints[i]);
        if (round.down_ms[i] == 0)
            result = visit(&round, i, err);
    }
    for (size_t i = 0; result > 0 && i < hub->endpoint_count; i++) {
        if (round.down_ms[i] > 0)
            result = visit(&round, i, err);
    }
    if (result > 0)
        *err = round.of_hub;
    return result == 0 ? 0 : -1;
}
