/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the library itself asks of a call (see <hubcache/cancellation.h>): is anybody still
 * waiting, for how long, and "wait this long unless they go".
 */
#ifndef HC_BASE_CANCELLATION_H
#define HC_BASE_CANCELLATION_H

#include <hubcache/cancellation.h>

#include "auto.h"

#include <stdbool.h>

/* 0 while somebody waits; else -1 with CANCELLED or DEADLINE_EXCEEDED. */
int hc_cancellation_check(struct hc_cancellation *cancellation, struct hc_error *err);

/* The same as a question, for callbacks that have no error to fill. */
bool hc_cancellation_is_set(struct hc_cancellation *cancellation);

/* Milliseconds until the deadline, 0 when past; HC_NO_DEADLINE when there is none. */
int64_t hc_cancellation_remaining_ms(struct hc_cancellation *cancellation);

/* Waits `ms`; -1 as hc_cancellation_check as soon as patience ends. */
int hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                          struct hc_error *err);

HC_DEFINE_AUTO(hc_cancellation, hc_cancellation_free)

#endif
