/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's thread attends: it hashes what has arrived in order, and adds and ends
 * workers, each a thread with a blocking connection. Workers have a call of their own,
 * with the caller's deadline: cancelling it ends them all, whatever they wait for.
 *
 * A worker that fails while others run leaves; the last one has patience, and its failure
 * is the transfer's. So a server that will not have many connections keeps one.
 */
#include "stripe.h"

#include "busy.h"
#include "ramp.h"
#include "worker.h"

#include <base/condition.h>
#include <base/error.h>
#include <base/text.h>

#include <stdatomic.h>
#include <string.h>

enum { WORKERS_MAX = 64, GLANCE_MS = 10, LAST_ANSWERS_MS = 500 };

/* Where a worker is, or was until its thread is joined. */
struct place {
    struct stripe *stripe;
    pthread_t thread;
    bool is_used;
    atomic_bool is_over;
};

struct stripe {
    struct hc_byte_source *origin;
    struct hc_pieces *pieces;
    struct hc_budget *budget;
    struct hc_grant *grant; /* connections of the budget */
    struct hc_crew crew;
    struct hc_ramp ramp;
    struct hc_busy busy;
    struct hc_cancellation *outer; /* the caller's */
    struct hc_cancellation *inner; /* the workers' */
    unsigned held;                 /* connections of the grant */
    struct place places[WORKERS_MAX];
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        unsigned running;
        unsigned wanted;
        enum hc_reason loss; /* why the last worker left that failed, or HC_OK */
        struct hc_error failure;
    } shared;
};

static void lock(struct stripe *stripe)
{
    (void)pthread_mutex_lock(&stripe->shared.lock);
}

static void unlock(struct stripe *stripe)
{
    (void)pthread_mutex_unlock(&stripe->shared.lock);
}

/* One of several may go; the last one may not. */
static bool may_leave(void *ctx, const struct hc_error *failure)
{
    struct stripe *stripe = ctx;
    bool may;

    lock(stripe);
    may = stripe->shared.running > 1 &&
          (failure || stripe->shared.running > stripe->shared.wanted);
    stripe->shared.running -= may;
    if (may && failure)
        stripe->shared.loss = failure->reason;
    unlock(stripe);
    return may;
}

static bool may_not_leave(void *ctx, const struct hc_error *failure)
{
    (void)ctx;
    (void)failure;
    return false;
}

static void *work(void *ctx)
{
    struct place *place = ctx;
    struct stripe *stripe = place->stripe;
    struct hc_error err;
    int result = hc_worker_run(&stripe->crew, &err);

    lock(stripe);
    if (result != HC_WORKER_LEFT)
        stripe->shared.running--;
    if (result < 0 && stripe->shared.failure.reason == HC_OK)
        stripe->shared.failure = err;
    (void)pthread_cond_signal(&stripe->shared.news);
    unlock(stripe);
    atomic_store(&place->is_over, true);
    return NULL;
}

static void join(struct place *place)
{
    (void)pthread_join(place->thread, NULL);
    place->is_used = false;
}

static struct place *find_place(struct stripe *stripe)
{
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        struct place *place = &stripe->places[i];

        if (place->is_used && atomic_load(&place->is_over))
            join(place);
        if (!place->is_used)
            return place;
    }
    return NULL;
}

static bool start_worker(struct stripe *stripe)
{
    struct place *place = find_place(stripe);

    if (!place)
        return false;
    place->stripe = stripe;
    atomic_store(&place->is_over, false);
    lock(stripe);
    stripe->shared.running++;
    unlock(stripe);
    place->is_used = pthread_create(&place->thread, NULL, work, place) == 0;
    if (place->is_used)
        return true;
    lock(stripe);
    stripe->shared.running--;
    unlock(stripe);
    return false;
}

/* Fewer, when connections were lost; for good when the server says that it wants fewer. */
static void count_losses(struct stripe *stripe, int64_t now_ms)
{
    unsigned left = stripe->shared.running > 0 ? stripe->shared.running : 1;

    if (stripe->shared.loss == HC_HUB_RATE_LIMITED)
        hc_ramp_limit(&stripe->ramp, left, now_ms);
    else if (stripe->shared.loss != HC_OK)
        hc_ramp_retreat(&stripe->ramp, left, now_ms);
    stripe->shared.loss = HC_OK;
}

/* How many workers there should be; that many may stay. Returns how many there are. */
static unsigned decide(struct stripe *stripe, unsigned *wanted)
{
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_flow flow = {.bytes = hc_pieces_arrived(stripe->pieces),
                                 .flowing = hc_byte_source_receiving(stripe->origin),
                                 .is_busy = hc_busy_is_most(&stripe->busy, now_ms)};
    unsigned running;

    lock(stripe);
    running = stripe->shared.running;
    count_losses(stripe, now_ms);
    *wanted = hc_ramp_next(&stripe->ramp, now_ms, &flow);
    if (hc_byte_source_kind_of(stripe->origin) != HC_BYTE_SOURCE_SENDS_RANGES)
        *wanted = 1;
    else if (running > 1 && hc_budget_is_short(stripe->budget))
        *wanted = running - 1;
    stripe->shared.wanted = *wanted;
    unlock(stripe);
    return running;
}

/*
 * One connection of the budget for each worker; the first came with the transfer. In the
 * place of a worker that failed there is no other one before the ramp's next step, a
 * second or more later and twice as long each time.
 */
static int adjust(struct stripe *stripe, struct hc_error *err)
{
    unsigned wanted;
    unsigned running = decide(stripe, &wanted);

    while (stripe->held > running && stripe->held > 1) {
        hc_budget_give_back(stripe->budget, stripe->grant, 1);
        stripe->held--;
    }
    while (running < wanted && hc_pieces_is_open(stripe->pieces)) {
        if (running == stripe->held && !hc_budget_try(stripe->budget, stripe->grant))
            break;
        stripe->held += running == stripe->held;
        if (!start_worker(stripe))
            break;
        running++;
    }
    return running > 0 || !hc_pieces_is_open(stripe->pieces)
               ? 0
               : hc_fail(err, HC_INTERNAL, "the system gives no thread for a download");
}

static int check(struct stripe *stripe, struct hc_error *err)
{
    int64_t left = hc_cancellation_remaining_ms(stripe->outer);
    int result = hc_cancellation_check(stripe->outer, err);

    if (left != HC_NO_DEADLINE)
        left += hc_monotonic_ms();
    hc_cancellation_extend(stripe->inner, left);
    lock(stripe);
    if (result == 0 && stripe->shared.failure.reason != HC_OK) {
        *err = stripe->shared.failure;
        result = -1;
    }
    unlock(stripe);
    return result;
}

static void glance(struct stripe *stripe)
{
    lock(stripe);
    hc_condition_wait(&stripe->shared.news, &stripe->shared.lock, GLANCE_MS);
    unlock(stripe);
}

static int attend(struct stripe *stripe, struct hc_error *err)
{
    struct hc_ingest *ingest = stripe->origin->ingest;

    while (hc_pieces_missing(stripe->pieces) > 0) {
        int hashed;

        if (check(stripe, err) < 0 || adjust(stripe, err) < 0)
            return -1;
        hashed = hc_ingest_hash(ingest, err);
        if (hashed < 0)
            return -1;
        if (hashed == 0)
            glance(stripe);
    }
    return 0;
}

/* Whether all answers end by themselves: so their connections can be used again. */
static bool await_ends(struct stripe *stripe)
{
    int64_t give_up_ms = hc_monotonic_ms() + LAST_ANSWERS_MS;
    unsigned running;

    lock(stripe);
    while (stripe->shared.running > 0 && hc_monotonic_ms() < give_up_ms &&
           !hc_cancellation_is_set(stripe->outer))
        hc_condition_wait(&stripe->shared.news, &stripe->shared.lock, GLANCE_MS);
    running = stripe->shared.running;
    unlock(stripe);
    return running == 0;
}

static void finish(struct stripe *stripe, bool has_failed)
{
    if (has_failed || !await_ends(stripe))
        hc_cancellation_cancel(stripe->inner);
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        if (stripe->places[i].is_used)
            join(&stripe->places[i]);
    }
}

static int bring_large(struct stripe *stripe, struct hc_error *err)
{
    struct hc_caller *caller = &stripe->origin->credentials;
    int result;

    (void)pthread_mutex_init(&stripe->shared.lock, NULL);
    hc_condition_init(&stripe->shared.news);
    caller->call = stripe->inner;
    result = attend(stripe, err);
    finish(stripe, result < 0);
    caller->call = stripe->outer;
    (void)pthread_cond_destroy(&stripe->shared.news);
    (void)pthread_mutex_destroy(&stripe->shared.lock);
    return result;
}

static unsigned limit_of(const struct hc_budget *budget)
{
    unsigned size = hc_budget_size(budget);

    return size < WORKERS_MAX ? size : WORKERS_MAX;
}

static int bring(struct hc_byte_source *origin, struct hc_budget *budget,
                 struct hc_grant *grant, struct hc_error *err)
{
    const struct hc_crew alone = {.origin = origin,
                                  .share_of = 1,
                                  .may_leave = may_not_leave};
    HC_AUTO(hc_cancellation) *inner = NULL;
    HC_AUTO_FREE struct stripe *stripe = NULL;

    if (hc_byte_source_is_small(origin))
        return hc_worker_run(&alone, err);
    inner = hc_cancellation_new(0);
    stripe = calloc(1, sizeof *stripe);
    if (!inner || !stripe)
        return hc_fail_memory(err);
    stripe->origin = origin;
    stripe->pieces = hc_ingest_pieces(origin->ingest);
    stripe->budget = budget;
    stripe->grant = grant;
    stripe->crew = (struct hc_crew){.origin = origin,
                                    .share_of = 2 * (uint64_t)limit_of(budget),
                                    .may_leave = may_leave,
                                    .ctx = stripe};
    stripe->outer = origin->credentials.call;
    stripe->inner = inner;
    stripe->held = 1;
    hc_ramp_start(&stripe->ramp, limit_of(budget), hc_monotonic_ms());
    return bring_large(stripe, err);
}

static uint64_t arrived(void *ctx)
{
    return hc_pieces_arrived(ctx);
}

/* A hash of scheme, host and port; 0 when the URL is not known. */
static uint64_t host_key(const char *url)
{
    const char *host = strstr(url, "//");
    size_t length = host ? (size_t)(host - url) + 2 + strcspn(host + 2, "/?#") : 0;

    return length > 0 ? hc_hash_bytes(HC_HASH_START, url, length) : 0;
}

int hc_stripe_bring(struct hc_byte_source *origin, struct hc_budget *budget,
                    struct hc_error *err)
{
    const char *folder = origin->request->repo->folder;
    struct hc_pieces *pieces = hc_ingest_pieces(origin->ingest);
    struct hc_grant grant = {
        .keys = {[HC_GRANT_CALLER] = origin->credentials.key,
                 [HC_GRANT_REPO] = hc_hash_bytes(HC_HASH_START, folder, strlen(folder)),
                 [HC_GRANT_HOST] = host_key(origin->shared.location)},
        .arrived = arrived,
        .ctx = pieces,
    };
    int result;

    if (hc_pieces_missing(pieces) == 0)
        return 0;
    if (hc_budget_take(budget, &grant, origin->credentials.call, err) < 0)
        return -1;
    result = bring(origin, budget, &grant, err);
    /* No other thread is at the origin any more. */
    hc_budget_end(budget, &grant, host_key(origin->shared.location), result == 0);
    return result;
}
