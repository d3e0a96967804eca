/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the page of metrics that is about the Hub: requests and bytes, and the
 * state of each endpoint. Callable from any thread.
 */
#ifndef HC_SERVER_HUB_METRICS_H
#define HC_SERVER_HUB_METRICS_H

#include <stdio.h>

struct hc_resolver;

void hc_hub_metrics_write(const struct hc_resolver *resolver, FILE *out);

#endif
