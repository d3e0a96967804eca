/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The counters are added to by the threads that finish calls; the lock guards what is set
 * rarely. Histories, failures and the usage have locks of their own.
 */
#include "server_status.h"

#include "caller.h"
#include "connections.h"
#include "listener.h"
#include "read_stream.h"
#include "status_reader.h"
#include "usage_scanner.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <resolver/resolver.h>

#include <string.h>
#include <unistd.h>

enum { SCAN_EVERY_MS = 30 * 1000 };

struct hc_server_status {
    char *options;    /* a line for each */
    const char *auth; /* static */
    struct hc_resolver *resolver;
    struct hc_tls *tls;      /* NULL: none */
    struct hc_gauges gauges; /* from the start on, which no thread outruns */
    struct hc_usage_scanner *scanner;
    int64_t started_ms;
    char host[65];
    atomic_bool is_stopping;
    atomic_uint_least64_t hits, misses, failed; /* calls */
    struct hc_recent_failures failures;
    struct hc_status_history history;
    struct {
        pthread_mutex_t lock;
        struct hc_strings listeners;
        char volume_error[512];
        struct hc_volume_space space;
    } shared;
};

/* ---- life -------------------------------------------------------------------------- */

static char *options_text(const struct hc_options *options)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    hc_options_print(options, out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static const char *auth_text(const struct hc_auth_settings *auth)
{
    if (auth->is_required)
        return "required";
    return hc_auth_settings_have_tokens(auth) ? "optional" : "none";
}

struct hc_server_status *hc_server_status_open(const struct hc_options *options,
                                               struct hc_resolver *resolver,
                                               struct hc_error *err)
{
    HC_AUTO(hc_server_status) *status = calloc(1, sizeof *status);

    if (!status) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    status->auth = auth_text(&options->auth);
    status->resolver = resolver;
    status->started_ms = hc_epoch_ms();
    (void)gethostname(status->host, sizeof status->host - 1);
    hc_recent_failures_init(&status->failures);
    hc_status_history_init(&status->history, hc_monotonic_ms());
    (void)pthread_mutex_init(&status->shared.lock, NULL);
    status->options = options_text(options);
    if (!status->options) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    return hc_take(&status);
}

int hc_server_status_start(struct hc_server_status *status,
                           const struct hc_gauges *gauges, struct hc_tls *tls,
                           struct hc_error *err)
{
    status->tls = tls;
    status->gauges = *gauges;
    status->scanner = hc_usage_scanner_open(status->resolver, SCAN_EVERY_MS, err);
    return status->scanner ? 0 : -1;
}

void hc_server_status_close(struct hc_server_status *status)
{
    if (!status)
        return;
    hc_usage_scanner_close(status->scanner);
    hc_strings_clear(&status->shared.listeners);
    free(status->options);
    (void)pthread_mutex_destroy(&status->shared.lock);
    hc_status_history_clear(&status->history);
    hc_recent_failures_clear(&status->failures);
    free(status);
}

struct hc_usage_scanner *hc_server_status_usage(const struct hc_server_status *status)
{
    return status->scanner;
}

/* ---- news -------------------------------------------------------------------------- */

/* A caller that left has not seen a failure. */
static bool answer_is_failure(const struct hc_answer *answer)
{
    return answer->code != HC_STATUS_OK && answer->code != HC_STATUS_CANCELLED;
}

void hc_server_status_add_call(struct hc_server_status *status,
                               const struct hc_request *request,
                               const struct hc_answer *answer)
{
    if (!status)
        return;
    if (answer_is_failure(answer)) {
        (void)atomic_fetch_add_explicit(&status->failed, 1, memory_order_relaxed);
        hc_recent_failures_add(&status->failures, request, answer, hc_epoch_ms());
    } else if (request->facts.source == HC_SOURCE_HUB) {
        (void)atomic_fetch_add_explicit(&status->misses, 1, memory_order_relaxed);
    } else if (request->facts.source != HC_SOURCE_UNSPECIFIED) {
        (void)atomic_fetch_add_explicit(&status->hits, 1, memory_order_relaxed);
    }
}

int hc_server_status_set_listeners(struct hc_server_status *status,
                                   const struct hc_strings *bound, struct hc_error *err)
{
    HC_LOCKED(&status->shared.lock);

    return hc_strings_add_all(&status->shared.listeners,
                              (const char *const *)bound->items, bound->count, err);
}

void hc_server_status_stop(struct hc_server_status *status)
{
    if (status)
        atomic_store(&status->is_stopping, true);
}

/* Each owner counts under a lock of its own: the figures need not fit together. */
static void status_take_reading(const struct hc_server_status *status,
                                struct hc_reading *reading)
{
    uint64_t *values = reading->values;
    unsigned unfinished, waiting, transfers, connections, reads;

    hc_coalescer_count(status->gauges.coalescer, &unfinished, &waiting);
    hc_resolver_count(status->resolver, &transfers, &connections);
    hc_read_streams_count(status->gauges.reads, &reads, &values[HC_SERIES_READ_BYTES]);
    values[HC_SERIES_HITS] = atomic_load(&status->hits);
    values[HC_SERIES_MISSES] = atomic_load(&status->misses);
    values[HC_SERIES_FAILURES] = atomic_load(&status->failed);
    values[HC_SERIES_FETCHED_BYTES] = hc_resolver_received(status->resolver);
    values[HC_SERIES_CALLS] = waiting + reads;
    values[HC_SERIES_TRANSFERS] = transfers;
}

static void note_nothing(void *ctx, const struct hc_running_transfer *transfer)
{
    (void)ctx;
    (void)transfer;
}

/* The listing of transfers is for their rates, which are those since a listing before. */
void hc_server_status_tend(struct hc_server_status *status, const char *volume_error,
                           const struct hc_volume_space *space, int64_t now_ms)
{
    struct hc_reading reading;

    {
        HC_LOCKED(&status->shared.lock);

        (void)hc_format(status->shared.volume_error, sizeof status->shared.volume_error,
                        "%s", volume_error ? volume_error : "");
        status->shared.space = *space;
    }
    status_take_reading(status, &reading);
    hc_status_history_add(&status->history, &reading, now_ms);
    hc_resolver_list_transfers(status->resolver, note_nothing, NULL);
}

/* ---- facts ------------------------------------------------------------------------- */

struct transfer_list {
    struct hc_status_facts *facts;
    const struct hc_status_reader *reader;
};

/* The oldest transfers, of which there may be more than there is room for. */
static void facts_add_transfer(void *ctx, const struct hc_running_transfer *running)
{
    const struct transfer_list *list = ctx;
    struct hc_status_facts *facts = list->facts;
    struct hc_status_transfer *last;
    size_t place = facts->listed_transfers;

    if (!hc_status_reader_sees(list->reader, running->repo_type, running->repo_id))
        return;
    while (place > 0 && facts->transfers[place - 1].running.age_ms < running->age_ms)
        place--;
    if (place == HC_STATUS_TRANSFERS_MAX)
        return;
    if (facts->listed_transfers < HC_STATUS_TRANSFERS_MAX)
        facts->listed_transfers++;
    last = &facts->transfers[facts->listed_transfers - 1];
    memmove(&facts->transfers[place + 1], &facts->transfers[place],
            (size_t)(last - &facts->transfers[place]) * sizeof *last);
    facts->transfers[place].running = *running;
    (void)hc_format(facts->transfers[place].repo_id, HC_REQUEST_REPO_SIZE, "%s",
                    running->repo_id);
    hc_text_excerpt(facts->transfers[place].path, HC_STATUS_PATH_SIZE, running->path);
}

static int facts_read_parts(struct hc_status_facts *facts,
                            struct hc_server_status *status, struct hc_error *err)
{
    HC_LOCKED(&status->shared.lock);

    (void)hc_format(facts->volume_error, sizeof facts->volume_error, "%s",
                    status->shared.volume_error);
    facts->space = status->shared.space;
    hc_resolver_room(status->resolver, &facts->room);
    for (size_t i = 0; i < status->shared.listeners.count; i++) {
        if (hc_strings_add(&facts->listeners, status->shared.listeners.items[i], err) < 0)
            return -1;
    }
    return 0;
}

static void facts_read_counts(struct hc_status_facts *facts,
                              struct hc_server_status *status)
{
    const struct hc_gauges *gauges = &status->gauges;
    struct hc_connection_counts clients;
    unsigned running[2], queued[2], transfers;

    hc_workers_count(gauges->disk, &running[0], &queued[0]);
    hc_workers_count(gauges->hub, &running[1], &queued[1]);
    facts->running_jobs = running[0] + running[1];
    facts->queued_jobs = queued[0] + queued[1];
    hc_resolver_count(status->resolver, &transfers, &facts->connections);
    hc_connections_count(hc_listener_connections(hc_rpc_listener(gauges->rpc)), &clients);
    facts->client_connections = clients.open;
    status_take_reading(status, &facts->now);
}

/* Lists, without what the reader may not see. */
static int facts_read_lists(struct hc_status_facts *facts,
                            struct hc_server_status *status,
                            const struct hc_status_reader *reader, struct hc_error *err)
{
    struct transfer_list list = {facts, reader};
    int has_usage =
        hc_usage_scanner_read(status->scanner, HC_USAGE_REPOS_MAX, &facts->usage, err);

    if (has_usage < 0)
        return -1;
    facts->has_usage = has_usage > 0;
    hc_resolver_list_transfers(status->resolver, facts_add_transfer, &list);
    facts->behind_count =
        hc_keeper_list_behind(status->gauges.keeper, facts->behind, HC_STATUS_BEHIND_MAX);
    facts->failure_count = hc_recent_failures_copy(&status->failures, facts->failures);
    hc_status_reader_limit(reader, facts);
    return 0;
}

static void facts_read_states(struct hc_status_facts *facts,
                              struct hc_server_status *status)
{
    hc_reload_status(status->gauges.reload, &facts->reload);
    facts->has_tls = status->tls != NULL;
    if (status->tls)
        hc_tls_look_at_state(status->tls, &facts->tls);
    facts->has_policy = status->gauges.policy != NULL;
    if (facts->has_policy)
        hc_policy_file_state(status->gauges.policy, &facts->policy);
    hc_keeper_count(status->gauges.keeper, &facts->kept);
    hc_scrubber_read(status->gauges.scrubber, &facts->scrub);
}

struct hc_status_facts *hc_server_status_read(struct hc_server_status *status,
                                              const struct hc_identity *reader,
                                              size_t repos_max, struct hc_error *err)
{
    const struct hc_status_reader view =
        hc_status_reader_of(hc_resolver_policy(status->resolver), reader);
    HC_AUTO(hc_status_facts) *facts = calloc(1, sizeof *facts);

    if (!facts) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    facts->options = status->options;
    facts->auth = status->auth;
    facts->cache_root = hc_resolver_cache_root(status->resolver);
    facts->cache_id = hc_resolver_cache_id(status->resolver);
    facts->endpoint = hc_resolver_endpoint(status->resolver);
    facts->is_offline = hc_resolver_is_offline(status->resolver);
    facts->is_stopping = atomic_load(&status->is_stopping);
    facts->started_ms = status->started_ms;
    facts->now_ms = hc_epoch_ms();
    memcpy(facts->host, status->host, sizeof facts->host);
    if (facts_read_lists(facts, status, &view, err) < 0 ||
        facts_read_parts(facts, status, err) < 0)
        return NULL;
    if (facts->usage.listed > repos_max)
        facts->usage.listed = repos_max;
    facts_read_states(facts, status);
    facts_read_counts(facts, status);
    for (size_t i = 0; i < HC_WINDOW_COUNT; i++)
        hc_status_history_copy(&status->history, (enum hc_window)i, &facts->windows[i]);
    return hc_take(&facts);
}

void hc_status_facts_free(struct hc_status_facts *facts)
{
    if (!facts)
        return;
    hc_usage_clear(&facts->usage);
    hc_strings_clear(&facts->listeners);
    free(facts);
}

const char *hc_status_reason(const struct hc_recent_failure *failure)
{
    return failure->reason == HC_OK ? "OTHER" : hc_reason_name(failure->reason);
}
