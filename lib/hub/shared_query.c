/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question is in the list while it may still be joined; who is aboard is a count. The
 * list's lock guards every member until the question is settled; what was answered is not
 * changed any more afterwards, and is read without it by those who are aboard. When the
 * caller that asks leaves, another one asks: as often as there are callers, at most.
 */
#include "shared_query.h"

#include "retry.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

/* A caller's cancellation does not reach the condition: waiters look this often. */
enum { POLL_INTERVAL_MS = 100 };

struct query {
    LIST_ENTRY(query) link;
    char *name;
    struct hc_keyed_hash token;
    bool no_retry;
    bool hub_only;
    unsigned waiters;
    bool is_running; /* somebody is asking */
    bool is_settled;
    struct hc_error failure; /* when settled: reason HC_OK when it was answered */
    struct hc_error
        retry_later; /* else: of an asker who could not wait; reason HC_OK: none */
    void *answer;
    void (*drop)(void *answer);
    pthread_cond_t changed;
};

struct hc_shared_queries {
    struct {
        pthread_mutex_t lock;
        LIST_HEAD(, query) list;
    } shared;
};

static void shared_queries_lock(struct hc_shared_queries *queries)
{
    (void)pthread_mutex_lock(&queries->shared.lock);
}

static void shared_queries_unlock(struct hc_shared_queries *queries)
{
    (void)pthread_mutex_unlock(&queries->shared.lock);
}

static void query_free(struct query *query)
{
    if (query->answer && query->drop)
        query->drop(query->answer);
    (void)pthread_cond_destroy(&query->changed);
    free(query->answer);
    free(query->name);
    free(query);
}

static struct query *query_new(const struct hc_shared_query *like, struct hc_error *err)
{
    struct query *query = calloc(1, sizeof *query);

    if (!query) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    hc_condition_init(&query->changed);
    query->no_retry = like->credentials->no_retry;
    query->hub_only = like->credentials->hub_only;
    query->drop = like->drop;
    query->answer = calloc(1, like->answer_size);
    query->name = strdup(like->name);
    query->token = hc_keyed_hash_of(like->credentials->token);
    if (query->answer && query->name)
        return query;
    query_free(query);
    (void)hc_fail_memory(err);
    return NULL;
}

static struct query *shared_queries_find(const struct hc_shared_queries *queries,
                                         const struct hc_shared_query *like)
{
    const struct hc_keyed_hash token = hc_keyed_hash_of(like->credentials->token);
    struct query *query;

    LIST_FOREACH(query, &queries->shared.list, link)
    {
        if (query->no_retry == like->credentials->no_retry &&
            query->hub_only == like->credentials->hub_only &&
            strcmp(query->name, like->name) == 0 &&
            hc_keyed_hash_equals(&query->token, &token))
            return query;
    }
    return NULL;
}

static struct query *shared_queries_join(struct hc_shared_queries *queries,
                                         const struct hc_shared_query *like,
                                         struct hc_error *err)
{
    struct query *query;

    shared_queries_lock(queries);
    query = shared_queries_find(queries, like);
    if (!query) {
        query = query_new(like, err);
        if (query)
            LIST_INSERT_HEAD(&queries->shared.list, query, link);
    }
    if (query)
        query->waiters++;
    shared_queries_unlock(queries);
    return query;
}

static void shared_queries_leave(struct hc_shared_queries *queries, struct query *query)
{
    bool is_last;

    shared_queries_lock(queries);
    is_last = --query->waiters == 0;
    if (is_last && !query->is_settled)
        LIST_REMOVE(query, link);
    shared_queries_unlock(queries);
    if (is_last)
        query_free(query);
}

static void query_wait_interval(struct hc_shared_queries *queries, struct query *query,
                                struct hc_cancellation *call)
{
    int64_t left = hc_cancellation_remaining_ms(call);
    hc_condition_wait(&query->changed, &queries->shared.lock,
                      left < POLL_INTERVAL_MS ? left : POLL_INTERVAL_MS);
}

enum outcome { OUTCOME_SETTLED, OUTCOME_RUN, OUTCOME_LEFT };

/* An asker who could not wait says enough to those who can wait no longer. */
static bool query_must_retry_later(const struct query *query,
                                   struct hc_cancellation *call)
{
    return query->retry_later.reason != HC_OK &&
           hc_retry_remaining_ms(call) <= query->retry_later.retry_after_ms;
}

/* Waits until the question is settled, or ours to ask; OVER with `err`. */
static enum outcome query_await(struct hc_shared_queries *queries, struct query *query,
                                struct hc_cancellation *call, struct hc_error *err)
{
    while (!query->is_settled) {
        if (hc_cancellation_check(call, err) < 0)
            return OUTCOME_LEFT;
        if (!query->is_running && query_must_retry_later(query, call)) {
            *err = query->retry_later;
            return OUTCOME_LEFT;
        }
        if (!query->is_running) {
            query->is_running = true;
            return OUTCOME_RUN;
        }
        query_wait_interval(queries, query, call);
    }
    return OUTCOME_SETTLED;
}

/* Whether a failure says more about the patience of who asked than about the Hub. */
static bool failure_is_of_caller(const struct hc_error *failure,
                                 struct hc_cancellation *call)
{
    return failure->reason == HC_CANCELLED || failure->reason == HC_DEADLINE_EXCEEDED ||
           hc_retry_remaining_ms(call) < failure->retry_after_ms;
}

static void query_copy_answer(const struct hc_shared_query *like, void *to,
                              const void *from)
{
    if (like->copy)
        like->copy(to, from);
    else
        memcpy(to, from, like->answer_size);
}

/* `failure` is NULL when all went well. */
static void query_settle(struct hc_shared_queries *queries, struct query *query,
                         const struct hc_shared_query *like, const void *answer,
                         const struct hc_error *failure)
{
    shared_queries_lock(queries);
    query->is_running = false;
    if (failure && failure_is_of_caller(failure, like->credentials->cancellation)) {
        if (failure->retry_after_ms > 0)
            query->retry_later = *failure;
    } else {
        query->is_settled = true;
        if (failure)
            query->failure = *failure;
        query_copy_answer(like, query->answer, answer);
        LIST_REMOVE(query, link);
    }
    (void)pthread_cond_broadcast(&query->changed);
    shared_queries_unlock(queries);
}

/* What somebody else was told. */
static int query_share(const struct query *query, const struct hc_shared_query *like,
                       void *answer, struct hc_error *err)
{
    query_copy_answer(like, answer, query->answer);
    if (query->failure.reason == HC_OK)
        return 0;
    *err = query->failure;
    return -1;
}

struct hc_shared_queries *hc_shared_queries_new(struct hc_error *err)
{
    struct hc_shared_queries *queries = calloc(1, sizeof *queries);

    if (!queries) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&queries->shared.lock, NULL);
    LIST_INIT(&queries->shared.list);
    return queries;
}

void hc_shared_queries_free(struct hc_shared_queries *queries)
{
    if (!queries)
        return;
    (void)pthread_mutex_destroy(&queries->shared.lock);
    free(queries);
}

int hc_shared_queries_run(struct hc_shared_queries *queries,
                          const struct hc_shared_query *like, void *answer,
                          struct hc_error *err)
{
    struct query *query = shared_queries_join(queries, like, err);
    enum outcome outcome;
    int result = -1;

    memset(answer, 0, like->answer_size);
    if (!query)
        return -1;
    shared_queries_lock(queries);
    outcome = query_await(queries, query, like->credentials->cancellation, err);
    shared_queries_unlock(queries);
    if (outcome == OUTCOME_RUN) {
        result = like->ask(like->ctx, answer, err);
        query_settle(queries, query, like, answer, result < 0 ? err : NULL);
    } else if (outcome == OUTCOME_SETTLED) {
        result = query_share(query, like, answer, err);
    }
    shared_queries_leave(queries, query);
    return result;
}

unsigned hc_shared_queries_waiters(struct hc_shared_queries *queries)
{
    const struct query *query;
    unsigned callers = 0;

    shared_queries_lock(queries);
    LIST_FOREACH(query, &queries->shared.list, link)
    {
        callers += query->waiters;
    }
    shared_queries_unlock(queries);
    return callers;
}
