/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain HTTP for people and monitoring: GET /metrics, /healthz, and / for a status page.
 * Nothing on it is secret, and nothing can be changed by it. It has a thread of its own.
 */
#ifndef HC_SERVER_HTTP_H
#define HC_SERVER_HTTP_H

#include "metrics.h"

struct hc_http;

/* What it tells about; all borrowed until the close. */
struct hc_http_sources {
    struct hc_metrics *metrics;
    struct hc_gauges gauges;
};

/* host:port, port 0 for any; `bound` gets it with the real port. */
struct hc_http *hc_http_open(const char *address, const struct hc_http_sources *sources,
                             char *bound, size_t size, struct hc_error *err);

/*
 * About once a second: ends connections whose request is not whole, or whose answer is not
 * taken, ten seconds after the connection or the request before it.
 */
void hc_http_expire(struct hc_http *http, int64_t now_ms);

/* /healthz says 503 from now on. */
void hc_http_stop(struct hc_http *http);
void hc_http_close(struct hc_http *http);
HC_DEFINE_AUTO(hc_http, hc_http_close)

#endif
