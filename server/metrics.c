/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A matrix of counters, method by reason, and a few more. Gauges are read from those whom
 * they are about at the moment of writing.
 */
#include "metrics.h"

#include <base/error.h>

#include <inttypes.h>

/* HC_OK and all that has a row. */
enum reason_number {
    REASON_OK,
#define HC_REASON_NUMBER(reason, status, exit) REASON_##reason,
    HC_REASONS(HC_REASON_NUMBER)
#undef HC_REASON_NUMBER
        REASONS
};

struct hc_metrics {
    struct {
        _Atomic(const char *) path; /* NULL: never called */
        atomic_uint_least64_t by_reason[REASONS];
        atomic_uint_least64_t unreasoned; /* failures without a reason */
    } methods[HC_RPC_METHODS_MAX];
    atomic_uint_least64_t hits, downloaded_bytes;
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

static void add(atomic_uint_least64_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

void hc_metrics_add_request(struct hc_metrics *metrics,
                            const struct hc_rpc_record *record)
{
    const char *path = record->method ? record->method->path : "unknown";
    unsigned number = record->number;

    atomic_store_explicit(&metrics->methods[number].path, path, memory_order_relaxed);
    if (record->code != 0 && record->reason == HC_OK)
        add(&metrics->methods[number].unreasoned, 1);
    else
        add(&metrics->methods[number].by_reason[record->reason], 1);
}

void hc_metrics_add_hit(struct hc_metrics *metrics)
{
    add(&metrics->hits, 1);
}

void hc_metrics_add_download(struct hc_metrics *metrics, uint64_t bytes)
{
    add(&metrics->downloaded_bytes, bytes);
}

void hc_metrics_add_file(struct hc_metrics *metrics, const struct hc_file *file)
{
    if (file->source == HC_SOURCE_HUB)
        hc_metrics_add_download(metrics, file->size_bytes);
}

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

static void write_requests(struct hc_metrics *metrics, FILE *out)
{
    write_head(out, "hubcache_requests_total", "counter",
               "Calls that are over, by method and reason of failure (OK: none).");
    for (unsigned i = 0; i < HC_RPC_METHODS_MAX; i++) {
        const char *path = atomic_load(&metrics->methods[i].path);

        for (unsigned reason = 0; path && reason < REASONS; reason++)
            write_request(out, path, hc_reason_name(reason),
                          &metrics->methods[i].by_reason[reason]);
        if (path)
            write_request(out, path, "OTHER", &metrics->methods[i].unreasoned);
    }
}

void hc_metrics_write(struct hc_metrics *metrics, struct hc_workers *workers,
                      struct hc_errands *errands, FILE *out)
{
    unsigned running, queued, unfinished, waiting;

    hc_workers_count(workers, &running, &queued);
    hc_errands_count(errands, &unfinished, &waiting);
    write_head(out, "hubcache_build_info", "gauge", "Which hubcached this is.");
    (void)fprintf(out, "hubcache_build_info{version=\"%s\"} 1\n", hc_version());
    write_requests(metrics, out);
    write_one(out, "hubcache_hits_total", "counter",
              "Requests for files that the disk alone has answered.",
              atomic_load(&metrics->hits));
    write_one(out, "hubcache_downloaded_bytes_total", "counter",
              "Bytes fetched from the Hub for answers.",
              atomic_load(&metrics->downloaded_bytes));
    write_one(out, "hubcache_waiting_calls", "gauge",
              "Calls that wait for the Hub or for a snapshot.", waiting);
    write_one(out, "hubcache_running_jobs", "gauge", "Workers at work.", running);
    write_one(out, "hubcache_queued_jobs", "gauge", "Jobs that wait for a worker.",
              queued);
}
