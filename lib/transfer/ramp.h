/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections a download should have: four as soon as the first one brings
 * bytes, then four times as many as long as that makes it faster, and no more when it
 * does not, or when the processors are what is short. The states:
 *
 *   awaits bytes  the connections are being set up → measures, once each of them has
 *                 brought bytes, or after two seconds
 *   measures      the rate of all of them → awaits bytes with more connections when it
 *                 has grown enough; else → rests, with as many as before
 *   rests         for a second, and twice as long each time → awaits bytes: a server may
 *                 be generous with the first bytes only, so that the question comes again
 *
 * The time is an argument; not thread-safe.
 */
#ifndef HC_TRANSFER_RAMP_H
#define HC_TRANSFER_RAMP_H

#include <stdbool.h>
#include <stdint.h>

enum hc_ramp_state { HC_RAMP_AWAITS_BYTES, HC_RAMP_MEASURES, HC_RAMP_RESTS };

struct hc_ramp {
    unsigned connections; /* wanted now; starts at 1 */
    unsigned limit;       /* at most */
    enum hc_ramp_state state;
    int64_t since_ms; /* of the state */
    uint64_t since_bytes;
    double best;     /* bytes a millisecond before the last step, 0: there was none */
    unsigned before; /* connections then */
    int64_t rest_ms; /* how long the next rest is */
    struct {
        int64_t since_ms; /* when it was measured last */
        int64_t since_cpu_ms;
        bool is_high;
    } cpu_load;
};

void hc_ramp_start(struct hc_ramp *ramp, unsigned limit, int64_t now_ms);

/* What the download has come to. */
struct hc_ramp_sample {
    uint64_t bytes;     /* that have arrived, in all */
    unsigned receiving; /* connections that have brought bytes of their read */
    bool cpu_is_busy;   /* this process keeps most processors busy */
};

/* The connections wanted now. */
unsigned hc_ramp_next(struct hc_ramp *ramp, int64_t now_ms,
                      const struct hc_ramp_sample *sample);

/* Connections broke, and so many are left: no more than these until the next rest
 * ends. */
void hc_ramp_reduce(struct hc_ramp *ramp, unsigned connections, int64_t now_ms);

/* The server refused more connections than these: never more again. */
void hc_ramp_limit(struct hc_ramp *ramp, unsigned connections, int64_t now_ms);

/* Whether this process took more than half of what the processors it may use can do, in
 * the last tenth of a second. */
bool hc_ramp_cpu_is_busy(struct hc_ramp *ramp, int64_t now_ms);

#endif
