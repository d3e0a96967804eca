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

#include "audit.h"
#include "cache_prefetch.h"
#include "caller_counts.h"
#include "connections.h"
#include "exposition.h"
#include "fetched_metrics.h"
#include "histogram.h"
#include "hub_metrics.h"
#include "keeper.h"
#include "listener.h"
#include "log.h"
#include "policy_file.h"
#include "read_stream.h"
#include "reload.h"
#include "request_log.h"
#include "scrubber.h"
#include "tls.h"
#include "usage_scanner.h"

#include <base/error.h>
#include <base/text.h>

#include <hubcache/lease.h>
#include <hubcache/maintenance.h>
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
    metrics->callers = hc_caller_counts_new(err);
    return metrics->callers ? hc_take(&metrics) : NULL;
}

void hc_metrics_free(struct hc_metrics *metrics)
{
    if (!metrics)
        return;
    hc_caller_counts_free(metrics->callers);
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
    static const char line[] =
        "hubcache_transfer_bytes_total{source=\"%s\"} %" PRIu64 "\n";

    hc_exposition_head(
        out, "hubcache_transfer_bytes_total", "counter",
        "Bytes of transfers that are over: fetched from the Hub, resumed from an "
        "earlier transfer, or found in another repo of the cache.");
    (void)fprintf(out, line, "hub", atomic_load(&metrics->transfers.fetched_bytes));
    (void)fprintf(out, line, "resumed", atomic_load(&metrics->transfers.resumed_bytes));
    (void)fprintf(out, line, "shared", atomic_load(&metrics->transfers.shared_bytes));
}

static void write_by_reason(FILE *out, const char *name, const char *help,
                            atomic_uint_least64_t counters[HC_REASON_COUNT])
{
    hc_exposition_head(out, name, "counter", help);
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

static void write_in_progress(const struct hc_rpc *rpc, FILE *out)
{
    const char *path;
    unsigned count;

    hc_exposition_head(out, "hubcache_requests_in_progress", "gauge",
                       "Calls that have arrived and have no answer yet.");
    for (unsigned i = 0; hc_rpc_count_calls(rpc, i, &path, &count); i++)
        (void)fprintf(out, "hubcache_requests_in_progress{method=\"%s\"} %u\n", path,
                      count);
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
        (void)fprintf(out, "hubcache_answers_total{source=\"%s\"} %" PRIu64 "\n",
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

/* As of the last scan; nothing before the end of the first one. */
static void write_usage(struct hc_usage_scanner *scanner, FILE *out)
{
    HC_AUTO_VALUE(hc_usage) usage = {0};
    struct hc_error err;

    if (hc_usage_scanner_read(scanner, 0, &usage, &err) <= 0)
        return;
    hc_exposition_gauge(out, "hubcache_cache_bytes",
                        "Bytes of the files in the cache; those that repos share once.",
                        usage.bytes);
    hc_exposition_gauge(out, "hubcache_cache_files", "Files in the cache, likewise.",
                        usage.files);
    hc_exposition_gauge(out, "hubcache_cache_repos", "Repos in the cache.",
                        usage.repo_count);
    hc_exposition_gauge(out, "hubcache_cache_scan_timestamp_seconds",
                        "When the scan began that has found this.",
                        (uint64_t)usage.began_ms / 1000);
    hc_fetched_metrics_write(scanner, out);
}

static void write_bound(const char *name, const char *help, uint64_t bytes, FILE *out)
{
    if (bytes > 0)
        hc_exposition_gauge(out, name, help, bytes);
}

/* Without a limit and a floor nothing is measured, and downloads find the volume full. */
static void write_room(const struct hc_resolver *resolver, FILE *out)
{
    struct hc_room_status room;

    hc_resolver_room(resolver, &room);
    write_bound("hubcache_cache_limit_bytes", "Bytes that the cache may take.",
                room.limit_bytes, out);
    write_bound("hubcache_free_floor_bytes", "Bytes of the volume that stay free.",
                room.floor_bytes, out);
    if (room.is_measured)
        hc_exposition_gauge(out, "hubcache_occupied_bytes",
                            "Room that the blobs of the cache take, each inode once.",
                            room.occupied_bytes);
    hc_exposition_counter(out, "hubcache_evicted_bytes_total", "Bytes that were evicted.",
                          room.evicted_bytes);
    hc_exposition_counter(out, "hubcache_evicted_revisions_total",
                          "Revisions that were evicted.", room.evicted_revisions);
    hc_exposition_gauge(out, "hubcache_held_bytes",
                        "Bytes that the last eviction left because they are held.",
                        room.held_bytes);
    hc_exposition_gauge(out, "hubcache_running_evictions", "Evictions that run.",
                        room.evictions_running);
    hc_exposition_counter(out, "hubcache_no_space_total",
                          "Downloads for which there was no room.", room.refusals);
}

/* A hc_running_transfer_fn: counts those of this process, and those of others. */
static void running_transfer_count(void *ctx, const struct hc_running_transfer *transfer)
{
    unsigned *counts = ctx;

    counts[transfer->is_remote]++;
}

static void write_running_transfers(struct hc_resolver *resolver, FILE *out)
{
    unsigned counts[2] = {0, 0};

    hc_resolver_list_transfers(resolver, running_transfer_count, counts);
    hc_exposition_head(out, "hubcache_running_transfers", "gauge",
                       "Transfers that run, and those that wait for another process that "
                       "fetches the file.");
    (void)fprintf(out,
                  "hubcache_running_transfers{state=\"fetching\"} %u\n"
                  "hubcache_running_transfers{state=\"waiting\"} %u\n",
                  counts[0], counts[1]);
}

static void write_leases(struct hc_resolver *resolver, FILE *out)
{
    struct hc_lease_counts counts;

    hc_resolver_count_leases(resolver, &counts);
    hc_exposition_gauge(
        out, "hubcache_leases",
        "Leases on the volume, as of the last sweep and what this process "
        "has done since.",
        counts.held);
    hc_exposition_counter(out, "hubcache_leases_taken_total",
                          "Leases that were given with an answer.", counts.taken);
    hc_exposition_counter(out, "hubcache_leases_renewed_total",
                          "Leases that got a new end.", counts.renewed);
    hc_exposition_head(out, "hubcache_leases_ended_total", "counter",
                       "Leases that have ended: by their callers, or by their time.");
    (void)fprintf(out,
                  "hubcache_leases_ended_total{by=\"caller\"} %" PRIu64 "\n"
                  "hubcache_leases_ended_total{by=\"time\"} %" PRIu64 "\n",
                  counts.released, counts.expired);
    hc_exposition_counter(out, "hubcache_leases_lost_total",
                          "Renewals of leases that had ended already.", counts.lost);
}

enum { POOLS = 4 };

/* One gauge of all pools of threads. */
static void write_pools(FILE *out, const char *name, const char *help,
                        const unsigned counts[POOLS])
{
    static const char *const pools[POOLS] = {"disk", "hub", "admin", "prefetch"};

    hc_exposition_head(out, name, "gauge", help);
    for (unsigned i = 0; i < POOLS; i++)
        (void)fprintf(out, "%s{pool=\"%s\"} %u\n", name, pools[i], counts[i]);
}

static void write_prefetches(const struct hc_prefetch_counts *counts, FILE *out)
{
    hc_exposition_head(out, "hubcache_prefetched_snapshots_total", "counter",
                       "Snapshots of calls of Prefetch, by result.");
    (void)fprintf(out,
                  "hubcache_prefetched_snapshots_total{result=\"success\"} %" PRIu64 "\n"
                  "hubcache_prefetched_snapshots_total{result=\"failure\"} %" PRIu64 "\n",
                  counts->fetched, counts->failed);
}

static void write_kept(struct hc_keeper *keeper, FILE *out)
{
    struct hc_keeper_counts counts;

    hc_keeper_count(keeper, &counts);
    hc_exposition_head(out, "hubcache_kept_revisions", "gauge",
                       "Revisions that the policy keeps, by state.");
    for (unsigned i = 0; i < HC_KEEP_STATES; i++)
        (void)fprintf(out, "hubcache_kept_revisions{state=\"%s\"} %u\n",
                      hc_keep_state_name((enum hc_keep_state)i), counts.states[i]);
    hc_exposition_head(out, "hubcache_roll_outs_total", "counter",
                       "Fetches of kept revisions, by result.");
    (void)fprintf(out,
                  "hubcache_roll_outs_total{result=\"success\"} %" PRIu64 "\n"
                  "hubcache_roll_outs_total{result=\"failure\"} %" PRIu64 "\n",
                  counts.rolled_out, counts.failed);
    if (counts.behind_since_ms > 0)
        hc_exposition_gauge(out, "hubcache_kept_behind_since_timestamp_seconds",
                            "Since when a kept revision is behind the Hub: of the one "
                            "that is so for longest.",
                            (uint64_t)counts.behind_since_ms / 1000);
}

static void write_clients(struct hc_listener *listener, FILE *out)
{
    struct hc_connection_counts counts;

    hc_connections_count(hc_listener_connections(listener), &counts);
    hc_exposition_gauge(out, "hubcache_client_connections", "gRPC connections.",
                        counts.open);
    hc_exposition_counter(
        out, "hubcache_client_connections_refused_total",
        "gRPC connections that were closed at once: there were too many.",
        counts.refused);
    hc_exposition_counter(
        out, "hubcache_client_connections_cut_total",
        "gRPC connections that were ended because they flooded the server.", counts.cut);
}

static void write_reads(struct hc_read_streams *reads, FILE *out)
{
    unsigned open;
    uint64_t bytes;

    hc_read_streams_count(reads, &open, &bytes);
    hc_exposition_gauge(out, "hubcache_read_streams", "Calls of ReadFile that run.",
                        open);
    hc_exposition_counter(out, "hubcache_read_bytes_total",
                          "Bytes of files read for calls of ReadFile.", bytes);
}

static void write_warmed(struct hc_resolver *resolver, FILE *out)
{
    uint64_t warmed, left;

    hc_resolver_count_warmed(resolver, &warmed, &left);
    hc_exposition_counter(out, "hubcache_warmed_bytes_total",
                          "Bytes that were read ahead into the page cache on request.",
                          warmed);
    hc_exposition_counter(
        out, "hubcache_unwarmed_bytes_total",
        "Bytes that were not: half of the available memory had no room.", left);
}

static void write_removed(struct hc_resolver *resolver, FILE *out)
{
    struct hc_removal_counts counts;

    hc_resolver_count_removed(resolver, &counts);
    hc_exposition_head(out, "hubcache_removed_files_total", "counter",
                       "Files that calls have removed from the cache, by cause.");
    (void)fprintf(out,
                  "hubcache_removed_files_total{cause=\"delete\"} %" PRIu64 "\n"
                  "hubcache_removed_files_total{cause=\"prune\"} %" PRIu64 "\n",
                  counts.deleted_files, counts.pruned_files);
    hc_exposition_head(out, "hubcache_removed_bytes_total", "counter",
                       "Room on the volume that this has freed, by cause.");
    (void)fprintf(out,
                  "hubcache_removed_bytes_total{cause=\"delete\"} %" PRIu64 "\n"
                  "hubcache_removed_bytes_total{cause=\"prune\"} %" PRIu64 "\n",
                  counts.deleted_bytes, counts.pruned_bytes);
}

static void write_audit(struct hc_audit *audit, FILE *out)
{
    struct hc_audit_counts counts;

    hc_audit_count(audit, &counts);
    hc_exposition_counter(out, "hubcache_audit_lines_total",
                          "Lines of the audit log, written or about to be.",
                          counts.lines);
    hc_exposition_counter(out, "hubcache_audit_lost_total",
                          "Lines that the audit log lacks, because its file could not be "
                          "written.",
                          counts.lost);
    hc_exposition_gauge(out, "hubcache_audit_writable",
                        "1 while the audit log can be written, else 0.",
                        !counts.is_failing);
}

static void write_reloads(struct hc_reload *reload, FILE *out)
{
    struct hc_reload_status status;

    hc_reload_status(reload, &status);
    hc_exposition_gauge(
        out, "hubcache_config_last_reload_successful",
        "1 if the last reload found nothing wrong, also before the first one.",
        !status.has_failed);
    hc_exposition_gauge(out, "hubcache_config_last_reload_success_timestamp_seconds",
                        "When configuration and files were last read and found right.",
                        (uint64_t)status.good_s);
    hc_exposition_head(out, "hubcache_reloads_total", "counter", "Reloads, by result.");
    (void)fprintf(out,
                  "hubcache_reloads_total{result=\"success\"} %" PRIu64 "\n"
                  "hubcache_reloads_total{result=\"failure\"} %" PRIu64 "\n",
                  status.succeeded, status.failed);
}

static void write_tls(struct hc_tls *tls, FILE *out)
{
    struct hc_tls_state state;

    hc_tls_look_at_state(tls, &state);
    hc_exposition_gauge(out, "hubcache_tls_certificate_expiry_timestamp_seconds",
                        "When the certificate that is shown expires.",
                        (uint64_t)state.end_s);
    hc_exposition_gauge(out, "hubcache_tls_files_in_use",
                        "1 while the newest files of TLS are in use, 0 while they are "
                        "wrong.",
                        !state.err.message[0]);
    hc_exposition_counter(out, "hubcache_tls_replaced_total",
                          "How often other files were taken into use.", state.replaced);
}

static void write_policy(struct hc_policy_file *file, FILE *out)
{
    struct hc_policy_state state;

    hc_policy_file_state(file, &state);
    hc_exposition_gauge(out, "hubcache_policy_file_in_use",
                        "1 while the newest policy file holds, 0 while it is wrong.",
                        !state.error[0]);
    hc_exposition_gauge(out, "hubcache_policy_read_timestamp_seconds",
                        "When the policy that holds was read.", (uint64_t)state.since_s);
    hc_exposition_head(out, "hubcache_policy_reads_total", "counter",
                       "How often the policy file was read again, by result.");
    (void)fprintf(out,
                  "hubcache_policy_reads_total{result=\"success\"} %" PRIu64 "\n"
                  "hubcache_policy_reads_total{result=\"failure\"} %" PRIu64 "\n",
                  state.replaced, state.failed);
}

/*
 * Each owner counts under a lock of its own, so the numbers are of slightly different
 * moments, as Prometheus expects of a gauge.
 */
static void write_gauges(const struct hc_gauges *gauges, FILE *out)
{
    unsigned running[POOLS], queued[POOLS], unfinished, waiting, transfers, connections;
    struct hc_prefetch_counts prefetches;

    hc_workers_count(gauges->disk, &running[0], &queued[0]);
    hc_workers_count(gauges->hub, &running[1], &queued[1]);
    hc_workers_count(gauges->admin, &running[2], &queued[2]);
    hc_prefetches_count(gauges->prefetches, &prefetches);
    running[3] = prefetches.running;
    queued[3] = prefetches.queued;
    hc_coalescer_count(gauges->coalescer, &unfinished, &waiting);
    hc_resolver_count(gauges->resolver, &transfers, &connections);
    hc_exposition_gauge(out, "hubcache_waiting_calls",
                        "Calls that wait for the disk or the Hub.", waiting);
    write_pools(out, "hubcache_running_jobs", "Worker threads that run a job.", running);
    write_pools(out, "hubcache_queued_jobs", "Jobs that wait for a worker thread.",
                queued);
    write_prefetches(&prefetches, out);
    write_kept(gauges->keeper, out);
    write_running_transfers(gauges->resolver, out);
    write_leases(gauges->resolver, out);
    write_room(gauges->resolver, out);
    hc_exposition_gauge(out, "hubcache_connections", "Connections that fetch bytes.",
                        connections);
    write_clients(hc_rpc_listener(gauges->rpc), out);
    write_reads(gauges->reads, out);
    write_warmed(gauges->resolver, out);
    write_removed(gauges->resolver, out);
    write_reloads(gauges->reload, out);
    if (gauges->tls)
        write_tls(gauges->tls, out);
    if (gauges->audit)
        write_audit(gauges->audit, out);
    if (gauges->policy)
        write_policy(gauges->policy, out);
    write_usage(gauges->usage, out);
    hc_scrubber_write_metrics(gauges->scrubber, out);
    hc_exposition_counter(out, "hubcache_log_lines_dropped_total",
                          "Lines of the log that its reader did not take in time.",
                          hc_log_dropped());
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
    write_in_progress(gauges->rpc, out);
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
    write_gauges(gauges, out);
}
