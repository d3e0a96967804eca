/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A measurement begins when every connection has brought bytes (or one is too slow to
 * wait for): what setting up costs is not held against them. When a step did not pay, the
 * step is taken back.
 */
#include "ramp.h"

enum { MEASURE_MS = 100, PATIENCE_MS = 2000 };

/* A doubling that brings less than this is none. */
static const double worth = 1.2;

static void wait_for_flow(struct hc_ramp *ramp, int64_t now_ms)
{
    ramp->is_measuring = false;
    ramp->since_ms = now_ms;
}

void hc_ramp_start(struct hc_ramp *ramp, unsigned limit, int64_t now_ms)
{
    *ramp = (struct hc_ramp){.connections = 1, .limit = limit};
    ramp->is_settled = limit <= 1;
    wait_for_flow(ramp, now_ms);
}

static void judge(struct hc_ramp *ramp, double rate, int64_t now_ms)
{
    if (rate < ramp->best * worth) {
        ramp->connections = (ramp->connections + 1) / 2;
        ramp->is_settled = true;
        return;
    }
    ramp->best = rate;
    if (ramp->connections == ramp->limit) {
        ramp->is_settled = true;
        return;
    }
    ramp->connections *= 2;
    if (ramp->connections > ramp->limit)
        ramp->connections = ramp->limit;
    wait_for_flow(ramp, now_ms);
}

unsigned hc_ramp_next(struct hc_ramp *ramp, int64_t now_ms, uint64_t bytes,
                      unsigned flowing)
{
    int64_t passed_ms = now_ms - ramp->since_ms;

    if (ramp->is_settled)
        return ramp->connections;
    if (!ramp->is_measuring) {
        if (flowing >= ramp->connections || (flowing > 0 && passed_ms >= PATIENCE_MS)) {
            ramp->is_measuring = true;
            ramp->since_ms = now_ms;
            ramp->since_bytes = bytes;
        }
    } else if (passed_ms >= MEASURE_MS) {
        judge(ramp, (double)(bytes - ramp->since_bytes) / (double)passed_ms, now_ms);
    }
    return ramp->connections;
}

void hc_ramp_settle(struct hc_ramp *ramp, unsigned connections)
{
    ramp->is_settled = true;
    if (connections < ramp->connections)
        ramp->connections = connections;
}
