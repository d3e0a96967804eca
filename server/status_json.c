/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys are documented in hubcached(8), and scripts depend on them. json_pack() makes
 * NULL of what memory does not suffice for; the page then ends in an error.
 */
#include "status_page.h"

#include "html.h"

#include <base/json.h>
#include <base/text.h>

#include <string.h>

/* Control characters, and bytes that are no UTF-8, as the page shows them. */
static json_t *json_text(const char *text)
{
    HC_AUTO_FREE char *safe = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&safe, &size);

    if (!out)
        return NULL;
    hc_text_escape(out, text, "");
    return fclose(out) == 0 ? json_string(safe) : NULL;
}

static json_t *json_seconds(int64_t ms)
{
    return json_real((double)ms / 1000);
}

/* null: never. */
static json_t *json_time(int64_t epoch_ms)
{
    char text[32];

    if (epoch_ms <= 0)
        return json_null();
    hc_html_time_text(text, epoch_ms);
    return json_string(text);
}

static json_int_t json_size(uint64_t size)
{
    return (json_int_t)(size < INT64_MAX ? size : INT64_MAX);
}

/* Of figures that are not known: null. */
static json_t *json_volume(const struct hc_status_facts *facts)
{
    const struct hc_volume_space *space = &facts->space;

    return json_pack("{s:b, s:o, s:o, s:o}", "usable", !*facts->volume_error, "error",
                     json_text(facts->volume_error), "bytes",
                     space->is_known ? json_integer(json_size(space->size)) : json_null(),
                     "free_bytes",
                     space->is_known ? json_integer(json_size(space->available))
                                     : json_null());
}

/* null: without TLS. */
static json_t *json_tls(const struct hc_status_facts *facts)
{
    const struct hc_tls_state *tls = &facts->tls;

    if (!facts->has_tls)
        return json_null();
    return json_pack("{s:o, s:o, s:I, s:I, s:o}", "certificate_expires",
                     json_time(tls->end_s * 1000), "read", json_time(tls->since_s * 1000),
                     "replaced", json_size(tls->replaced), "failed",
                     json_size(tls->failed), "error", json_text(tls->err.message));
}

/* null: without a policy. */
static json_t *json_policy(const struct hc_status_facts *facts)
{
    const struct hc_policy_state *policy = &facts->policy;

    if (!facts->has_policy)
        return json_null();
    return json_pack("{s:o, s:I, s:I, s:o}", "read", json_time(policy->since_s * 1000),
                     "replaced", json_size(policy->replaced), "failed",
                     json_size(policy->failed), "error", json_text(policy->error));
}

/* null: there was none since the start. */
static json_t *json_reload(const struct hc_reload_status *reload)
{
    if (reload->last_s == 0)
        return json_null();
    return json_pack("{s:o, s:b, s:I, s:I, s:o}", "last",
                     json_time(reload->last_s * 1000), "has_failed", reload->has_failed,
                     "succeeded", json_size(reload->succeeded), "failed",
                     json_size(reload->failed), "message", json_text(reload->message));
}

static json_t *json_server(const struct hc_status_facts *facts)
{
    json_t *listeners = json_array();

    for (size_t i = 0; i < facts->listeners.count; i++)
        (void)json_array_append_new(listeners, json_text(facts->listeners.items[i]));
    return json_pack(
        "{s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:b, s:s, s:o, s:o, s:o}",
        "version", hc_version(), "host", json_text(facts->host), "state",
        facts->is_stopping ? "stopping" : "serving", "started",
        json_time(facts->started_ms), "uptime_seconds",
        json_seconds(facts->now_ms - facts->started_ms), "listeners", listeners,
        "cache_root", json_text(facts->cache_root), "cache_id",
        json_text(facts->cache_id), "endpoint", json_text(facts->endpoint), "offline",
        facts->is_offline, "authentication", facts->auth, "tls", json_tls(facts),
        "policy", json_policy(facts), "reload", json_reload(&facts->reload));
}

/* Values as --check-config prints them. */
static json_t *json_options(const struct hc_status_facts *facts)
{
    HC_AUTO_FREE char *copy = strdup(facts->options);
    char *rest = copy;
    char *line;
    json_t *options = json_object();

    while ((line = strsep(&rest, "\n")) != NULL) {
        char *value = strstr(line, ": ");

        if (!value)
            continue;
        *value = '\0';
        (void)json_object_set_new(options, line, json_text(value + strlen(": ")));
    }
    return options;
}

static json_t *json_totals(const struct hc_status_facts *facts)
{
    const uint64_t *values = facts->now.values;

    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:i, s:i, s:i}", "hits",
                     json_size(values[HC_SERIES_HITS]), "misses",
                     json_size(values[HC_SERIES_MISSES]), "failures",
                     json_size(values[HC_SERIES_FAILURES]), "fetched_bytes",
                     json_size(values[HC_SERIES_FETCHED_BYTES]), "read_bytes",
                     json_size(values[HC_SERIES_READ_BYTES]), "calls",
                     json_size(values[HC_SERIES_CALLS]), "transfers",
                     json_size(values[HC_SERIES_TRANSFERS]), "running_jobs",
                     (int)facts->running_jobs, "queued_jobs", (int)facts->queued_jobs,
                     "connections", (int)facts->connections, "client_connections",
                     (int)facts->client_connections);
}

static json_t *json_transfer(const struct hc_status_transfer *transfer)
{
    const struct hc_running_transfer *running = &transfer->running;

    return json_pack("{s:s, s:o, s:o, s:I, s:I, s:I, s:o, s:i, s:i, s:i, s:b}",
                     "repo_type", hc_repo_type_name(running->repo_type), "repo",
                     json_text(transfer->repo_id), "file", json_text(transfer->path),
                     "bytes_done", json_size(running->done_bytes), "bytes_total",
                     json_size(running->size_bytes), "bytes_per_second",
                     json_size(running->bytes_per_second), "seconds",
                     json_seconds((int64_t)running->age_ms), "waiters",
                     (int)running->callers, "connections", (int)running->connections,
                     "retries", (int)running->retries, "by_other_process",
                     running->is_remote);
}

static json_t *json_transfers(const struct hc_status_facts *facts)
{
    json_t *transfers = json_array();

    for (size_t i = 0; i < facts->listed_transfers; i++)
        (void)json_array_append_new(transfers, json_transfer(&facts->transfers[i]));
    return transfers;
}

static json_t *json_failure(const struct hc_recent_failure *failure)
{
    return json_pack("{s:o, s:o, s:I, s:s, s:s, s:s, s:o, s:o, s:o, s:o}", "first",
                     json_time(failure->first_ms), "last", json_time(failure->last_ms),
                     "count", json_size(failure->count), "method", failure->method,
                     "reason", hc_status_reason(failure), "repo_type",
                     *failure->repo_id ? hc_repo_type_name(failure->repo_type) : "",
                     "repo", json_text(failure->repo_id), "revision",
                     json_text(failure->revision), "caller", json_text(failure->caller),
                     "message", json_text(failure->message));
}

static json_t *json_failures(const struct hc_status_facts *facts)
{
    json_t *failures = json_array();

    for (size_t i = 0; i < facts->failure_count; i++)
        (void)json_array_append_new(failures, json_failure(&facts->failures[i]));
    return failures;
}

static json_t *json_repos(const struct hc_usage *usage)
{
    json_t *repos = json_array();

    for (size_t i = 0; i < usage->listed; i++) {
        const struct hc_repo_usage *repo = &usage->repos[i];

        (void)json_array_append_new(repos,
                                    json_pack("{s:s, s:o, s:I, s:I, s:I, s:o}",
                                              "repo_type", hc_repo_type_name(repo->type),
                                              "repo", json_text(repo->id), "bytes",
                                              json_size(repo->bytes), "files",
                                              json_size(repo->files), "revisions",
                                              json_size(repo->revisions), "last_used",
                                              json_time(repo->last_used_ms)));
    }
    return repos;
}

/* null before the end of the first scan. */
static json_t *json_cache(const struct hc_status_facts *facts)
{
    const struct hc_usage *usage = &facts->usage;

    if (!facts->has_usage)
        return json_null();
    return json_pack("{s:o, s:o, s:b, s:I, s:I, s:I, s:o}", "scanned",
                     json_time(usage->began_ms), "scan_seconds",
                     json_seconds(usage->took_ms), "incomplete", usage->is_incomplete,
                     "repo_count", json_size(usage->repo_count), "bytes",
                     json_size(usage->bytes), "files", json_size(usage->files), "repos",
                     json_repos(usage));
}

static json_t *json_behind(const struct hc_keep_status *behind)
{
    return json_pack("{s:s, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:b, s:b, s:s, s:o}",
                     "repo_type", hc_repo_type_name(behind->repo_type), "repo",
                     json_text(behind->repo_id), "revision", json_text(behind->revision),
                     "state", hc_keep_state_name(hc_keep_state(behind)), "commit",
                     behind->commit, "newest", behind->newest, "heard",
                     json_time(behind->heard_ms), "behind_since",
                     json_time(behind->behind_since_ms), "fetching", behind->is_fetching,
                     "by_other_process", behind->is_remote, "reason",
                     behind->reason == HC_OK ? "" : hc_reason_name(behind->reason),
                     "message", json_text(behind->message));
}

static json_t *json_kept(const struct hc_status_facts *facts)
{
    json_t *kept = json_object(), *behind = json_array();

    for (unsigned i = 0; i < HC_KEEP_STATES; i++)
        (void)json_object_set_new(kept, hc_keep_state_name((enum hc_keep_state)i),
                                  json_integer((json_int_t)facts->kept.states[i]));
    for (size_t i = 0; i < facts->behind_count; i++)
        (void)json_array_append_new(behind, json_behind(&facts->behind[i]));
    (void)json_object_set_new(kept, "revisions", behind);
    return kept;
}

static json_t *json_scrub(const struct hc_scrubber_status *scrub)
{
    const struct hc_scrub_state *state = &scrub->state;
    const struct hc_verify_result *last = &state->last;

    if (!scrub->is_on)
        return json_null();
    return json_pack("{s:b, s:o, s:I, s:I, s:o, s:I, s:I, s:I, s:I, s:I}", "running",
                     scrub->is_running, "pass_began", json_time(state->pass_began_ms),
                     "bytes_done", json_size(scrub->progress.bytes_done), "bytes_total",
                     json_size(scrub->progress.bytes_total), "last_ended",
                     json_time(state->last_ended_ms), "blobs", json_size(last->blobs),
                     "bytes", json_size(last->bytes), "corrupt",
                     json_size(last->findings[HC_CORRUPT_BLOB]), "unreadable",
                     json_size(last->findings[HC_UNREADABLE_BLOB]), "not_repaired",
                     json_size(last->not_repaired));
}

static json_t *json_samples(const struct hc_samples *samples, enum hc_series series)
{
    json_t *values = json_array();

    for (size_t i = 0; i < samples->count; i++)
        (void)json_array_append_new(values,
                                    json_real((double)samples->values[series][i]));
    return values;
}

static json_t *json_window(const struct hc_samples *samples, int every_ms)
{
    return json_pack("{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "every_seconds",
                     every_ms / 1000, "hits", json_samples(samples, HC_SERIES_HITS),
                     "misses", json_samples(samples, HC_SERIES_MISSES), "failures",
                     json_samples(samples, HC_SERIES_FAILURES), "fetched_bytes",
                     json_samples(samples, HC_SERIES_FETCHED_BYTES), "read_bytes",
                     json_samples(samples, HC_SERIES_READ_BYTES), "calls",
                     json_samples(samples, HC_SERIES_CALLS), "transfers",
                     json_samples(samples, HC_SERIES_TRANSFERS));
}

bool hc_status_json_write(const struct hc_status_facts *facts, FILE *out)
{
    HC_AUTO_JSON *all =
        json_pack("{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:{s:o, s:o}}",
                  "time", json_time(facts->now_ms), "limited", facts->is_limited,
                  "server", json_server(facts), "volume", json_volume(facts), "options",
                  json_options(facts), "totals", json_totals(facts), "transfers",
                  json_transfers(facts), "failures", json_failures(facts), "cache",
                  json_cache(facts), "kept", json_kept(facts), "scrub",
                  json_scrub(&facts->scrub), "history", "minutes",
                  json_window(&facts->windows[HC_WINDOW_MINUTES], HC_MINUTES_EVERY_MS),
                  "day", json_window(&facts->windows[HC_WINDOW_DAY], HC_DAY_EVERY_MS));

    if (!all || json_dumpf(all, out, JSON_COMPACT | JSON_REAL_PRECISION(6)) < 0)
        return false;
    (void)fputc('\n', out);
    return true;
}
