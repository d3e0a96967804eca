/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pauses double from the base and are jittered, so that a fleet that failed together does
 * not come back together. A pause that would outlast the caller's deadline is not begun:
 * the caller is told at once, with the time to come back. Retry-After is waited for as it
 * was told, up to HC_RETRY_AFTER_MAX_MS; the jitter is added, never taken off.
 */
#include "retry.h"

#include "hub_request.h"

#include <base/error.h>

#include <sys/random.h>

enum { JITTER_MAX_MS = 1000 };

bool hc_retry_may_help(const struct hc_error *err)
{
    return (err->reason == HC_HUB_UNREACHABLE && !err->is_final) ||
           err->reason == HC_HUB_RATE_LIMITED;
}

int64_t hc_retry_remaining_ms(struct hc_cancellation *cancellation)
{
    int64_t left_ms = hc_cancellation_remaining_ms(cancellation);

    return left_ms == HC_NO_DEADLINE ? HC_RETRY_TOTAL_MAX_MS : left_ms;
}

int64_t hc_retry_jitter_ms(int64_t ms)
{
    int64_t most_ms = ms / 8 < JITTER_MAX_MS ? ms / 8 : JITTER_MAX_MS;
    uint32_t chance = 0;

    (void)getrandom(&chance, sizeof chance, GRND_NONBLOCK);
    return most_ms * (chance % 1024) / 1023;
}

/* 0 while the circuit is open: hc_endpoint_acquire() makes the pause then, the same one
 * for all callers. */
static int64_t retry_next_pause_ms(const struct hc_retry *retry, const struct hc_hub *hub,
                                   const struct hc_error *err)
{
    int64_t retry_after_ms = err->retry_after_ms;

    if (retry_after_ms == 0 && retry->is_endpoint_paused)
        return 0;
    if (retry_after_ms == 0)
        return hc_retry_backoff_ms(hub->retry_base_ms, retry->attempt);
    if (retry_after_ms > HC_RETRY_AFTER_MAX_MS)
        retry_after_ms = HC_RETRY_AFTER_MAX_MS;
    return retry_after_ms + hc_retry_jitter_ms(retry_after_ms);
}

/* How long the next pause may be. */
static int64_t retry_time_left_ms(const struct hc_retry *retry,
                                  struct hc_cancellation *cancellation)
{
    int64_t left = hc_cancellation_remaining_ms(cancellation);

    return left == HC_NO_DEADLINE ? HC_RETRY_TOTAL_MAX_MS - retry->waited_ms : left;
}

static unsigned retry_max_pauses(const struct hc_retry *retry, const struct hc_hub *hub)
{
    bool is_fewer = retry->max_pauses > 0 && retry->max_pauses < hub->retries;

    return is_fewer ? retry->max_pauses : hub->retries;
}

int hc_retry_wait(struct hc_retry *retry, const struct hc_hub *hub,
                  struct hc_cancellation *cancellation, struct hc_error *err)
{
    int64_t pause_ms = retry_next_pause_ms(retry, hub, err);
    struct hc_error left;

    if (!hc_retry_may_help(err) || retry->attempt >= retry_max_pauses(retry, hub) ||
        pause_ms >= retry_time_left_ms(retry, cancellation)) {
        bool wants_advice =
            err->reason == HC_HUB_UNREACHABLE || err->reason == HC_HUB_RATE_LIMITED;

        if (wants_advice && err->retry_after_ms == 0)
            err->retry_after_ms = HC_RETRY_ADVICE_MS;
        return -1;
    }
    retry->attempt++;
    retry->waited_ms += pause_ms;
    if (hc_cancellation_sleep(cancellation, pause_ms, &left) == 0)
        return 0;
    *err = left;
    return -1;
}

int64_t hc_retry_backoff_ms(unsigned base_ms, unsigned attempt)
{
    int64_t pause_ms = base_ms;
    uint32_t chance = 0;

    while (attempt-- > 0 && pause_ms < HC_BACKOFF_MAX_MS)
        pause_ms *= 2;
    if (pause_ms > HC_BACKOFF_MAX_MS)
        pause_ms = HC_BACKOFF_MAX_MS;
    (void)getrandom(&chance, sizeof chance, GRND_NONBLOCK);
    return pause_ms - pause_ms / 4 + pause_ms / 2 * (chance % 1024) / 1024;
}
