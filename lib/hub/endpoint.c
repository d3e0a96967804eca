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
        uint64_t left;           /* of them, whether to ask or to give up */
        struct hc_error failure; /* of the last probe in an outage */
    } shared;
};

enum {
    POLL_INTERVAL_MS = 100,    /* how often who waits for the budget looks at it */
    THROTTLE_DEFAULT_MS = 1000 /* after a 429 that does not say how long */
};

/* A URL of the web with nothing behind the path, and nobody's password in it. */
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
    uint64_t ticket;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    ticket = endpoint->shared.arrived++;
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return ticket;
}

static void endpoint_leave_queue(struct hc_endpoint *endpoint)
{
    (void)pthread_mutex_lock(&endpoint->shared.lock);
    endpoint->shared.left++;
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
}

/* Why a visitor may not ask yet; zero: it may. */
struct delay {
    enum hc_breaker_turn ticket; /* in an outage */
    int64_t open_ms;             /* until the next probe, with HC_BREAKER_WAIT */
    enum hc_reason throttled_for;
    int64_t throttled_ms;
    int64_t budget_ms; /* the budget, for as long as others are first */
};

/* A visitor on its way in. */
struct admission {
    struct hc_endpoint *endpoint;
    struct hc_endpoint_permit *permit;
    uint64_t ticket; /* in the order of arrival */
    struct hc_breaker_wait wait;
};

/* Takes the request out of the budget when nothing is in the way. Not patient: does not
 * wait for the end of an outage, but asks. */
static struct delay admission_find_delay(struct admission *admission)
{
    struct hc_endpoint *endpoint = admission->endpoint;
    const struct hc_breaker_key *key = &admission->permit->key;
    struct hc_breaker *breaker = &endpoint->shared.breaker;
    struct hc_bucket *budget = &endpoint->shared.budget;
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_throttle *pause;
    struct delay delay = {0};
    uint64_t before_it;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    pause = hc_breaker_find_throttle(breaker, key, now_ms);
    if (pause) {
        delay.throttled_for = pause->reason;
        delay.throttled_ms = pause->until_ms - now_ms;
    } else if (admission->permit->may_wait && !admission->permit->is_trial) {
        delay.ticket = hc_breaker_acquire(breaker, key, &admission->wait, now_ms);
        delay.open_ms = admission->wait.wait_ms;
        admission->permit->is_trial = delay.ticket == HC_BREAKER_HALF_OPEN;
    }
    before_it = admission->ticket > endpoint->shared.left
                    ? admission->ticket - endpoint->shared.left
                    : 0;
    delay.budget_ms = hc_bucket_wait_ms(budget, before_it + 1, now_ms);
    if (!pause && delay.ticket <= HC_BREAKER_HALF_OPEN && delay.budget_ms == 0)
        (void)hc_bucket_take(budget, 1, now_ms);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return delay;
}

static int permit_pause(struct hc_endpoint_permit *permit, int64_t pause_ms,
                        struct hc_error *err)
{
    return hc_cancellation_sleep(permit->cancellation, pause_ms, err) < 0 ? -1 : 1;
}

/* For the next probe, or for what it brings. All visitors that wait hear of a failure. */
static int admission_wait_open(struct admission *admission, const struct delay *delay,
                               struct hc_error *err)
{
    struct hc_endpoint *endpoint = admission->endpoint;
    struct hc_endpoint_permit *permit = admission->permit;
    int64_t left_ms = delay->open_ms > 0 ? delay->open_ms : POLL_INTERVAL_MS;
    int64_t remaining_ms = hc_retry_remaining_ms(permit->cancellation);

    if (delay->ticket == HC_BREAKER_STILL_OPEN) {
        (void)pthread_mutex_lock(&endpoint->shared.lock);
        *err = endpoint->shared.failure;
        (void)pthread_mutex_unlock(&endpoint->shared.lock);
        return -1;
    }
    if (hc_cancellation_remaining_ms(permit->cancellation) == HC_NO_DEADLINE)
        remaining_ms -= permit->waited_ms;
    if (left_ms >= remaining_ms)
        return hc_endpoint_fail_open(endpoint, left_ms, err);
    if (left_ms > POLL_INTERVAL_MS)
        left_ms = POLL_INTERVAL_MS;
    permit->waited_ms += left_ms;
    return permit_pause(permit, left_ms, err);
}

/* 1: waited, look again; 0: nothing was in the way. Out of a hold each comes a little
 * later, by itself, so that not all come back at once. */
static int admission_wait(struct admission *admission, const struct delay *delay,
                          struct hc_error *err)
{
    const struct hc_endpoint *endpoint = admission->endpoint;
    struct hc_endpoint_permit *permit = admission->permit;
    int64_t pause_ms =
        delay->budget_ms < POLL_INTERVAL_MS ? delay->budget_ms : POLL_INTERVAL_MS;

    if (delay->ticket > HC_BREAKER_HALF_OPEN)
        return admission_wait_open(admission, delay, err);
    if (delay->throttled_ms > 0) {
        pause_ms = delay->throttled_ms + hc_retry_jitter_ms(delay->throttled_ms);
        if (!permit->may_wait || pause_ms >= hc_retry_remaining_ms(permit->cancellation))
            return endpoint_fail_throttled(endpoint, delay->throttled_for,
                                           delay->throttled_ms, err);
    } else if (delay->budget_ms > 0 &&
               delay->budget_ms >= hc_retry_remaining_ms(permit->cancellation)) {
        return endpoint_fail_over_budget(endpoint, delay->budget_ms, err);
    }
    return pause_ms == 0 ? 0 : permit_pause(permit, pause_ms, err);
}

/* A probe that was not made: another visitor makes it. */
static void permit_release_trial(struct hc_endpoint *endpoint,
                                 struct hc_endpoint_permit *permit)
{
    if (!permit->is_trial)
        return;
    permit->is_trial = false;
    (void)pthread_mutex_lock(&endpoint->shared.lock);
    hc_breaker_release_trial(&endpoint->shared.breaker, &permit->key);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
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

int hc_endpoint_acquire(struct hc_endpoint *endpoint, struct hc_endpoint_permit *permit,
                        struct hc_error *err)
{
    struct admission admission = {.endpoint = endpoint,
                                  .permit = permit,
                                  .ticket = endpoint_take_ticket(endpoint)};
    int result;

    permit->is_trial = false;
    do {
        const struct delay delay = admission_find_delay(&admission);

        result = admission_wait(&admission, &delay, err);
    } while (result > 0);
    endpoint_leave_queue(endpoint);
    if (result < 0)
        permit_release_trial(endpoint, permit);
    return result;
}

/*
 * For how long this answer asks to be left alone. A 429 means all of us even when it does
 * not say how long; a 503 that does not may be of one server among many, so that the next
 * request may do: three in a row make it down.
 */
static int64_t response_throttle_ms(const struct hc_hub_response *response)
{
    int64_t told_ms =
        hc_hub_response_is_transient(response) ? response->retry_after_ms : 0;

    if (told_ms == 0 && response->status == 429)
        return THROTTLE_DEFAULT_MS;
    return told_ms < HC_RETRY_AFTER_MAX_MS ? told_ms : HC_RETRY_AFTER_MAX_MS;
}

/* With the lock: what it says of the endpoint's health that a request failed. */
static void endpoint_record_failure(struct hc_endpoint *endpoint,
                                    const struct hc_endpoint_permit *permit,
                                    const struct hc_hub_response *response,
                                    const struct hc_error *failure)
{
    struct hc_breaker *breaker = &endpoint->shared.breaker;
    unsigned probes = hc_breaker_pauses(breaker, &permit->key);
    unsigned doublings = probes < permit->doublings ? probes : permit->doublings;
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
    const struct hc_throttle pause = {.reason = is_overloaded ? HC_HUB_UNREACHABLE
                                                              : HC_HUB_RATE_LIMITED,
                                      .until_ms = now_ms + throttle_ms};

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    if (is_silent || is_overloaded)
        endpoint_record_failure(endpoint, permit, response, failure);
    else if (response->status != 0)
        hc_breaker_record_success(breaker, &permit->key);
    else if (permit->is_trial)
        hc_breaker_release_trial(breaker, &permit->key);
    if (throttle_ms > 0)
        hc_breaker_throttle(breaker, &permit->key, &pause, now_ms);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    permit->is_trial = false;
}

int64_t hc_endpoint_throttled_ms(struct hc_endpoint *endpoint,
                                 const struct hc_breaker_key *key)
{
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_throttle *pause;
    int64_t throttled_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    pause = hc_breaker_find_throttle(&endpoint->shared.breaker, key, now_ms);
    throttled_ms = pause ? pause->until_ms - now_ms : 0;
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return throttled_ms;
}

int64_t hc_endpoint_unavailable_ms(struct hc_endpoint *endpoint,
                                   const struct hc_breaker_key *key)
{
    int64_t unavailable_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    unavailable_ms =
        hc_breaker_unavailable_ms(&endpoint->shared.breaker, key, hc_monotonic_ms());
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return unavailable_ms;
}

unsigned hc_endpoint_pauses(struct hc_endpoint *endpoint,
                            const struct hc_breaker_key *key)
{
    unsigned pauses;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    pauses = hc_breaker_pauses(&endpoint->shared.breaker, key);
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return pauses;
}

int64_t hc_endpoint_try(struct hc_endpoint *endpoint, const struct hc_breaker_key *key)
{
    int64_t left_ms;

    (void)pthread_mutex_lock(&endpoint->shared.lock);
    left_ms = hc_breaker_try(&endpoint->shared.breaker, key, hc_monotonic_ms());
    (void)pthread_mutex_unlock(&endpoint->shared.lock);
    return left_ms;
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
