/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about each call that is over: a line of the log and the counters.
 * Of failed calls ten lines a second for each reason; how many more there were is one
 * line afterwards. Callable from any thread.
 */
#ifndef HC_SERVER_JOURNAL_H
#define HC_SERVER_JOURNAL_H

#include "rpc.h"

struct hc_journal;
struct hc_metrics;

/* `metrics` is borrowed. */
struct hc_journal *hc_journal_new(struct hc_metrics *metrics, struct hc_error *err);
void hc_journal_free(struct hc_journal *journal);
HC_DEFINE_AUTO(hc_journal, hc_journal_free)

/* For struct hc_rpc_options; `ctx` is the journal. */
void hc_journal_write(void *ctx, const struct hc_rpc_record *record);

void hc_journal_add(struct hc_journal *journal, const struct hc_rpc_record *record,
                    int64_t now_ms);

/* About once a second: tells how many lines were held back in seconds that are over. */
void hc_journal_summarize(struct hc_journal *journal, int64_t now_ms);

#endif
