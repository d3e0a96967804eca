/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about stale answers: each is counted by the reason why the Hub's
 * own word was not to be had, and of each reason one line is logged at once, then at most
 * one a minute with how many answers there were since. An outage is one cause, however
 * many callers it meets. Callable from any thread.
 */
#ifndef HC_SERVER_STALE_LOG_H
#define HC_SERVER_STALE_LOG_H

#include "metrics.h"

#include <base/auto.h>
#include <hubcache/resolver.h>

struct hc_stale_log;

enum { HC_STALE_LINE_EVERY_MS = 60000 };

/* Borrows `metrics`. */
struct hc_stale_log *hc_stale_log_new(struct hc_metrics *metrics, struct hc_error *err);
void hc_stale_log_free(struct hc_stale_log *log);
HC_DEFINE_AUTO(hc_stale_log, hc_stale_log_free)

/* A hc_stale_fn; `journal` is a struct hc_stale_log. */
void hc_stale_log_write(void *log, const struct hc_stale *stale);

/*
 * Whether an answer at `now_ms` gets a line; `*count` is how many it speaks for, itself
 * included.
 */
bool hc_stale_log_admits(struct hc_stale_log *log, enum hc_reason reason, int64_t now_ms,
                         unsigned *count);

#endif
