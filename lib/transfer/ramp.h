/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections a transfer should have: twice as many as long as that makes it
 * faster, and no more when it does not. The time is an argument; not thread-safe.
 */
#ifndef HC_TRANSFER_RAMP_H
#define HC_TRANSFER_RAMP_H

#include <stdbool.h>
#include <stdint.h>

struct hc_ramp {
    unsigned connections; /* wanted now; starts at 1 */
    unsigned limit;       /* at most */
    bool is_settled;
    bool is_measuring;
    int64_t since_ms; /* of the measurement, or of the wait for it */
    uint64_t since_bytes;
    double best; /* bytes a millisecond before the last step */
};

void hc_ramp_start(struct hc_ramp *ramp, unsigned limit, int64_t now_ms);

/* The connections wanted, when `flowing` have brought bytes, and all of them `bytes`. */
unsigned hc_ramp_next(struct hc_ramp *ramp, int64_t now_ms, uint64_t bytes,
                      unsigned flowing);

/* The server would not have so many: no more than these. */
void hc_ramp_settle(struct hc_ramp *ramp, unsigned connections);

#endif
