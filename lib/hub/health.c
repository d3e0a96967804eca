/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few numbers and what they mean.
 */
#include "health.h"

void hc_health_rise(struct hc_health *health)
{
    health->failures = 0;
    health->down_until_ms = 0;
}

void hc_health_fail(struct hc_health *health, int64_t now_ms)
{
    if (health->failures < HC_FAILURES_MAX)
        health->failures++;
    if (health->failures == HC_FAILURES_MAX)
        health->down_until_ms = now_ms + HC_DOWN_MS;
}

void hc_health_hold(struct hc_health *health, enum hc_reason reason, int64_t ms,
                    int64_t now_ms)
{
    if (now_ms + ms <= health->held_until_ms)
        return;
    health->held_for = reason;
    health->held_until_ms = now_ms + ms;
}

int64_t hc_health_held_ms(const struct hc_health *health, int64_t now_ms)
{
    return health->held_until_ms > now_ms ? health->held_until_ms - now_ms : 0;
}

int64_t hc_health_down_ms(const struct hc_health *health, int64_t now_ms)
{
    return health->down_until_ms > now_ms ? health->down_until_ms - now_ms : 0;
}

int64_t hc_health_away_ms(const struct hc_health *health, int64_t now_ms)
{
    int64_t held_ms = hc_health_held_ms(health, now_ms);
    int64_t down_ms = hc_health_down_ms(health, now_ms) > 0 ? HC_DOWN_MS : 0;

    return held_ms > down_ms ? held_ms : down_ms;
}

int64_t hc_health_probe(struct hc_health *health, int64_t now_ms)
{
    int64_t left_ms = hc_health_down_ms(health, now_ms);

    /* The others still take it to be down until we know. */
    if (left_ms == 0 && health->down_until_ms > 0)
        health->down_until_ms = now_ms + HC_DOWN_MS;
    return left_ms;
}
