/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A combination of kind, host and answer that never happened has no line: most of them.
 */
#include "hub_metrics.h"

#include "exposition.h"

#include <hubcache/hub_counts.h>

#include <inttypes.h>

static const char *const host_names[] = {"endpoint", "mirror", "storage"};

static void write_hub_answers(const char *kind, const char *host,
                              const uint64_t counts[HC_HUB_ANSWERS], FILE *out)
{
    static const char *const answers[] = {"2xx", "3xx", "4xx", "429", "5xx", "none"};

    for (size_t answer = 0; answer < HC_HUB_ANSWERS; answer++) {
        if (counts[answer] > 0)
            (void)fprintf(out,
                          "hubcache_hub_requests_total{kind=\"%s\",host=\"%s\",status="
                          "\"%s\"} %" PRIu64 "\n",
                          kind, host, answers[answer], counts[answer]);
    }
}

static void write_hub_requests(const struct hc_hub_counts *counts, FILE *out)
{
    static const char *const kinds[] = {"metadata", "listing", "bytes"};

    hc_exposition_head(out, "hubcache_hub_requests_total", "counter",
                       "Requests to the endpoint, to mirrors and to the storage behind "
                       "them, by what they ask for and the status of the answer.");
    for (size_t kind = 0; kind < HC_HUB_KINDS; kind++) {
        for (size_t host = 0; host < HC_HUB_HOSTS; host++)
            write_hub_answers(kinds[kind], host_names[host], counts->requests[kind][host],
                              out);
    }
}

static void write_endpoint_states(const struct hc_resolver *resolver, const char *name,
                                  const char *help, bool wants_throttle, FILE *out)
{
    struct hc_endpoint_state state;

    hc_exposition_head(out, name, "gauge", help);
    for (size_t i = 0; hc_resolver_endpoint_state(resolver, i, &state); i++)
        hc_exposition_sample(out, name, "endpoint", state.url,
                             wants_throttle ? state.is_throttled : state.is_open);
}

void hc_hub_metrics_write(const struct hc_resolver *resolver, FILE *out)
{
    struct hc_hub_counts counts;

    hc_resolver_hub_counts(resolver, &counts);
    write_hub_requests(&counts, out);
    hc_exposition_head(out, "hubcache_hub_bytes_total", "counter",
                       "Bytes of files received, useful or not, by the host that sent "
                       "them, while they arrive.");
    for (size_t host = 0; host < HC_HUB_HOSTS; host++)
        hc_exposition_sample(out, "hubcache_hub_bytes_total", "host", host_names[host],
                             counts.bytes[host]);
    write_endpoint_states(resolver, "hubcache_hub_circuit_open",
                          "1 while the endpoint or mirror is taken to be out of reach.",
                          false, out);
    write_endpoint_states(resolver, "hubcache_hub_throttled",
                          "1 while the endpoint or mirror has asked for a pause.", true,
                          out);
}
