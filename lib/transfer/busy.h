/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this process keeps the processors busy: then more connections bring no more
 * bytes, whatever a first measurement says. Zero-initialise it; not thread-safe.
 */
#ifndef HC_TRANSFER_BUSY_H
#define HC_TRANSFER_BUSY_H

#include <stdbool.h>
#include <stdint.h>

struct hc_busy {
    int64_t since_ms; /* of the last look */
    int64_t since_cpu_ms;
    bool is_most;
};

/* More than half of what the processors it may use can do, as of the last tenth of a
 * second. */
bool hc_busy_is_most(struct hc_busy *busy, int64_t now_ms);

#endif
