/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call is the patience of those who wait for an answer: a deadline and a way to give up.
 * Everything that may block takes one and returns early, with HC_DEADLINE_EXCEEDED or
 * HC_CANCELLED, when patience ends. A NULL call waits for ever. All functions may be
 * called from any thread, also while another thread works on the call's behalf.
 */
#ifndef HUBCACHE_CALL_H
#define HUBCACHE_CALL_H

#include <hubcache/error.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_call;

#define HC_NO_DEADLINE INT64_MAX

/* Milliseconds of the monotonic clock, the clock of deadlines. */
HC_PUBLIC int64_t hc_monotonic_ms(void);

/* `deadline_ms` on the monotonic clock, or HC_NO_DEADLINE. NULL: out of memory. */
HC_PUBLIC struct hc_call *hc_call_new(int64_t deadline_ms);
HC_PUBLIC void hc_call_free(struct hc_call *call);

/* Wakes whoever waits on the call's behalf. */
HC_PUBLIC void hc_call_cancel(struct hc_call *call);

/* Moves the deadline out to `deadline_ms`; never in. */
HC_PUBLIC void hc_call_extend(struct hc_call *call, int64_t deadline_ms);

#ifdef __cplusplus
}
#endif

#endif
