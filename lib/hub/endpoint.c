/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request waits in hc_endpoint_acquire() for up to three things, each of which makes a
 * delay: a throttle that an earlier answer asked for, an open circuit (breaker.h), and
 * the budget of requests a second. It looks again every POLL_INTERVAL_MS, and for a
 * throttle at its end.
 *
 * The lock guards a handful of numbers and is never held while a request waits. One that
 * waits for the budget has taken nothing out of it: its ticket says how many came before
 * it and have not left, hence how long it will take, and it takes its share when there is
 * one. So a caller that leaves has nothing to give back.
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
    atomic_bool is_private;
    struct {
        pthread_mutex_t lock;
        struct hc_breaker breaker;
        struct hc_bucket budget;
        uint64_t arrived;        /* requests, since the start */
        uint64_t left;           /* of them, to be sent or given up */
        struct hc_error failure; /* of the last trial request of an open circuit */
    } shared;
};

enum {
    POLL_INTERVAL_MS = 100,    /* how often a request that waits looks again */
    THROTTLE_DEFAULT_MS = 1000 /* after a 429 that does not say how long */
};

/* An http(s) URL with nothing behind the path and no user in it. */
static int endpoint_check_url(const char *url, struct hc_error *err)
{
    char joined[HC_URL_MAX];

    if (url && hc_text_is_printable(url) && !strpbrk(url, "?#@ ") &&
        strlen(url) < HC_URL_MAX / 4 && hc_url_join(joined, url, url))
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "endpoint",
                         "the endpoint is no http:// or https:// URL: set HF_ENDPOINT or "
                         "--endpoint to one without user, query and fragment");
}

static int endpoint_fail_throttled(const struct hc_endpoint *endpoint,
                                   enum hc_reason reason, int64_t left_ms,
                                   struct hc_error *err)
{
    (void)hc_fail(err, reason,
                  "%.100s asked for a pause earlier; it is asked again in %" PRId64 " ms",
                  endpoint->url, left_ms);
    err->retry_after_ms = (unsigned)left_ms;
    return -1;
}

static int endpoint_fail_over_budget(const struct hc_endpoint *endpoint, int64_t wait_ms,
                                     struct hc_error *err)
{
    (void)hc_fail(err, HC_HUB_RATE_LIMITED,
                  "the budget of %" PRIu64 " requests a second is spent for %" PRId64
                  " ms: raise it, or ask for less",
                  endpoint->shared.budget.per_second, wait_ms);
    err->retry_after_ms = (unsigned)wait_ms;
    return -1;
}

static uint64_t endpoint_take_ticket(struct hc_endpoint *endpoint)
{
    HC_LOCKED(&endpoint->shared.lock);

    return endpoint->shared.arrived++;
}

static void endpoint_leave_queue(struct hc_endpoint *endpoint)
{
    HC_LOCKED(&endpoint->shared.lock);

    endpoint->shared.left++;
}

/* A throttle's delay. Each request comes a little later than that, by chance, so that not
 * all come back at once. */
static int64_t permit_throttle_delay_ms(const struct hc_endpoint *endpoint,
                                        const struct hc_endpoint_permit *permit,
                                        const struct hc_throttle *throttle,
                                        struct hc_error *err)
{
    int64_t left_ms = throttle->until_ms - hc_monotonic_ms();
    int64_t delay_ms;

    if (left_ms < 1)
        left_ms = 1;
    delay_ms = left_ms + hc_retry_jitter_ms(left_ms);
    if (!permit->may_wait || delay_ms >= hc_retry_remaining_ms(permit->cancellation))
        return endpoint_fail_throttled(endpoint, throttle->reason, left_ms, err);
    return delay_ms;
}

/* The delay until the next trial request, or while one is under way, in slices. */
static int64_t permit_open_delay_ms(const struct hc_endpoint *endpoint,
                                    struct hc_endpoint_permit *permit,
                                    struct hc_error *err)
{
    int64_t left_ms = permit->wait.wait_ms > 0 ? permit->wait.wait_ms : POLL_INTERVAL_MS;
    int64_t remaining_ms = hc_retry_remaining_ms(permit->cancellation);

    if (hc_cancellation_remaining_ms(permit->cancellation) == HC_NO_DEADLINE)
        remaining_ms -= permit->waited_ms;
    if (left_ms >= remaining_ms)
        return hc_endpoint_fail_open(endpoint, left_ms, err);
    if (left_ms > POLL_INTERVAL_MS)
        left_ms = POLL_INTERVAL_MS;
    permit->waited_ms += left_ms;
    return left_ms;
}

/* With the lock. Takes the request out of the budget when there is a share for it, after
 * those that came before it. */
static int64_t permit_budget_delay_ms(struct hc_endpoint *endpoint,
                                      const struct hc_endpoint_permit *permit,
                                      struct hc_error *err)
{
    struct hc_bucket *budget = &endpoint->shared.budget;
    uint64_t left = endpoint->shared.left;
    uint64_t before_it = permit->ticket > left ? permit->ticket - left : 0;
    int64_t now_ms = hc_monotonic_ms();
    int64_t delay_ms = hc_bucket_wait_ms(budget, before_it + 1, now_ms);

    if (delay_ms == 0)
        (void)hc_bucket_take(budget, 1, now_ms);
    else if (delay_ms >= hc_retry_remaining_ms(permit->cancellation))
        return endpoint_fail_over_budget(endpoint, delay_ms, err);
    return delay_ms < POLL_INTERVAL_MS ? delay_ms : POLL_INTERVAL_MS;
}

/*
 * How long the request sleeps before it looks again; 0 when it may be sent; -1 when it
 * fails instead. A caller that may not wait does not wait for an open circuit: it sends
 * its request. The failure of a trial request is the failure of all that wait.
 */
static int64_t endpoint_delay_ms(struct hc_endpoint *endpoint,
                                 struct hc_endpoint_permit *permit, struct hc_error *err)
{
    struct hc_breaker *breaker = &endpoint->shared.breaker;
    enum hc_breaker_turn turn = HC_BREAKER_CLOSED;
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_throttle *throttle;
    HC_LOCKED(&endpoint->shared.lock);

    throttle = hc_breaker_find_throttle(breaker, &permit->key, now_ms);
    if (throttle)
        return permit_throttle_delay_ms(endpoint, permit, throttle, err);
    if (permit->may_wait && !permit->is_trial)
        turn = hc_breaker_acquire(breaker, &permit->key, &permit->wait, now_ms);
    if (turn == HC_BREAKER_WAIT)
        return permit_open_delay_ms(endpoint, permit, err);
    if (turn == HC_BREAKER_STILL_OPEN) {
        *err = endpoint->shared.failure;
        return -1;
    }
    permit->is_trial |= turn == HC_BREAKER_HALF_OPEN;
    return permit_budget_delay_ms(endpoint, permit, err);
}

/* Leaves a trial request that was not sent to another caller. */
static void endpoint_release_trial(struct hc_endpoint *endpoint,
                                   struct hc_endpoint_permit *permit)
{
    HC_LOCKED(&endpoint->shared.lock);

    if (permit->is_trial)
        hc_breaker_release_trial(&endpoint->shared.breaker, &permit->key);
    permit->is_trial = false;
}

struct hc_endpoint *hc_endpoint_new(const char *url, unsigned requests_per_second,
                                    struct hc_error *err)
{
    HC_AUTO(hc_endpoint) *endpoint = NULL;

    if (endpoint_check_url(url, err) < 0)
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

void hc_endpoint_set_budget(struct hc_endpoint *endpoint, unsigned requests_per_second)
{
    HC_LOCKED(&endpoint->shared.lock);

    hc_bucket_set_rate(&endpoint->shared.budget, requests_per_second);
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

bool hc_endpoint_has_url(const struct hc_endpoint *endpoint, const char *url)
{
    size_t length = strlen(endpoint->url);

    return strncmp(url, endpoint->url, length) == 0 &&
           url[length + strspn(url + length, "/")] == '\0';
}

atomic_bool *hc_endpoint_private_flag(struct hc_endpoint *endpoint)
{
    return &endpoint->is_private;
}

int hc_endpoint_acquire(struct hc_endpoint *endpoint, struct hc_endpoint_permit *permit,
                        struct hc_error *err)
{
    int64_t delay_ms;

    permit->is_trial = false;
    permit->wait = (struct hc_breaker_wait){0};
    permit->ticket = endpoint_take_ticket(endpoint);
    while ((delay_ms = endpoint_delay_ms(endpoint, permit, err)) > 0) {
        if (hc_cancellation_sleep(permit->cancellation, delay_ms, err) < 0) {
            delay_ms = -1;
            break;
        }
    }
    endpoint_leave_queue(endpoint);
    if (delay_ms < 0)
        endpoint_release_trial(endpoint, permit);
    return delay_ms < 0 ? -1 : 0;
}

/*
 * For how long this response asks for no request: Retry-After or RateLimit of a 408, 429
 * or 5xx, as the reference client's http_backoff() and parse_ratelimit_headers() read
 * them. A 429 throttles all callers with the token even when it does not say for how
 * long; a 5xx that does not may be of one server among many, so that the next request may
 * succeed: three in a row open the circuit.
 */
static int64_t response_throttle_ms(const struct hc_hub_response *response)
{
    int64_t told_ms =
        hc_hub_response_is_transient(response) ? response->retry_after_ms : 0;

    if (told_ms == 0 && response->status == 429)
        return THROTTLE_DEFAULT_MS;
    return told_ms < HC_RETRY_AFTER_MAX_MS ? told_ms : HC_RETRY_AFTER_MAX_MS;
}

/* With the lock. */
static void endpoint_record_failure(struct hc_endpoint *endpoint,
                                    const struct hc_endpoint_permit *permit,
                                    const struct hc_hub_response *response,
                                    const struct hc_error *failure)
{
    struct hc_breaker *breaker = &endpoint->shared.breaker;
    unsigned pauses = hc_breaker_pauses(breaker, &permit->key);
    unsigned doublings = pauses < permit->doublings ? pauses : permit->doublings;
    int64_t pause_ms = hc_retry_backoff_ms(permit->pause_base_ms, doublings);
    const struct hc_breaker_failure how = {
        .was_sent = response->status != 0 || response->was_sent,
        .was_trial = permit->is_trial,
        .now_ms = hc_monotonic_ms(),
        .pause_ms = pause_ms < HC_BREAKER_OPEN_MS ? pause_ms : HC_BREAKER_OPEN_MS};

    hc_breaker_record_failure(breaker, &permit->key, &how);
    if (!permit->is_trial)
        return;
    if (failure)
        endpoint->shared.failure = *failure;
    else
        (void)hc_fail(&endpoint->shared.failure, HC_HUB_UNREACHABLE,
                      "%.100s answers HTTP %ld: it is out of order; try again later",
                      endpoint->url, response->status);
}

void hc_endpoint_report(struct hc_endpoint *endpoint, struct hc_endpoint_permit *permit,
                        const struct hc_hub_response *response,
                        const struct hc_error *failure)
{
    struct hc_breaker *breaker = &endpoint->shared.breaker;
    bool is_overloaded = response->status == 408 || response->status >= 500;
    bool is_silent = failure && response->status == 0 && !failure->is_final &&
                     failure->reason == HC_HUB_UNREACHABLE;
    int64_t now_ms = hc_monotonic_ms();
    int64_t throttle_ms = response_throttle_ms(response);
    const struct hc_throttle throttle = {.reason = is_overloaded ? HC_HUB_UNREACHABLE
                                                                 : HC_HUB_RATE_LIMITED,
                                         .until_ms = now_ms + throttle_ms};
    HC_LOCKED(&endpoint->shared.lock);

    if (is_silent || is_overloaded)
        endpoint_record_failure(endpoint, permit, response, failure);
    else if (response->status != 0)
        hc_breaker_record_success(breaker, &permit->key);
    else if (permit->is_trial)
        hc_breaker_release_trial(breaker, &permit->key);
    if (throttle_ms > 0)
        hc_breaker_throttle(breaker, &permit->key, &throttle, now_ms);
    permit->is_trial = false;
}

int64_t hc_endpoint_throttled_ms(struct hc_endpoint *endpoint,
                                 const struct hc_breaker_key *key)
{
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_throttle *throttle;
    HC_LOCKED(&endpoint->shared.lock);

    throttle = hc_breaker_find_throttle(&endpoint->shared.breaker, key, now_ms);
    return throttle ? throttle->until_ms - now_ms : 0;
}

int64_t hc_endpoint_unavailable_ms(struct hc_endpoint *endpoint,
                                   const struct hc_breaker_key *key)
{
    HC_LOCKED(&endpoint->shared.lock);

    return hc_breaker_unavailable_ms(&endpoint->shared.breaker, key, hc_monotonic_ms());
}

unsigned hc_endpoint_pauses(struct hc_endpoint *endpoint,
                            const struct hc_breaker_key *key)
{
    HC_LOCKED(&endpoint->shared.lock);

    return hc_breaker_pauses(&endpoint->shared.breaker, key);
}

int64_t hc_endpoint_try(struct hc_endpoint *endpoint, const struct hc_breaker_key *key)
{
    HC_LOCKED(&endpoint->shared.lock);

    return hc_breaker_try(&endpoint->shared.breaker, key, hc_monotonic_ms());
}

int hc_endpoint_fail_open(const struct hc_endpoint *endpoint, int64_t left_ms,
                          struct hc_error *err)
{
    (void)hc_fail(
        err, HC_HUB_UNREACHABLE,
        "%.100s did not answer %d times in a row, and is asked again in %" PRId64 " ms",
        endpoint->url, HC_BREAKER_FAILURES, left_ms);
    err->retry_after_ms = (unsigned)left_ms;
    return -1;
}

void hc_endpoint_state(struct hc_endpoint *endpoint, struct hc_endpoint_state *state)
{
    HC_LOCKED(&endpoint->shared.lock);

    state->url = endpoint->url;
    state->is_open = hc_breaker_is_open(&endpoint->shared.breaker);
    state->is_throttled =
        hc_breaker_is_throttled(&endpoint->shared.breaker, hc_monotonic_ms());
}
