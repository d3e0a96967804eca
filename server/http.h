/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain HTTP for people and monitoring: GET /metrics, /healthz and /readyz, for all; and
 * the status page, / and /status.json, for clients that may call (http_login.h), since
 * it names repos and callers: of these, what the policy lets the reader see
 * (status_reader.h). The pages change nothing. A thread of its own serves them.
 */
#ifndef HC_SERVER_HTTP_H
#define HC_SERVER_HTTP_H

#include "gauges.h"
#include "metrics.h"
#include "server_status.h"

#include <base/text.h>

struct hc_http;

/* What the pages are about; borrowed until the close, and what `gauges` names, too. */
struct hc_http_parts {
    struct hc_metrics *metrics;
    struct hc_gauges gauges;
    struct hc_server_status *status; /* started */
    struct hc_auth *auth;
};

/* Listens on host:port, port 0 for any; `bound` gets the URL with the real port. */
struct hc_http *hc_http_open(const char *address, const struct hc_http_parts *parts,
                             struct hc_strings *bound, struct hc_error *err);

/*
 * About once a second: ends connections whose request is not whole, or whose answer is
 * not taken, ten seconds after the connection or the request before it.
 */
void hc_http_expire(struct hc_http *http, int64_t now_ms);

/* /healthz and /readyz say 503 from now on. */
void hc_http_stop(struct hc_http *http);
void hc_http_close(struct hc_http *http);
HC_DEFINE_AUTO(hc_http, hc_http_close)

#endif
