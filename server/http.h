/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain HTTP for people and monitoring: GET /metrics, /healthz, and / for a status page.
 * The pages show nothing secret and change nothing. A thread of its own serves them.
 */
#ifndef HC_SERVER_HTTP_H
#define HC_SERVER_HTTP_H

#include "metrics.h"

#include <base/text.h>

struct hc_http;

/*
 * Listens on host:port, port 0 for any; `bound` gets the URL with the real port.
 * `metrics` and what `gauges` names are borrowed until the close.
 */
struct hc_http *hc_http_open(const char *address, struct hc_metrics *metrics,
                             const struct hc_gauges *gauges, struct hc_strings *bound,
                             struct hc_error *err);

/*
 * About once a second: ends connections whose request is not whole, or whose answer is
 * not taken, ten seconds after the connection or the request before it.
 */
void hc_http_expire(struct hc_http *http, int64_t now_ms);

/* /healthz says 503 from now on. */
void hc_http_stop(struct hc_http *http);
void hc_http_close(struct hc_http *http);
HC_DEFINE_AUTO(hc_http, hc_http_close)

#endif
