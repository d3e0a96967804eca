/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lock guards a handful of numbers (health.h, bucket.h) and is never held while
 * somebody waits. Who waits for the budget has taken nothing out of it: it is told how
 * long by those who came before it and are not gone yet, looks often, and takes when
 * there is something. So who leaves has nothing to give back.
 */
#include "endpoint.h"

#include "bucket.h"
#include "health.h"
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
        struct hc_health health;
        struct hc_bucket budget;
        uint64_t arrived; /* callers, since the start */
        uint64_t gone;    /* of them, whether to ask or to give up */
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

/* Why a caller may not ask yet; zero: it may. */
struct obstacle {
    enum hc_reason held_for;
    int64_t held_ms;
    int64_t spent_ms; /* the budget, for as long as others are first */
};

/* Takes the request out of the budget when nothing is in the way. */
static struct obstacle look(struct hc_endpoint *endpoint, uint64_t turn)
{
    struct hc_bucket *budget = &endpoint->shared.budget;
    int64_t now_ms = hc_monotonic_ms();
    struct obstacle obstacle;
    uint64_t gone;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    gone = endpoint->shared.gone;
    obstacle.held_for = endpoint->shared.health.held_for;
    obstacle.held_ms = hc_health_held_ms(&endpoint->shared.health, now_ms);
    obstacle.spent_ms =
        hc_bucket_wait_ms(budget, turn > gone ? turn - gone + 1 : 1, now_ms);
    if (obstacle.held_ms == 0 && obstacle.spent_ms == 0)
        (void)hc_bucket_take(budget, 1, now_ms);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return obstacle;
}

/* 1: waited, look again; 0: nothing was in the way. Out of a hold each comes a little
 * later, by himself, so that not all come back at once. */
static int wait_out(const struct hc_endpoint *endpoint, const struct obstacle *obstacle,
                    struct hc_call *call, bool is_patient, struct hc_error *err)
{
    int64_t pause_ms = obstacle->spent_ms < GLANCE_MS ? obstacle->spent_ms : GLANCE_MS;

    if (obstacle->held_ms > 0) {
        pause_ms = obstacle->held_ms + hc_jitter_ms(obstacle->held_ms);
        if (!is_patient || pause_ms >= hc_patience_ms(call))
            return fail_held(endpoint, obstacle->held_for, obstacle->held_ms, err);
    } else if (obstacle->spent_ms > 0 && obstacle->spent_ms >= hc_patience_ms(call)) {
        return fail_spent(endpoint, obstacle->spent_ms, err);
    }
    if (pause_ms == 0)
        return 0;
    return hc_call_pause(call, pause_ms, err) < 0 ? -1 : 1;
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

int hc_endpoint_enter(struct hc_endpoint *endpoint, struct hc_call *call, bool is_patient,
                      struct hc_error *err)
{
    uint64_t turn = arrive(endpoint);
    int result;

    do {
        const struct obstacle obstacle = look(endpoint, turn);

        result = wait_out(endpoint, &obstacle, call, is_patient, err);
    } while (result > 0);
    go(endpoint);
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

void hc_endpoint_hear(struct hc_endpoint *endpoint, const struct hc_reply *reply,
                      const struct hc_error *failure)
{
    struct hc_health *health = &endpoint->shared.health;
    bool is_overloaded = reply->status == 408 || reply->status >= 500;
    bool is_silent = failure && reply->status == 0 && !failure->is_final &&
                     failure->reason == HC_HUB_UNREACHABLE;
    int64_t now_ms = hc_monotonic_ms();
    int64_t hold_ms = hold_of(reply);

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    if (is_silent || is_overloaded)
        hc_health_fail(health, now_ms);
    else if (reply->status != 0)
        hc_health_rise(health);
    if (hold_ms > 0)
        hc_health_hold(health, is_overloaded ? HC_HUB_UNREACHABLE : HC_HUB_RATE_LIMITED,
                       hold_ms, now_ms);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
}

int64_t hc_endpoint_held_ms(struct hc_endpoint *endpoint)
{
    int64_t held_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    held_ms = hc_health_held_ms(&endpoint->shared.health, hc_monotonic_ms());
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return held_ms;
}

int64_t hc_endpoint_away_ms(struct hc_endpoint *endpoint)
{
    int64_t away_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    away_ms = hc_health_away_ms(&endpoint->shared.health, hc_monotonic_ms());
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return away_ms;
}

int64_t hc_endpoint_probe(struct hc_endpoint *endpoint)
{
    int64_t left_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    left_ms = hc_health_probe(&endpoint->shared.health, hc_monotonic_ms());
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return left_ms;
}

int hc_endpoint_fail_down(const struct hc_endpoint *endpoint, int64_t left_ms,
                          struct hc_error *err)
{
    (void)hc_fail(
        err, HC_HUB_UNREACHABLE,
        "%.100s did not answer %d times in a row, and is asked again in %" PRId64 " ms",
        endpoint->url, HC_FAILURES_MAX, left_ms);
    err->retry_after_ms = (unsigned)left_ms;
    return -1;
}
