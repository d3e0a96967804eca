/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections a transfer should have: four as soon as the first one flows, then
 * four times as many as long as that makes it faster, and no more when it does not, or
 * when the processors are what is short. That is asked again from time to time, for a
 * server may be generous with the first bytes only. The time is an argument; not
 * thread-safe.
 */
#ifndef HC_TRANSFER_RAMP_H
#define HC_TRANSFER_RAMP_H

#include <stdbool.h>
#include <stdint.h>

enum hc_ramp_state { HC_RAMP_AWAITS_BYTES, HC_RAMP_MEASURES, HC_RAMP_RESTS };

/* Whether this process keeps the processors busy. Zero-initialise it. */
struct hc_cpu_load {
    int64_t since_ms; /* of the last look */
    int64_t since_cpu_ms;
    bool is_high;
};

struct hc_ramp {
    unsigned connections; /* wanted now; starts at 1 */
    unsigned limit;       /* at most */
    enum hc_ramp_state state;
    int64_t since_ms; /* of the state */
    uint64_t since_bytes;
    double best;     /* bytes a millisecond before the last step, 0: there was none */
    unsigned before; /* connections then */
    int64_t rest_ms; /* how long the next rest is */
    struct hc_cpu_load cpu_load;
};

void hc_ramp_start(struct hc_ramp *ramp, unsigned limit, int64_t now_ms);

/* How it goes. */
struct hc_ramp_sample {
    uint64_t bytes;     /* that have arrived, in all */
    unsigned receiving; /* connections that bring some */
    bool cpu_is_busy;   /* this process keeps most processors busy */
};

/* The connections wanted now. */
unsigned hc_ramp_next(struct hc_ramp *ramp, int64_t now_ms,
                      const struct hc_ramp_sample *sample);

/* Connections broke, and so many are left: no more than these for a while. */
void hc_ramp_reduce(struct hc_ramp *ramp, unsigned connections, int64_t now_ms);

/* The server would not have so many: never more than these. */
void hc_ramp_limit(struct hc_ramp *ramp, unsigned connections, int64_t now_ms);

/* More than half of what the processors it may use can do, as of the last tenth of a
 * second. */
bool hc_cpu_load_is_high(struct hc_cpu_load *load, int64_t now_ms);

#endif
