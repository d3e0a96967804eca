/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about each call that is over: a line of the log and the counters.
 * Of failed calls ten lines a second for each reason; how many more there were is one
 * line afterwards. Callable from any thread.
 */
#ifndef HC_SERVER_REQUEST_LOG_H
#define HC_SERVER_REQUEST_LOG_H

#include "rpc.h"

struct hc_request_log;
struct hc_metrics;

/* `metrics` is borrowed. */
struct hc_request_log *hc_request_log_new(struct hc_metrics *metrics,
                                          struct hc_error *err);
void hc_request_log_free(struct hc_request_log *log);
HC_DEFINE_AUTO(hc_request_log, hc_request_log_free)

/* For struct hc_rpc_options; `ctx` is the journal. */
void hc_request_log_write(void *ctx, const struct hc_rpc_outcome *record);

void hc_request_log_add(struct hc_request_log *log, const struct hc_rpc_outcome *record,
                        int64_t now_ms);

/* About once a second: tells how many lines were held back in seconds that are over. */
void hc_request_log_summarize(struct hc_request_log *log, int64_t now_ms);

#endif
