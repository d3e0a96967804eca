/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A matrix of counters for calls, method by reason, a row for transfers, and a few more.
 * What has another owner is in gauges.c.
 *
 * The format is Prometheus' text exposition format 0.0.4. Names and labels are documented
 * in hubcached(8) under METRICS, and dashboards depend on them. Counters are added to
 * without order (relaxed), so a page may show one part of an event before another.
 */
#include "metrics.h"

#include "caller_counts.h"
#include "denial_counts.h"
#include "exposition.h"
#include "gauges.h"
#include "histogram.h"
#include "hub_metrics.h"
#include "request_log.h"

#include <base/error.h>
#include <base/text.h>

#include <inttypes.h>
#include <openssl/crypto.h>
#include <time.h>

/* What became of calls, in as few classes as a graph can show. */
enum outcome {
    OUTCOME_OK,
    OUTCOME_CANCELLED,
    OUTCOME_INVALID,
    OUTCOME_NOT_FOUND,
    OUTCOME_DENIED,
    OUTCOME_EXHAUSTED,
    OUTCOME_UNAVAILABLE,
    OUTCOME_DEADLINE,
    OUTCOME_ERROR,
    OUTCOME_COUNT
};

static const char *const outcome_names[OUTCOME_COUNT] = {"ok",          "cancelled",
                                                         "invalid",     "not_found",
                                                         "denied",      "exhausted",
                                                         "unavailable", "deadline",
                                                         "error"};

enum {
    KINDS_MAX = 8,  /* of callers; 0: anonymous */
    SOURCES_MAX = 4 /* of answers */
};

/* Zeroed memory is a set of counters at 0: calloc() makes it. */
struct hc_metrics {
    int64_t started_s; /* since the epoch */
    struct {
        _Atomic(const char *) path; /* NULL: never called */
        atomic_uint_least64_t by_reason[HC_REASON_COUNT];
        atomic_uint_least64_t unreasoned; /* failures without a reason */
        struct hc_histogram durations[OUTCOME_COUNT];
    } methods[HC_RPC_METHODS_MAX];
    struct hc_caller_counts *callers;
    struct hc_denial_counts denials;
    atomic_uint_least64_t accepted[KINDS_MAX], refused; /* callers */
    atomic_uint_least64_t hits, misses;
    atomic_uint_least64_t by_source[SOURCES_MAX]; /* answers */
    atomic_bool is_volume_unusable;
    atomic_bool is_space_known;
    atomic_uint_least64_t volume_size, volume_available;
    atomic_uint_least64_t stale_by_reason[HC_REASON_COUNT];
    struct {
        atomic_uint_least64_t by_reason[HC_REASON_COUNT];
        atomic_uint_least64_t fetched_bytes, resumed_bytes, shared_bytes;
        atomic_uint_least64_t retries, duration_ms, waited_ms;
    } transfers;
};

struct hc_metrics *hc_metrics_new(struct hc_error *err)
{
    HC_AUTO(hc_metrics) *metrics = calloc(1, sizeof *metrics);

    if (!metrics) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    metrics->started_s = (int64_t)time(NULL);
    (void)pthread_mutex_init(&metrics->denials.lock, NULL);
    metrics->callers = hc_caller_counts_new(err);
    return metrics->callers ? hc_take(&metrics) : NULL;
}

void hc_metrics_free(struct hc_metrics *metrics)
{
    if (!metrics)
        return;
    hc_caller_counts_free(metrics->callers);
    (void)pthread_mutex_destroy(&metrics->denials.lock);
    free(metrics);
}

/* Relaxed: no reader draws a conclusion from one counter about another. */
static void counter_add(atomic_uint_least64_t *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

static enum outcome code_outcome(unsigned code)
{
    switch (code) {
    case HC_STATUS_OK:
        return OUTCOME_OK;
    case HC_STATUS_CANCELLED:
        return OUTCOME_CANCELLED;
    case HC_STATUS_INVALID_ARGUMENT:
    case HC_CODE_UNIMPLEMENTED:
        return OUTCOME_INVALID;
    case HC_STATUS_NOT_FOUND:
        return OUTCOME_NOT_FOUND;
    case HC_STATUS_PERMISSION_DENIED:
    case HC_STATUS_UNAUTHENTICATED:
        return OUTCOME_DENIED;
    case HC_STATUS_RESOURCE_EXHAUSTED:
        return OUTCOME_EXHAUSTED;
    case HC_STATUS_UNAVAILABLE:
        return OUTCOME_UNAVAILABLE;
    case HC_STATUS_DEADLINE_EXCEEDED:
        return OUTCOME_DEADLINE;
    default:
        return OUTCOME_ERROR;
    }
}

/* Of a call of a method that asks for a caller: probes of health do not. */
static void count_caller(struct hc_metrics *metrics, const struct hc_request *request,
                         const struct hc_answer *answer)
{
    const struct hc_caller *caller = request->identity;

    if (answer->reason == HC_CALLER_UNAUTHENTICATED)
        counter_add(&metrics->refused, 1);
    else
        counter_add(&metrics->accepted[caller ? caller->kind : 0], 1);
    if (caller)
        hc_caller_counts_add(metrics->callers, caller, answer->code == HC_STATUS_OK);
}

void hc_metrics_add_request(struct hc_metrics *metrics, const struct hc_request *request,
                            const struct hc_answer *answer, int64_t duration_us)
{
    unsigned number = request->method_number;
    enum outcome outcome = code_outcome(answer->code);

    if (answer->reason == HC_POLICY_DENIED)
        hc_denial_counts_add(&metrics->denials, request->facts.rule);
    atomic_store_explicit(&metrics->methods[number].path, request->method,
                          memory_order_relaxed);
    if (answer->code != 0 && answer->reason == HC_OK)
        counter_add(&metrics->methods[number].unreasoned, 1);
    else
        counter_add(&metrics->methods[number].by_reason[answer->reason], 1);
    hc_histogram_record(&metrics->methods[number].durations[outcome], duration_us);
    if (request->facts.source != HC_SOURCE_UNSPECIFIED)
        counter_add(&metrics->by_source[request->facts.source], 1);
    if (number > 0 && !hc_text_starts(request->method, "/grpc.health."))
        count_caller(metrics, request, answer);
}

void hc_metrics_add_miss(struct hc_metrics *metrics)
{
    counter_add(&metrics->misses, 1);
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
    hc_exposition_head(
        out, "hubcache_requests_total", "counter",
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

/* The three sources together are the bytes of the files, whatever the retries. */
static void write_sources(struct hc_metrics *metrics, FILE *out)
{
    static const char name[] = "hubcache_transfer_bytes_total";

    hc_exposition_head(
        out, name, "counter",
        "Bytes of transfers that are over: fetched from the Hub, resumed from an "
        "earlier transfer, or found in another repo of the cache.");
    hc_exposition_sample(out, name, "source", "hub",
                         atomic_load(&metrics->transfers.fetched_bytes));
    hc_exposition_sample(out, name, "source", "resumed",
                         atomic_load(&metrics->transfers.resumed_bytes));
    hc_exposition_sample(out, name, "source", "shared",
                         atomic_load(&metrics->transfers.shared_bytes));
}

static void write_by_reason(FILE *out, const char *name, const char *help,
                            atomic_uint_least64_t counters[HC_REASON_COUNT])
{
    hc_exposition_head(out, name, "counter", help);
    for (unsigned reason = 0; reason < HC_REASON_COUNT; reason++) {
        uint64_t count = atomic_load(&counters[reason]);

        if (count > 0)
            hc_exposition_sample(out, name, "reason", hc_reason_name(reason), count);
    }
}

static void write_transfers(struct hc_metrics *metrics, FILE *out)
{
    write_by_reason(out, "hubcache_transfers_total",
                    "Transfers that are over, by reason of failure (OK: none).",
                    metrics->transfers.by_reason);
    write_sources(metrics, out);
    hc_exposition_counter(out, "hubcache_downloaded_bytes_total",
                          "Bytes fetched from the Hub.",
                          atomic_load(&metrics->transfers.fetched_bytes));
    hc_exposition_counter(out, "hubcache_transfer_retries_total",
                          "Requests for bytes that had to be repeated.",
                          atomic_load(&metrics->transfers.retries));
    hc_exposition_seconds(out, "hubcache_transfer_seconds_total",
                          "Time that transfers took, with all waiting.",
                          atomic_load(&metrics->transfers.duration_ms));
    hc_exposition_seconds(
        out, "hubcache_transfer_waited_seconds_total",
        "Of these, time spent waiting for another process that fetched it.",
        atomic_load(&metrics->transfers.waited_ms));
}

static void write_durations(struct hc_metrics *metrics, FILE *out)
{
    static const char name[] = "hubcache_request_duration_seconds";
    char labels[256];

    hc_exposition_head(out, name, "histogram",
                       "Time from the arrival of a call to its answer, by method and "
                       "outcome.");
    for (unsigned i = 0; i < HC_RPC_METHODS_MAX; i++) {
        const char *path = atomic_load(&metrics->methods[i].path);

        for (unsigned outcome = 0; path && outcome < OUTCOME_COUNT; outcome++) {
            (void)hc_format(labels, sizeof labels, "method=\"%s\",outcome=\"%s\"", path,
                            outcome_names[outcome]);
            hc_histogram_write(&metrics->methods[i].durations[outcome], name, labels,
                               out);
        }
    }
}

static void write_callers(struct hc_metrics *metrics, FILE *out)
{
    static const char line[] =
        "hubcache_auth_decisions_total{kind=\"%s\",outcome=\"%s\"} %" PRIu64 "\n";

    hc_exposition_head(out, "hubcache_auth_decisions_total", "counter",
                       "Calls by what has proved the caller's identity, and those that "
                       "were refused.");
    (void)fprintf(out, line, "unknown", "refused", atomic_load(&metrics->refused));
    (void)fprintf(out, line, "anonymous", "accepted", atomic_load(metrics->accepted));
    for (unsigned kind = 1; kind < KINDS_MAX; kind++) {
        uint64_t count = atomic_load(&metrics->accepted[kind]);

        if (count > 0)
            (void)fprintf(out, line, hc_caller_kind_name((enum hc_caller_kind)kind),
                          "accepted", count);
    }
    hc_caller_counts_write(metrics->callers, out);
    hc_denial_counts_write(&metrics->denials, out);
}

static void write_answers(struct hc_metrics *metrics, FILE *out)
{
    hc_exposition_counter(out, "hubcache_hits_total",
                          "Requests for files that the disk alone has answered.",
                          atomic_load(&metrics->hits));
    hc_exposition_counter(out, "hubcache_misses_total",
                          "Requests for which the Hub had to be asked; equal ones at the "
                          "same time count once.",
                          atomic_load(&metrics->misses));
    hc_exposition_head(out, "hubcache_answers_total", "counter",
                       "Answers with files, by where the bytes were: cache, hub, local.");
    for (unsigned source = HC_SOURCE_CACHE; source < SOURCES_MAX; source++)
        hc_exposition_sample(out, "hubcache_answers_total", "source",
                             hc_source_name((enum hc_source)source),
                             atomic_load(&metrics->by_source[source]));
}

static void write_volume(struct hc_metrics *metrics, FILE *out)
{
    hc_exposition_gauge(out, "hubcache_volume_usable",
                        "1 while the cache volume answers, 0 while it does not.",
                        !atomic_load(&metrics->is_volume_unusable));
    if (!atomic_load(&metrics->is_space_known))
        return;
    hc_exposition_gauge(out, "hubcache_volume_size_bytes", "Size of the cache volume.",
                        atomic_load(&metrics->volume_size));
    hc_exposition_gauge(out, "hubcache_volume_available_bytes",
                        "Of it, what is free for hubcached.",
                        atomic_load(&metrics->volume_available));
}

void hc_metrics_set_volume(struct hc_metrics *metrics, bool is_usable)
{
    atomic_store(&metrics->is_volume_unusable, !is_usable);
}

bool hc_metrics_is_volume_usable(const struct hc_metrics *metrics)
{
    return !atomic_load(&metrics->is_volume_unusable);
}

void hc_metrics_set_space(struct hc_metrics *metrics, const struct hc_volume_space *space)
{
    atomic_store(&metrics->volume_size, space->size);
    atomic_store(&metrics->volume_available, space->available);
    atomic_store(&metrics->is_space_known, space->is_known);
}

static void write_build(FILE *out)
{
    hc_exposition_head(out, "hubcache_build_info", "gauge",
                       "The version of hubcached and of libraries that it runs with.");
    (void)fprintf(out,
                  "hubcache_build_info{version=\"%s\",grpc=\"%s\",openssl=\"%s\"} 1\n",
                  hc_version(), hc_rpc_library_version(),
                  OpenSSL_version(OPENSSL_VERSION_STRING));
}

void hc_metrics_write(struct hc_metrics *metrics, const struct hc_gauges *gauges,
                      FILE *out)
{
    write_build(out);
    hc_exposition_process(out, metrics->started_s);
    write_requests(metrics, out);
    write_durations(metrics, out);
    write_callers(metrics, out);
    write_answers(metrics, out);
    write_by_reason(
        out, "hubcache_stale_answers_total",
        "Older answers given in place of newer ones, by the reason why the Hub "
        "did not answer.",
        metrics->stale_by_reason);
    write_transfers(metrics, out);
    hc_hub_metrics_write(gauges->resolver, out);
    write_volume(metrics, out);
    hc_gauges_write(gauges, out);
}
