/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of an endpoint from those who asked it last: that it wants to be left
 * alone for a while, or that it is down. Down is what does not answer several times in a
 * row; every few seconds one question finds out whether it is back. Pure functions, the
 * time is an argument; whoever shares one has a lock.
 */
#ifndef HC_HUB_HEALTH_H
#define HC_HUB_HEALTH_H

#include <hubcache/error.h>

#include <stdint.h>

/* Zero: nothing is known, and nothing held against it. */
struct hc_health {
    enum hc_reason held_for; /* HUB_RATE_LIMITED or HUB_UNREACHABLE */
    int64_t held_until_ms;
    unsigned failures; /* in a row */
    int64_t down_until_ms;
};

enum {
    HC_FAILURES_MAX = 3, /* in a row; then it is down */
    HC_DOWN_MS = 3000    /* between two questions to what is down */
};

/* It answered, did not answer, or wants no question for `ms`, for that reason. */
void hc_health_rise(struct hc_health *health);
void hc_health_fail(struct hc_health *health, int64_t now_ms);
void hc_health_hold(struct hc_health *health, enum hc_reason reason, int64_t ms,
                    int64_t now_ms);

/* For how long no question is to be asked. */
int64_t hc_health_held_ms(const struct hc_health *health, int64_t now_ms);

/* How long it still counts as down; 0 when it is up, or may be. */
int64_t hc_health_down_ms(const struct hc_health *health, int64_t now_ms);

/*
 * How good it would be to ask another one first: the hold, or being down. Nobody knows
 * when what is down comes back, so one is as good as the other there.
 */
int64_t hc_health_away_ms(const struct hc_health *health, int64_t now_ms);

/* hc_health_down_ms for who is about to ask: 0 to one of them, who is to find out. */
int64_t hc_health_probe(struct hc_health *health, int64_t now_ms);

#endif
