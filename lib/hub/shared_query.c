/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of the single flight of queries. Beside the states of base/single_flight.h,
 * an idle flight may remember a failure, `retry_later`: the Hub told the caller that
 * asked to come back at a time that is beyond its deadline. A waiter whose deadline is as
 * near is told the same; one with more time asks again, and may wait for that time in its
 * retries.
 */
#include "shared_query.h"

#include "retry.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <string.h>

struct query_flight {
    struct hc_single_flight flight;
    char *name;
    struct hc_keyed_hash token;
    bool no_retry;
    bool hub_only;
    struct hc_endpoint *endpoint;
    struct hc_error failure;     /* when finished; reason HC_OK: it was answered */
    struct hc_error retry_later; /* when idle; reason HC_OK: none */
    void *answer;
    void (*drop)(void *answer);
};

static bool query_has_key(const struct hc_single_flight *flight, const void *key)
{
    const struct query_flight *of = (const struct query_flight *)flight;
    const struct hc_shared_query *query = key;
    const struct hc_keyed_hash token = hc_keyed_hash_of(query->credentials->token);

    return of->no_retry == query->credentials->no_retry &&
           of->hub_only == query->credentials->hub_only &&
           of->endpoint == query->credentials->endpoint &&
           strcmp(of->name, query->name) == 0 && hc_keyed_hash_equals(&of->token, &token);
}

static void query_destroy(struct hc_single_flight *flight)
{
    struct query_flight *of = (struct query_flight *)flight;

    if (of->answer && of->drop)
        of->drop(of->answer);
    free(of->answer);
    free(of->name);
    free(of);
}

static struct hc_single_flight *query_create(const void *key, struct hc_error *err)
{
    const struct hc_shared_query *query = key;
    struct query_flight *of = calloc(1, sizeof *of);

    if (!of) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    of->no_retry = query->credentials->no_retry;
    of->hub_only = query->credentials->hub_only;
    of->endpoint = query->credentials->endpoint;
    of->drop = query->drop;
    of->token = hc_keyed_hash_of(query->credentials->token);
    of->answer = calloc(1, query->answer_size);
    of->name = strdup(query->name);
    if (of->answer && of->name)
        return &of->flight;
    query_destroy(&of->flight);
    (void)hc_fail_memory(err);
    return NULL;
}

/* Ends the wait of a caller that is cancelled, and of one that has no more time than the
 * caller that was told to retry later. */
static int query_decide(const struct hc_single_flight *flight, const void *caller,
                        struct hc_error *err)
{
    const struct query_flight *of = (const struct query_flight *)flight;
    const struct hc_hub_credentials *credentials = caller;

    if (hc_cancellation_check(credentials->cancellation, err) < 0)
        return -1;
    if (flight->has_runner || of->retry_later.reason == HC_OK ||
        hc_retry_remaining_ms(credentials->cancellation) > of->retry_later.retry_after_ms)
        return 0;
    *err = of->retry_later;
    return -1;
}

static const struct hc_single_flight_rules query_rules = {.has_key = query_has_key,
                                                          .create = query_create,
                                                          .destroy = query_destroy,
                                                          .decide = query_decide};

void hc_shared_queries_init(struct hc_single_flights *queries)
{
    hc_single_flights_init(queries, &query_rules);
}

static void query_copy_answer(const struct hc_shared_query *query, void *to,
                              const void *from)
{
    if (query->copy)
        query->copy(to, from);
    else
        memcpy(to, from, query->answer_size);
}

/* Whether a failure says more about how long its caller could wait than about the Hub. */
static bool failure_is_of_caller(const struct hc_error *failure,
                                 struct hc_cancellation *cancellation)
{
    return failure->reason == HC_CANCELLED || failure->reason == HC_DEADLINE_EXCEEDED ||
           hc_retry_remaining_ms(cancellation) < failure->retry_after_ms;
}

/* Asks for all callers of the flight, without the lock; the answer is copied under it, so
 * that a caller is never told of one that is not there yet. */
static int query_run_for_all(struct hc_single_flights *queries, struct query_flight *of,
                             const struct hc_shared_query *query, void *answer,
                             struct hc_error *err)
{
    int result = query->run(query->ctx, answer, err);
    HC_LOCKED(&queries->shared.lock);

    if (result < 0 && failure_is_of_caller(err, query->credentials->cancellation)) {
        if (err->retry_after_ms > 0)
            of->retry_later = *err;
        hc_single_flight_hand_over(&of->flight);
        return -1;
    }
    if (result < 0)
        of->failure = *err;
    query_copy_answer(query, of->answer, answer);
    hc_single_flight_finish(&of->flight);
    return result;
}

int hc_shared_query_run(struct hc_single_flights *queries,
                        const struct hc_shared_query *query, void *answer,
                        struct hc_error *err)
{
    struct hc_single_flight *flight = hc_single_flight_join(queries, query, err);
    struct query_flight *of = (struct query_flight *)flight;
    int result;

    memset(answer, 0, query->answer_size);
    if (!flight)
        return -1;
    result = hc_single_flight_wait(queries, flight, query->credentials,
                                   query->credentials->cancellation, err);
    if (result == HC_FLIGHT_RUN) {
        result = query_run_for_all(queries, of, query, answer, err);
    } else if (result == HC_FLIGHT_FINISHED) {
        query_copy_answer(query, answer, of->answer);
        if (of->failure.reason != HC_OK) {
            *err = of->failure;
            result = -1;
        }
    }
    hc_single_flight_leave(queries, flight);
    return result;
}
