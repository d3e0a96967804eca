/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log lines and counters of calls and transfers that are over, and of stale answers.
 * Each call has a line if the level is info or debug. If it is not, a wave of one failure
 * does not flood the log: failed calls of a reason have ten lines a second, and then one
 * line counts the others. Stale answers of a reason have one line at once, and then at
 * most one a minute, which counts the answers since the last line.
 * Callable from any thread.
 */
#ifndef HC_SERVER_REQUEST_LOG_H
#define HC_SERVER_REQUEST_LOG_H

#include "metrics.h"
#include "rpc.h"

struct hc_audit;
struct hc_request_log;

enum { HC_STALE_LINE_EVERY_MS = 60000 };

/* `metrics` is borrowed. */
struct hc_request_log *hc_request_log_new(struct hc_metrics *metrics,
                                          struct hc_error *err);
void hc_request_log_free(struct hc_request_log *log);
HC_DEFINE_AUTO(hc_request_log, hc_request_log_free)

/* Before the first call: the audit trail, borrowed, gets each call, too. */
void hc_request_log_set_audit(struct hc_request_log *log, struct hc_audit *audit);

/* A call is over: `finished` of hc_rpc_open(); `log` is a struct hc_request_log. */
void hc_request_log_write(void *log, const struct hc_request *request,
                          const struct hc_answer *answer);
void hc_request_log_add(struct hc_request_log *log, const struct hc_request *request,
                        const struct hc_answer *answer, int64_t now_ns);

/* "OK", or the reason of the failure; "OTHER" for one that has none. */
const char *hc_request_outcome(const struct hc_answer *answer);

/* "cache", "hub", "local"; "" for none. */
const char *hc_source_name(enum hc_source source);

/*
 * The main thread calls it about once a second: writes how many lines of failed calls
 * were held back in the seconds that are over.
 */
void hc_request_log_summarize(struct hc_request_log *log, int64_t now_ms);

/*
 * A transfer is over: a hc_transfer_fn; `ctx` is a struct hc_request_log. There is one
 * line for a blob, however many callers waited for it.
 */
void hc_request_log_write_transfer(void *ctx, const struct hc_transfer *transfer);

/* An answer is stale: a hc_stale_fn; `ctx` is a struct hc_request_log. */
void hc_request_log_write_stale(void *ctx, const struct hc_stale *stale);

/* True: a stale answer at `now_ms` gets a line, for the last `*count` answers. */
bool hc_request_log_admits_stale(struct hc_request_log *log, enum hc_reason reason,
                                 int64_t now_ms, unsigned *count);

#endif
