/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library itself asks of a call (see <hubcache/call.h>): is anybody still
 * waiting, for how long, and "wait this long unless they go".
 */
#ifndef HC_BASE_CALL_H
#define HC_BASE_CALL_H

#include <hubcache/call.h>

#include "auto.h"

#include <stdbool.h>

/* 0 while somebody waits; else -1 with CANCELLED or DEADLINE_EXCEEDED. */
int hc_call_check(struct hc_call *call, struct hc_error *err);

/* The same as a question, for callbacks that have no error to fill. */
bool hc_call_is_over(struct hc_call *call);

/* Milliseconds until the deadline, 0 when past; HC_NO_DEADLINE when there is none. */
int64_t hc_call_remaining_ms(struct hc_call *call);

/* Waits `ms`; -1 as hc_call_check as soon as patience ends. */
int hc_call_pause(struct hc_call *call, int64_t ms, struct hc_error *err);

HC_DEFINE_AUTO(hc_call, hc_call_free)

#endif
