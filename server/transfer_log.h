/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written down about each transfer that is over: a line of the log and the
 * counters. Callers' failures are the journal's matter; here is what the Hub, the network
 * and the volume did, once for each blob, however many wanted it.
 */
#ifndef HC_SERVER_TRANSFER_LOG_H
#define HC_SERVER_TRANSFER_LOG_H

#include <hubcache/resolver.h>

/* A hc_transfer_fn; `metrics` is a struct hc_metrics. */
void hc_transfer_log_write(void *metrics, const struct hc_transfer *transfer);

#endif
