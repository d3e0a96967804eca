/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A matrix of counters for calls, method by reason, a row for transfers, and a few more.
 * Gauges are not kept here: each is read from its owner while the page is written.
 *
 * The format is Prometheus' text exposition format 0.0.4. Names and labels are documented
 * in hubcached(8) under METRICS, and dashboards depend on them. Counters are added to
 * without order (relaxed), so a page may show one part of an event before another.
 */
#include "metrics.h"

#include "connections.h"
#include "listener.h"
#include "log.h"
#include "read_stream.h"
#include "reload.h"

#include <base/error.h>

#include <inttypes.h>

/* Zeroed memory is a set of counters at 0: calloc() makes it. */
struct hc_metrics {
    struct {
        _Atomic(const char *) path; /* NULL: never called */
        atomic_uint_least64_t by_reason[HC_REASON_COUNT];
        atomic_uint_least64_t unreasoned; /* failures without a reason */
    } methods[HC_RPC_METHODS_MAX];
    atomic_uint_least64_t hits;
    atomic_bool is_volume_unusable;
    atomic_uint_least64_t stale_by_reason[HC_REASON_COUNT];
    struct {
        atomic_uint_least64_t by_reason[HC_REASON_COUNT];
        atomic_uint_least64_t fetched_bytes, resumed_bytes, shared_bytes;
        atomic_uint_least64_t retries, duration_ms, waited_ms;
    } transfers;
};

struct hc_metrics *hc_metrics_new(struct hc_error *err)
{
    struct hc_metrics *metrics = calloc(1, sizeof *metrics);

    if (!metrics)
        (void)hc_fail_memory(err);
    return metrics;
}

void hc_metrics_free(struct hc_metrics *metrics)
{
    free(metrics);
}

/* Relaxed: no reader draws a conclusion from one counter about another. */
static void counter_add(atomic_uint_least64_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

void hc_metrics_add_request(struct hc_metrics *metrics, const struct hc_request *request,
                            const struct hc_answer *answer)
{
    unsigned number = request->method_number;

    atomic_store_explicit(&metrics->methods[number].path, request->method,
                          memory_order_relaxed);
    if (answer->code != 0 && answer->reason == HC_OK)
        counter_add(&metrics->methods[number].unreasoned, 1);
    else
        counter_add(&metrics->methods[number].by_reason[answer->reason], 1);
}

void hc_metrics_add_hit(struct hc_metrics *metrics)
{
    counter_add(&metrics->hits, 1);
}

void hc_metrics_add_stale(struct hc_metrics *metrics, enum hc_reason reason)
{
    counter_add(&metrics->stale_by_reason[reason], 1);
}

void hc_metrics_add_transfer(struct hc_metrics *metrics,
                             const struct hc_transfer *transfer)
{
    counter_add(&metrics->transfers.by_reason[transfer->reason], 1);
    counter_add(&metrics->transfers.fetched_bytes, transfer->fetched_bytes);
    counter_add(&metrics->transfers.resumed_bytes, transfer->resumed_bytes);
    counter_add(&metrics->transfers.shared_bytes, transfer->shared_bytes);
    counter_add(&metrics->transfers.retries, transfer->retries);
    counter_add(&metrics->transfers.duration_ms, transfer->duration_ms);
    counter_add(&metrics->transfers.waited_ms, transfer->waited_ms);
}

/* Prometheus wants HELP and TYPE once for each name, before its samples. */
static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_one(FILE *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    write_head(out, name, type, help);
    (void)fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* A pair of method and reason that never happened has no line: most of the matrix. */
static void write_request(FILE *out, const char *path, const char *reason,
                          atomic_uint_least64_t *counter)
{
    uint64_t count = atomic_load_explicit(counter, memory_order_relaxed);

    if (count > 0)
        (void)fprintf(out,
                      "hubcache_requests_total{method=\"%s\",reason=\"%s\"} %" PRIu64
                      "\n",
                      path, reason, count);
}

/*
 * Failures without a reason (an unknown method or service) are OTHER, which no reason is
 * called. The path is static text: a method's row, or "unknown".
 */
static void write_requests(struct hc_metrics *metrics, FILE *out)
{
    write_head(out, "hubcache_requests_total", "counter",
               "Calls that are over, by method and reason of failure (OK: none).");
    for (unsigned i = 0; i < HC_RPC_METHODS_MAX; i++) {
        const char *path = atomic_load(&metrics->methods[i].path);

        for (unsigned reason = 0; path && reason < HC_REASON_COUNT; reason++)
            write_request(out, path, hc_reason_name(reason),
                          &metrics->methods[i].by_reason[reason]);
        if (path)
            write_request(out, path, "OTHER", &metrics->methods[i].unreasoned);
    }
}

/* Prometheus' base unit is the second; the counters hold milliseconds. */
static void write_seconds(FILE *out, const char *name, const char *help,
                          atomic_uint_least64_t *counter_ms)
{
    uint64_t ms = atomic_load(counter_ms);

    write_head(out, name, "counter", help);
    (void)fprintf(out, "%s %" PRIu64 ".%03" PRIu64 "\n", name, ms / 1000, ms % 1000);
}

/* The three sources together are the bytes of the files, whatever the retries. */
static void write_sources(struct hc_metrics *metrics, FILE *out)
{
    static const char line[] =
        "hubcache_transfer_bytes_total{source=\"%s\"} %" PRIu64 "\n";

    write_head(out, "hubcache_transfer_bytes_total", "counter",
               "Bytes of transfers that are over: fetched from the Hub, resumed from an "
               "earlier transfer, or found in another repo of the cache.");
    (void)fprintf(out, line, "hub", atomic_load(&metrics->transfers.fetched_bytes));
    (void)fprintf(out, line, "resumed", atomic_load(&metrics->transfers.resumed_bytes));
    (void)fprintf(out, line, "shared", atomic_load(&metrics->transfers.shared_bytes));
}

static void write_by_reason(FILE *out, const char *name, const char *help,
                            atomic_uint_least64_t counters[HC_REASON_COUNT])
{
    write_head(out, name, "counter", help);
    for (unsigned reason = 0; reason < HC_REASON_COUNT; reason++) {
        uint64_t count = atomic_load(&counters[reason]);

        if (count > 0)
            (void)fprintf(out, "%s{reason=\"%s\"} %" PRIu64 "\n", name,
                          hc_reason_name(reason), count);
    }
}

static void write_transfers(struct hc_metrics *metrics, FILE *out)
{
    write_by_reason(out, "hubcache_transfers_total",
                    "Transfers that are over, by reason of failure (OK: none).",
                    metrics->transfers.by_reason);
    write_sources(metrics, out);
    write_one(out, "hubcache_downloaded_bytes_total", "counter",
              "Bytes fetched from the Hub.",
              atomic_load(&metrics->transfers.fetched_bytes));
    write_one(out, "hubcache_transfer_retries_total", "counter",
              "Requests for bytes that had to be repeated.",
              atomic_load(&metrics->transfers.retries));
    write_seconds(out, "hubcache_transfer_seconds_total",
                  "Time that transfers took, with all waiting.",
                  &metrics->transfers.duration_ms);
    write_seconds(out, "hubcache_transfer_waited_seconds_total",
                  "Of these, time spent waiting for another process that fetched it.",
                  &metrics->transfers.waited_ms);
}

/* One gauge of both pools of threads. */
static void write_pools(FILE *out, const char *name, const char *help, unsigned disk,
                        unsigned hub)
{
    write_head(out, name, "gauge", help);
    (void)fprintf(out, "%s{pool=\"disk\"} %u\n%s{pool=\"hub\"} %u\n", name, disk, name,
                  hub);
}

static void write_clients(struct hc_listener *listener, FILE *out)
{
    struct hc_connection_counts counts;

    hc_connections_count(hc_listener_connections(listener), &counts);
    write_one(out, "hubcache_client_connections", "gauge", "gRPC connections.",
              counts.open);
    write_one(out, "hubcache_client_connections_refused_total", "counter",
              "gRPC connections that were closed at once: there were too many.",
              counts.refused);
    write_one(out, "hubcache_client_connections_cut_total", "counter",
              "gRPC connections that were ended because they flooded the server.",
              counts.cut);
}

static void write_reads(struct hc_read_streams *reads, FILE *out)
{
    unsigned open;
    uint64_t bytes;

    hc_read_streams_count(reads, &open, &bytes);
    write_one(out, "hubcache_read_streams", "gauge", "Calls of ReadFile that run.", open);
    write_one(out, "hubcache_read_bytes_total", "counter",
              "Bytes of files read for calls of ReadFile.", bytes);
}

static void write_reloads(struct hc_reload *reload, FILE *out)
{
    struct hc_reload_status status;

    hc_reload_status(reload, &status);
    write_one(out, "hubcache_config_last_reload_successful", "gauge",
              "1 if the last reload found nothing wrong, also before the first one.",
              !status.has_failed);
    write_one(out, "hubcache_config_last_reload_success_timestamp_seconds", "gauge",
              "When configuration and files were last read and found right.",
              (uint64_t)status.good_s);
    write_head(out, "hubcache_reloads_total", "counter", "Reloads, by result.");
    (void)fprintf(out,
                  "hubcache_reloads_total{result=\"success\"} %" PRIu64 "\n"
                  "hubcache_reloads_total{result=\"failure\"} %" PRIu64 "\n",
                  status.succeeded, status.failed);
}

/*
 * Each owner counts under a lock of its own, so the numbers are of slightly different
 * moments, as Prometheus expects of a gauge.
 */
static void write_gauges(const struct hc_gauges *gauges, FILE *out)
{
    unsigned running[2], queued[2], unfinished, waiting, transfers, connections;

    hc_workers_count(gauges->disk, &running[0], &queued[0]);
    hc_workers_count(gauges->hub, &running[1], &queued[1]);
    hc_coalescer_count(gauges->coalescer, &unfinished, &waiting);
    hc_resolver_count(gauges->resolver, &transfers, &connections);
    write_one(out, "hubcache_waiting_calls", "gauge",
              "Calls that wait for the disk or the Hub.", waiting);
    write_pools(out, "hubcache_running_jobs", "Worker threads that run a job.",
                running[0], running[1]);
    write_pools(out, "hubcache_queued_jobs", "Jobs that wait for a worker thread.",
                queued[0], queued[1]);
    write_one(out, "hubcache_transfers", "gauge", "Transfers that run.", transfers);
    write_one(out, "hubcache_connections", "gauge", "Connections that fetch bytes.",
              connections);
    write_clients(gauges->listener, out);
    write_reads(gauges->reads, out);
    write_reloads(gauges->reload, out);
    write_one(out, "hubcache_log_lines_dropped_total", "counter",
              "Lines of the log that its reader did not take in time.", hc_log_dropped());
}

void hc_metrics_set_volume(struct hc_metrics *metrics, bool is_usable)
{
    atomic_store(&metrics->is_volume_unusable, !is_usable);
}

void hc_metrics_write(struct hc_metrics *metrics, const struct hc_gauges *gauges,
                      FILE *out)
{
    write_head(out, "hubcache_build_info", "gauge", "The version of hubcached.");
    (void)fprintf(out, "hubcache_build_info{version=\"%s\"} 1\n", hc_version());
    write_requests(metrics, out);
    write_one(out, "hubcache_hits_total", "counter",
              "Requests for files that the disk alone has answered.",
              atomic_load(&metrics->hits));
    write_by_reason(
        out, "hubcache_stale_answers_total",
        "Older answers given in place of newer ones, by the reason why the Hub "
        "did not answer.",
        metrics->stale_by_reason);
    write_transfers(metrics, out);
    write_one(out, "hubcache_volume_usable", "gauge",
              "1 while the cache volume answers, 0 while it does not.",
              !atomic_load(&metrics->is_volume_unusable));
    write_gauges(gauges, out);
}
