/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A measurement begins when every connection has brought bytes (or one is too slow to
 * wait for): the cost of setting up is not held against them. When a step gained too
 * little, it is taken back, and the rest before the next one is twice as long.
 *
 * Where bytes come fast, the processor or the link is about to be what limits them, and
 * the first moments of a connection say little: there the measurement takes longer.
 */
#include "ramp.h"

#include <sched.h>
#include <time.h>

enum {
    GROWTH = 4,
    MEASURE_MS = 100,
    MEASURE_FAST_MS = 300,
    AWAIT_MAX_MS = 2000,
    REST_MS = 1000,
    REST_MAX_MS = 32000
};

/* A step that brings less than this is none. */
static const double worthwhile_gain = 1.3;

/* What comes fast, in bytes a millisecond. */
static const double fast_rate = 400000;

static void ramp_enter(struct hc_ramp *ramp, enum hc_ramp_state state, int64_t now_ms)
{
    ramp->state = state;
    ramp->since_ms = now_ms;
}

static void ramp_rest(struct hc_ramp *ramp, int64_t now_ms)
{
    ramp->rest_ms = ramp->rest_ms * 2 < REST_MAX_MS ? ramp->rest_ms * 2 : REST_MAX_MS;
    ramp_enter(ramp, HC_RAMP_RESTS, now_ms);
}

static void ramp_grow(struct hc_ramp *ramp, double rate, int64_t now_ms)
{
    ramp->best = rate;
    ramp->before = ramp->connections;
    ramp->connections = ramp->connections < ramp->limit / GROWTH
                            ? ramp->connections * GROWTH
                            : ramp->limit;
    ramp_enter(ramp, HC_RAMP_AWAITS_BYTES, now_ms);
}

/* Few cost nothing, and to find out whether they pay takes longer than they do. */
static bool ramp_is_first_step(const struct hc_ramp *ramp)
{
    return ramp->before == 0 && ramp->connections < ramp->limit;
}

static void ramp_judge(struct hc_ramp *ramp, double rate, bool cpu_is_busy,
                       int64_t now_ms)
{
    if (rate >= ramp->best * worthwhile_gain && ramp->connections < ramp->limit &&
        !cpu_is_busy) {
        ramp_grow(ramp, rate, now_ms);
        return;
    }
    if (rate < ramp->best * worthwhile_gain)
        ramp->connections = ramp->before;
    ramp_rest(ramp, now_ms);
}

static void ramp_measure(struct hc_ramp *ramp, const struct hc_ramp_sample *sample,
                         int64_t now_ms)
{
    int64_t passed_ms = now_ms - ramp->since_ms;
    double rate;

    if (passed_ms < MEASURE_MS)
        return;
    rate = (double)(sample->bytes - ramp->since_bytes) / (double)passed_ms;
    if (rate < fast_rate || passed_ms >= MEASURE_FAST_MS)
        ramp_judge(ramp, rate, sample->cpu_is_busy, now_ms);
}

void hc_ramp_start(struct hc_ramp *ramp, unsigned limit, int64_t now_ms)
{
    *ramp = (struct hc_ramp){.connections = 1, .limit = limit, .rest_ms = REST_MS / 2};
    ramp_enter(ramp, HC_RAMP_AWAITS_BYTES, now_ms);
}

unsigned hc_ramp_next(struct hc_ramp *ramp, int64_t now_ms,
                      const struct hc_ramp_sample *sample)
{
    int64_t passed_ms = now_ms - ramp->since_ms;

    switch (ramp->state) {
    case HC_RAMP_AWAITS_BYTES:
        if (sample->receiving > 0 && ramp_is_first_step(ramp)) {
            ramp_grow(ramp, 0, now_ms);
        } else if (sample->receiving >= ramp->connections ||
                   (sample->receiving > 0 && passed_ms >= AWAIT_MAX_MS)) {
            ramp->since_bytes = sample->bytes;
            ramp_enter(ramp, HC_RAMP_MEASURES, now_ms);
        }
        break;
    case HC_RAMP_MEASURES:
        ramp_measure(ramp, sample, now_ms);
        break;
    case HC_RAMP_RESTS:
        if (passed_ms >= ramp->rest_ms && ramp->connections < ramp->limit) {
            ramp->best = 0;
            ramp_enter(ramp, HC_RAMP_AWAITS_BYTES, now_ms);
        }
        break;
    }
    return ramp->connections;
}

void hc_ramp_reduce(struct hc_ramp *ramp, unsigned connections, int64_t now_ms)
{
    if (connections < ramp->connections)
        ramp->connections = connections;
    ramp_rest(ramp, now_ms);
}

void hc_ramp_limit(struct hc_ramp *ramp, unsigned connections, int64_t now_ms)
{
    ramp->limit = connections;
    hc_ramp_reduce(ramp, connections, now_ms);
}

/* ---- the processors -------------------------------------------------------------------
 */

enum { CPU_POLL_MS = 100 };

static int64_t process_cpu_ms(void)
{
    struct timespec used;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (int64_t)used.tv_sec * 1000 + used.tv_nsec / 1000000;
}

static int processor_count(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

bool hc_ramp_cpu_is_busy(struct hc_ramp *ramp, int64_t now_ms)
{
    int64_t passed_ms = now_ms - ramp->cpu_load.since_ms;
    int64_t used_ms;

    if (passed_ms < CPU_POLL_MS)
        return ramp->cpu_load.is_high;
    used_ms = process_cpu_ms();
    ramp->cpu_load.is_high =
        ramp->cpu_load.since_ms != 0 &&
        2 * (used_ms - ramp->cpu_load.since_cpu_ms) > passed_ms * processor_count();
    ramp->cpu_load.since_ms = now_ms;
    ramp->cpu_load.since_cpu_ms = used_ms;
    return ramp->cpu_load.is_high;
}
