/* SPDX-License-Identifier: Apache-2.0 */
/* Each owner counts under a lock of its own, so the numbers of a page are of slightly
 * different moments, as Prometheus expects of a gauge. */
#include "gauges.h"

#include "audit.h"
#include "cache_prefetch.h"
#include "coalescer.h"
#include "connections.h"
#include "exposition.h"
#include "fetched_metrics.h"
#include "keeper.h"
#include "listener.h"
#include "log.h"
#include "policy_file.h"
#include "read_stream.h"
#include "reload.h"
#include "rpc.h"
#include "scrubber.h"
#include "tls.h"
#include "usage_scanner.h"

#include <base/workers.h>
#include <hubcache/keep.h>
#include <hubcache/lease.h>
#include <hubcache/maintenance.h>
#include <hubcache/resolver.h>
#include <hubcache/usage.h>

static void write_in_progress(const struct hc_rpc *rpc, FILE *out)
{
    const char *path;
    unsigned count;

    hc_exposition_head(out, "hubcache_requests_in_progress", "gauge",
                       "Calls that have arrived and have no answer yet.");
    for (unsigned i = 0; hc_rpc_count_calls(rpc, i, &path, &count); i++)
        hc_exposition_sample(out, "hubcache_requests_in_progress", "method", path, count);
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
    hc_exposition_sample(out, "hubcache_running_transfers", "state", "fetching",
                         counts[0]);
    hc_exposition_sample(out, "hubcache_running_transfers", "state", "waiting",
                         counts[1]);
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
    hc_exposition_sample(out, "hubcache_leases_ended_total", "by", "caller",
                         counts.released);
    hc_exposition_sample(out, "hubcache_leases_ended_total", "by", "time",
                         counts.expired);
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
        hc_exposition_sample(out, name, "pool", pools[i], counts[i]);
}

static void write_prefetches(const struct hc_prefetch_counts *counts, FILE *out)
{
    hc_exposition_results(out, "hubcache_prefetched_snapshots_total",
                          "Snapshots of calls of Prefetch, by result.", counts->fetched,
                          counts->failed);
}

static void write_kept(struct hc_keeper *keeper, FILE *out)
{
    struct hc_keeper_counts counts;

    hc_keeper_count(keeper, &counts);
    hc_exposition_head(out, "hubcache_kept_revisions", "gauge",
                       "Revisions that the policy keeps, by state.");
    for (unsigned i = 0; i < HC_KEEP_STATES; i++)
        hc_exposition_sample(out, "hubcache_kept_revisions", "state",
                             hc_keep_state_name((enum hc_keep_state)i), counts.states[i]);
    hc_exposition_results(out, "hubcache_roll_outs_total",
                          "Fetches of kept revisions, by result.", counts.rolled_out,
                          counts.failed);
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
    hc_exposition_sample(out, "hubcache_removed_files_total", "cause", "delete",
                         counts.deleted_files);
    hc_exposition_sample(out, "hubcache_removed_files_total", "cause", "prune",
                         counts.pruned_files);
    hc_exposition_head(out, "hubcache_removed_bytes_total", "counter",
                       "Room on the volume that this has freed, by cause.");
    hc_exposition_sample(out, "hubcache_removed_bytes_total", "cause", "delete",
                         counts.deleted_bytes);
    hc_exposition_sample(out, "hubcache_removed_bytes_total", "cause", "prune",
                         counts.pruned_bytes);
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
    hc_exposition_results(out, "hubcache_reloads_total", "Reloads, by result.",
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
    hc_exposition_results(out, "hubcache_policy_reads_total",
                          "How often the policy file was read again, by result.",
                          state.replaced, state.failed);
}

static void write_jobs(const struct hc_gauges *gauges, FILE *out)
{
    unsigned running[POOLS], queued[POOLS];
    struct hc_prefetch_counts prefetches;

    hc_workers_count(gauges->disk, &running[0], &queued[0]);
    hc_workers_count(gauges->hub, &running[1], &queued[1]);
    hc_workers_count(gauges->admin, &running[2], &queued[2]);
    hc_prefetches_count(gauges->prefetches, &prefetches);
    running[3] = prefetches.running;
    queued[3] = prefetches.queued;
    write_pools(out, "hubcache_running_jobs", "Worker threads that run a job.", running);
    write_pools(out, "hubcache_queued_jobs", "Jobs that wait for a worker thread.",
                queued);
    write_prefetches(&prefetches, out);
}

static void write_calls(const struct hc_gauges *gauges, FILE *out)
{
    unsigned unfinished, waiting;

    write_in_progress(gauges->rpc, out);
    hc_coalescer_count(gauges->coalescer, &unfinished, &waiting);
    hc_exposition_gauge(out, "hubcache_waiting_calls",
                        "Calls that wait for the disk or the Hub.", waiting);
}

static void write_connections(struct hc_resolver *resolver, FILE *out)
{
    unsigned transfers, connections;

    hc_resolver_count(resolver, &transfers, &connections);
    hc_exposition_gauge(out, "hubcache_connections", "Connections that fetch bytes.",
                        connections);
}

void hc_gauges_write(const struct hc_gauges *gauges, FILE *out)
{
    write_calls(gauges, out);
    write_jobs(gauges, out);
    write_kept(gauges->keeper, out);
    write_running_transfers(gauges->resolver, out);
    write_leases(gauges->resolver, out);
    write_room(gauges->resolver, out);
    write_connections(gauges->resolver, out);
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
