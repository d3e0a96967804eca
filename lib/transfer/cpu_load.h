/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether this process keeps the processors busy: then more connections bring no more
 * bytes, whatever a first measurement says. Zero-initialise it; not thread-safe.
 */
#ifndef HC_TRANSFER_CPU_LOAD_H
#define HC_TRANSFER_CPU_LOAD_H

#include <stdbool.h>
#include <stdint.h>

struct hc_cpu_load {
    int64_t since_ms; /* of the last look */
    int64_t since_cpu_ms;
    bool is_high;
};

/* More than half of what the processors it may use can do, as of the last tenth of a
 * second. */
bool hc_cpu_load_is_high(struct hc_cpu_load *load, int64_t now_ms);

#endif
