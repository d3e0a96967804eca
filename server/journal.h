/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about each call that is over: a line of the log and the counters.
 */
#ifndef HC_SERVER_JOURNAL_H
#define HC_SERVER_JOURNAL_H

#include "rpc.h"

/* For struct hc_rpc_options; `metrics` is a struct hc_metrics. */
void hc_journal_write(void *metrics, const struct hc_rpc_record *record);

#endif
