/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock guards a handful of numbers (health.h, bucket.h) and is never held while a
 * visitor waits. A visitor that waits for the budget has taken nothing out of it: it is
 * told how long by those that came before it and are not gone yet, looks often, and takes
 * when there is something. So one that leaves has nothing to give back.
 */
#include "endpoint.h"

#include "breaker.h"
#include "bucket.h"
#include "retry.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

struct hc_endpoint {
    char *url;
    struct {
        pthread_mutex_t lock;
        struct hc_breaker breaker;
        struct hc_bucket budget;
        uint64_t arrived;        /* callers, since the start */
        uint64_t gone;           /* of them, whether to ask or to give up */
        struct hc_error failure; /* of the last probe in an outage */
    } shared;
};

enum {
    GLANCE_MS = 100,      /* how often who waits for the budget looks at it */
    HOLD_UNTOLD_MS = 1000 /* after a 429 that does not say how long */
};

/* A URL of the web with nothing behind the path, and nobody's password in it. */
static int check_url(const char *url, struct hc_error *err)
{
    char joined[HC_URL_MAX];

    if (url && hc_text_is_printable(url) && !strpbrk(url, "?#@ ") &&
        strlen(url) < HC_URL_MAX / 4 && hc_url_join(joined, url, url))
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "endpoint",
                         "the endpoint is no http:// or https:// URL: set HF_ENDPOINT or "
                         "--endpoint to one without user, query and fragment");
}

static int fail_held(const struct hc_endpoint *endpoint, enum hc_reason reason,
                     int64_t left_ms, struct hc_error *err)
{
    (void)hc_fail(err, reason,
                  "%.100s asked for a pause earlier; it is asked again in %" PRId64 " ms",
                  endpoint->url, left_ms);
    err->retry_after_ms = (unsigned)left_ms;
    return -1;
}

static int fail_spent(const struct hc_endpoint *endpoint, int64_t wait_ms,
                      struct hc_error *err)
{
    (void)hc_fail(err, HC_HUB_RATE_LIMITED,
                  "the budget of %" PRIu64 " requests a second is spent for %" PRId64
                  " ms: raise it, or ask for less",
                  endpoint->shared.budget.per_second, wait_ms);
    err->retry_after_ms = (unsigned)wait_ms;
    return -1;
}

static uint64_t arrive(struct hc_endpoint *endpoint)
{
    uint64_t turn;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    turn = endpoint->shared.arrived++;
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return turn;
}

static void go(struct hc_endpoint *endpoint)
{
    (void)pthread_mutex_lock(&endpoint->shared.lock);
    endpoint->shared.gone++;
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
}

/* Why a visitor may not ask yet; zero: it may. */
struct obstacle {
    enum hc_download_lock turn; /* in an outage */
    int64_t down_ms;            /* until the next probe, with HC_BREAKER_WAIT */
    enum hc_reason held_for;
    int64_t held_ms;
    int64_t spent_ms; /* the budget, for as long as others are first */
};

/* A visitor on its way in. */
struct entrance {
    struct hc_endpoint *endpoint;
    struct hc_visit *visit;
    uint64_t turn; /* in the order of arrival */
    struct hc_breaker_wait seen;
};

/* Takes the request out of the budget when nothing is in the way. Not patient: does not
 * wait for the end of an outage, but asks. */
static struct obstacle look(struct entrance *entrance)
{
    struct hc_endpoint *endpoint = entrance->endpoint;
    const struct hc_breaker_key *key = &entrance->visit->asker;
    struct hc_breaker *breaker = &endpoint->shared.health;
    struct hc_bucket *budget = &endpoint->shared.budget;
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_throttle *pause;
    struct obstacle obstacle = {0};
    uint64_t before_it;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    pause = hc_breaker_find_throttle(breaker, key, now_ms);
    if (pause) {
        obstacle.held_for = pause->reason;
        obstacle.held_ms = pause->until_ms - now_ms;
    } else if (entrance->visit->is_patient && !entrance->visit->is_probe) {
        obstacle.turn = hc_breaker_acquire(breaker, key, &entrance->seen, now_ms);
        obstacle.down_ms = entrance->seen.wait_ms;
        entrance->visit->is_probe = obstacle.turn == HC_BREAKER_HALF_OPEN;
    }
    before_it = entrance->turn > endpoint->shared.gone
                    ? entrance->turn - endpoint->shared.gone
                    : 0;
    obstacle.spent_ms = hc_bucket_wait_ms(budget, before_it + 1, now_ms);
    if (!pause && obstacle.turn <= HC_BREAKER_HALF_OPEN && obstacle.spent_ms == 0)
        (void)hc_bucket_take(budget, 1, now_ms);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return obstacle;
}

static int pause_for(struct hc_visit *visit, int64_t pause_ms, struct hc_error *err)
{
    return hc_cancellation_sleep(visit->call, pause_ms, err) < 0 ? -1 : 1;
}

/* For the next probe, or for what it brings. All visitors that wait hear of a failure. */
static int wait_out_outage(struct entrance *entrance, const struct obstacle *obstacle,
                           struct hc_error *err)
{
    struct hc_endpoint *endpoint = entrance->endpoint;
    struct hc_visit *visit = entrance->visit;
    int64_t left_ms = obstacle->down_ms > 0 ? obstacle->down_ms : GLANCE_MS;
    int64_t patience_ms = hc_patience_ms(visit->call);

    if (obstacle->turn == HC_BREAKER_STILL_OPEN) {
        (void)pthread_mutex_lock(&endpoint->shared.lock);
        *err = endpoint->shared.failure;
        (void)pthread_mutex_unlock(&endpoint->shared.lock);
        return -1;
    }
    if (hc_cancellation_remaining_ms(visit->call) == HC_NO_DEADLINE)
        patience_ms -= visit->waited_ms;
    if (left_ms >= patience_ms)
        return hc_endpoint_fail_down(endpoint, left_ms, err);
    if (left_ms > GLANCE_MS)
        left_ms = GLANCE_MS;
    visit->waited_ms += left_ms;
    return pause_for(visit, left_ms, err);
}

/* 1: waited, look again; 0: nothing was in the way. Out of a hold each comes a little
 * later, by itself, so that not all come back at once. */
static int wait_out(struct entrance *entrance, const struct obstacle *obstacle,
                    struct hc_error *err)
{
    const struct hc_endpoint *endpoint = entrance->endpoint;
    struct hc_visit *visit = entrance->visit;
    int64_t pause_ms = obstacle->spent_ms < GLANCE_MS ? obstacle->spent_ms : GLANCE_MS;

    if (obstacle->turn > HC_BREAKER_HALF_OPEN)
        return wait_out_outage(entrance, obstacle, err);
    if (obstacle->held_ms > 0) {
        pause_ms = obstacle->held_ms + hc_jitter_ms(obstacle->held_ms);
        if (!visit->is_patient || pause_ms >= hc_patience_ms(visit->call))
            return fail_held(endpoint, obstacle->held_for, obstacle->held_ms, err);
    } else if (obstacle->spent_ms > 0 &&
               obstacle->spent_ms >= hc_patience_ms(visit->call)) {
        return fail_spent(endpoint, obstacle->spent_ms, err);
    }
    return pause_ms == 0 ? 0 : pause_for(visit, pause_ms, err);
}

/* A probe that was not made: another visitor makes it. */
static void give_probe_back(struct hc_endpoint *endpoint, struct hc_visit *visit)
{
    if (!visit->is_probe)
        return;
    visit->is_probe = false;
    (void)pthread_mutex_lock(&endpoint->shared.lock);
    hc_breaker_release_trial(&endpoint->shared.health, &visit->asker);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
}

struct hc_endpoint *hc_endpoint_new(const char *url, unsigned requests_per_second,
                                    struct hc_error *err)
{
    HC_AUTO(hc_endpoint) *endpoint = NULL;

    if (check_url(url, err) < 0)
        return NULL;
    endpoint = calloc(1, sizeof *endpoint);
    if (!endpoint) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&endpoint->shared.lock, NULL);
    endpoint->shared.budget.per_second = requests_per_second;
    endpoint->url = hc_text_copy(url, err);
    if (!endpoint->url)
        return NULL;
    for (size_t end = strlen(url); end > 0 && endpoint->url[end - 1] == '/'; end--)
        endpoint->url[end - 1] = '\0';
    return hc_take(&endpoint);
}

void hc_endpoint_free(struct hc_endpoint *endpoint)
{
    if (!endpoint)
        return;
    (void)pthread_mutex_destroy(&endpoint->shared.lock);
    free(endpoint->url);
    free(endpoint);
}

const char *hc_endpoint_url(const struct hc_endpoint *endpoint)
{
    return endpoint->url;
}

int hc_endpoint_enter(struct hc_endpoint *endpoint, struct hc_visit *visit,
                      struct hc_error *err)
{
    struct entrance entrance = {.endpoint = endpoint,
                                .visit = visit,
                                .turn = arrive(endpoint)};
    int result;

    visit->is_probe = false;
    do {
        const struct obstacle obstacle = look(&entrance);

        result = wait_out(&entrance, &obstacle, err);
    } while (result > 0);
    go(endpoint);
    if (result < 0)
        give_probe_back(endpoint, visit);
    return result;
}

/*
 * For how long this answer asks to be left alone. A 429 means all of us even when it does
 * not say how long; a 503 that does not may be of one server among many, so that the next
 * request may do: three in a row make it down.
 */
static int64_t hold_of(const struct hc_reply *reply)
{
    int64_t told_ms = hc_reply_may_pass(reply) ? reply->retry_after_ms : 0;

    if (told_ms == 0 && reply->status == 429)
        return HOLD_UNTOLD_MS;
    return told_ms < HC_PAUSE_TOLD_MAX_MS ? told_ms : HC_PAUSE_TOLD_MAX_MS;
}

/* With the lock: what it says of the endpoint's health that a request failed. */
static void hear_failure(struct hc_endpoint *endpoint, const struct hc_visit *visit,
                         const struct hc_reply *reply, const struct hc_error *failure)
{
    struct hc_breaker *breaker = &endpoint->shared.health;
    unsigned probes = hc_breaker_pauses(breaker, &visit->asker);
    unsigned doublings = probes < visit->doublings ? probes : visit->doublings;
    int64_t pause_ms = hc_pause_ms(visit->pause_base_ms, doublings);
    const struct hc_breaker_failure how = {
        .was_sent = reply->status != 0 || reply->was_sent,
        .was_trial = visit->is_probe,
        .now_ms = hc_monotonic_ms(),
        .pause_ms = pause_ms < HC_BREAKER_OPEN_MS ? pause_ms : HC_BREAKER_OPEN_MS};

    hc_breaker_record_failure(breaker, &visit->asker, &how);
    if (!visit->is_probe)
        return;
    if (failure)
        endpoint->shared.failure = *failure;
    else
        (void)hc_fail(&endpoint->shared.failure, HC_HUB_UNREACHABLE,
                      "%.100s answers HTTP %ld: it is out of order; try again later",
                      endpoint->url, reply->status);
}

void hc_endpoint_hear(struct hc_endpoint *endpoint, struct hc_visit *visit,
                      const struct hc_reply *reply, const struct hc_error *failure)
{
    struct hc_breaker *breaker = &endpoint->shared.health;
    bool is_overloaded = reply->status == 408 || reply->status >= 500;
    bool is_silent = failure && reply->status == 0 && !failure->is_final &&
                     failure->reason == HC_HUB_UNREACHABLE;
    int64_t now_ms = hc_monotonic_ms();
    int64_t hold_ms = hold_of(reply);
    const struct hc_throttle pause = {.reason = is_overloaded ? HC_HUB_UNREACHABLE
                                                              : HC_HUB_RATE_LIMITED,
                                      .until_ms = now_ms + hold_ms};

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    if (is_silent || is_overloaded)
        hear_failure(endpoint, visit, reply, failure);
    else if (reply->status != 0)
        hc_breaker_record_success(breaker, &visit->asker);
    else if (visit->is_probe)
        hc_breaker_release_trial(breaker, &visit->asker);
    if (hold_ms > 0)
        hc_breaker_throttle(breaker, &visit->asker, &pause, now_ms);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    visit->is_probe = false;
}

int64_t hc_endpoint_held_ms(struct hc_endpoint *endpoint,
                            const struct hc_breaker_key *key)
{
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_throttle *pause;
    int64_t held_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    pause = hc_breaker_find_throttle(&endpoint->shared.health, key, now_ms);
    held_ms = pause ? pause->until_ms - now_ms : 0;
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return held_ms;
}

int64_t hc_endpoint_away_ms(struct hc_endpoint *endpoint,
                            const struct hc_breaker_key *key)
{
    int64_t away_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    away_ms = hc_breaker_unavailable_ms(&endpoint->shared.health, key, hc_monotonic_ms());
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return away_ms;
}

unsigned hc_endpoint_pauses(struct hc_endpoint *endpoint,
                            const struct hc_breaker_key *key)
{
    unsigned pauses;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    pauses = hc_breaker_pauses(&endpoint->shared.health, key);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return pauses;
}

int64_t hc_endpoint_probe(struct hc_endpoint *endpoint, const struct hc_breaker_key *key)
{
    int64_t left_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    left_ms = hc_breaker_try(&endpoint->shared.health, key, hc_monotonic_ms());
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return left_ms;
}

int hc_endpoint_fail_down(const struct hc_endpoint *endpoint, int64_t left_ms,
                          struct hc_error *err)
{
    (void)hc_fail(
        err, HC_HUB_UNREACHABLE,
        "%.100s did not answer %d times in a row, and is asked again in %" PRId64 " ms",
        endpoint->url, HC_BREAKER_FAILURES, left_ms);
    err->retry_after_ms = (unsigned)left_ms;
    return -1;
}
