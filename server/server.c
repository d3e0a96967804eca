/* SPDX-License-Identifier: Apache-2.0 */
/* Between two signals the main thread does, once a second, what never blocks. */
#include "server.h"

#include "audit.h"
#include "auth.h"
#include "cache_prefetch.h"
#include "coalescer.h"
#include "connections.h"
#include "evictor.h"
#include "file_watcher.h"
#include "freed_memory.h"
#include "http.h"
#include "keeper.h"
#include "listener.h"
#include "log.h"
#include "metrics.h"
#include "options.h"
#include "process_end.h"
#include "reload.h"
#include "request_log.h"
#include "rpc.h"
#include "scrubber.h"
#include "server_status.h"
#include "service_cache.h"
#include "service_health.h"
#include "service_reflection.h"
#include "service_resolver.h"
#include "signals.h"
#include "sweeper.h"
#include "tls.h"
#include "volume_probe.h"
#include "watchdog.h"

#include <base/error.h>
#include <base/text.h>
#include <base/workers.h>
#include <hubcache/cancellation.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    ADDRESS_SIZE = 512,
    SWEEP_EVERY_MS = 10 * 60 * 1000,
    EVICT_EVERY_MS = 60 * 1000,
    PROBE_EVERY_MS = 2000, /* the volume */
    PROBE_HANGS_MS = 5000,
    TEND_EVERY_MS = 1000,
    FLUSH_MS = 1000 /* for the last answers to go out, and for connections to close */
};

/*
 * The parts of a running server, in the order in which they are opened. NULL: not open
 * yet, or, of `http`, `status`, `tls` and `audit`, not wanted. All belong to the main
 * thread.
 */
struct server {
    const struct hc_options *options;
    int signals; /* a descriptor; main() closes it */
    struct hc_process_end *end;
    struct hc_strings bound;
    struct hc_auth *auth;
    struct hc_tls *tls;
    struct hc_metrics *metrics;
    struct hc_audit *audit;
    struct hc_request_log *request_log;
    struct hc_resolver *resolver;
    struct hc_server_status *status;
    struct hc_policy_file *policy;
    struct hc_reload *reload;
    struct hc_workers *hub, *disk;
    struct hc_resolver_service *service;
    struct hc_workers *admin;
    struct hc_cache_service *cache_service;
    struct hc_verify_counts verify_counts;
    struct hc_scrubber *scrubber;
    struct hc_health_service *health;
    struct hc_reflection_service *reflection;
    struct hc_rpc *rpc;
    struct hc_http *http;
    struct hc_keeper *keeper;
    struct hc_sweeper *sweeper;
    struct hc_evictor *evictor;
    struct hc_volume_probe *probe;
    struct hc_file_watcher *watcher;
    struct hc_watchdog *watchdog;
};

/*
 * Each part is closed before the parts that it uses. The services and then the pools wait
 * for the work of calls, so the edge, which makes that work, is closed before them, and
 * the resolver, which does it, after them.
 */
static void server_close(struct server *server)
{
    hc_http_close(server->http);
    hc_watchdog_close(server->watchdog);
    hc_rpc_close(server->rpc);
    hc_file_watcher_close(server->watcher);
    hc_reflection_service_free(server->reflection);
    hc_health_service_free(server->health);
    hc_workers_close(server->admin);
    hc_cache_service_free(server->cache_service);
    hc_keeper_close(server->keeper);
    hc_scrubber_close(server->scrubber);
    hc_resolver_service_free(server->service);
    hc_workers_close(server->disk);
    hc_workers_close(server->hub);
    hc_reload_close(server->reload);
    hc_policy_file_close(server->policy);
    hc_volume_probe_close(server->probe);
    hc_evictor_close(server->evictor);
    hc_sweeper_close(server->sweeper);
    hc_server_status_close(server->status);
    hc_resolver_close(server->resolver);
    hc_request_log_free(server->request_log);
    hc_audit_close(server->audit);
    hc_metrics_free(server->metrics);
    hc_tls_close(server->tls);
    hc_auth_close(server->auth);
    hc_strings_clear(&server->bound);
}

HC_DEFINE_AUTO_VALUE(server, server_close)

/* Tells health and metrics what the newest probe of the volume says. */
static void server_tend_health(const struct server *server, int64_t now_ms)
{
    struct hc_volume_space space;
    struct hc_error err;
    bool is_usable = hc_volume_probe_is_usable(server->probe, now_ms, &err);

    hc_volume_probe_space(server->probe, &space);
    hc_metrics_set_space(server->metrics, &space);
    if (server->status)
        hc_server_status_tend(server->status, is_usable ? NULL : err.message, &space,
                              now_ms);
    if (!hc_health_service_set_volume(server->health, is_usable))
        return;
    hc_metrics_set_volume(server->metrics, is_usable);
    if (is_usable)
        HC_LOG(HC_LOG_INFO, "volume usable again",
               HC_TEXT("cache", hc_resolver_cache_root(server->resolver)));
    else
        HC_LOG(HC_LOG_ERROR, "volume unusable", HC_TEXT("error", err.message));
}

/* Work that is due about once a second. */
static void server_tend(const struct server *server)
{
    int64_t now_ms = hc_monotonic_ms();

    server_tend_health(server, now_ms);
    hc_request_log_summarize(server->request_log, now_ms);
    hc_connections_end_silent(hc_listener_connections(hc_rpc_listener(server->rpc)),
                              now_ms);
    if (server->http)
        hc_http_expire(server->http, now_ms);
}

static void server_reload(const struct server *server)
{
    hc_reload_request(server->reload);
    if (server->audit)
        hc_audit_reopen(server->audit);
}

/* True: a signal arrived to end it. False: the watchdog found a listener dead. */
static bool server_serve(const struct server *server)
{
    const char *error = "";

    while (!*error) {
        int signal_number = hc_signals_await(server->signals, -1, TEND_EVERY_MS);

        if (signal_number == SIGHUP)
            server_reload(server);
        else if (signal_number != 0)
            return true;
        server_tend(server);
        error = hc_watchdog_error(server->watchdog);
    }
    HC_LOG(HC_LOG_ERROR,
           "a listener is dead: ending, for a supervisor to start hubcached again",
           HC_TEXT("error", error));
    return false;
}

/*
 * Calls that do not finish within the grace period are answered before their connections
 * close. gRPC then announces the end to the clients (HTTP/2's GOAWAY, RFC 9113, 6.8),
 * which close the connections: if a connection breaks, its client cannot know whether its
 * call has begun. Readiness probes see NOT_SERVING first, so that load balancers send no
 * more.
 */
static void server_stop_serving(const struct server *server)
{
    int64_t grace_ms = hc_reload_grace_period_ms(server->reload);
    int64_t bound_ms = grace_ms < INT32_MAX ? grace_ms : INT32_MAX;
    unsigned cut;

    HC_LOG(HC_LOG_INFO, "stopping", HC_NUMBER("grace_ms", grace_ms));
    (void)signal(SIGHUP, SIG_IGN); /* now only one more signal of the others counts */
    hc_process_end_start(server->end, bound_ms + HC_PROCESS_END_MS);
    hc_health_service_stop(server->health);
    hc_http_stop(server->http);
    hc_server_status_stop(server->status);
    hc_watchdog_stop(server->watchdog);
    hc_rpc_stop(server->rpc);
    if (hc_signals_await(server->signals, hc_rpc_drained_fd(server->rpc), grace_ms) != 0)
        HC_LOG(HC_LOG_WARN, "stopping at once", HC_NUMBER("grace_ms", 0));
    hc_process_end_move(server->end, HC_PROCESS_END_MS);
    cut = hc_rpc_end_calls(server->rpc);
    if (cut > 0)
        HC_LOG(HC_LOG_WARN, "calls cut", HC_NUMBER("calls", cut));
    hc_coalescer_cancel(hc_resolver_service_coalescer(server->service));
    hc_prefetches_cancel(server->cache_service->prefetches);
    hc_keeper_cancel(server->keeper);
    (void)hc_signals_await(server->signals, hc_rpc_drained_fd(server->rpc), FLUSH_MS);
    (void)hc_signals_await(server->signals, hc_rpc_ended_fd(server->rpc), FLUSH_MS);
    hc_rpc_cancel(server->rpc);
}

/* The operator may have configured one, and expect that it opens repos to callers. */
static void settings_log_unused_token(const struct hc_settings *settings)
{
    bool has_token = settings->token ||
                     (settings->token_file && access(settings->token_file, F_OK) == 0);

    if (settings->hub_access == HC_HUB_ACCESS_CALLER && has_token)
        HC_LOG(HC_LOG_WARN, "the server's Hub token is not used",
               HC_TEXT("hub_access", "caller"));
}

static int server_open_auth(struct server *server, struct hc_error *err)
{
    server->auth = hc_auth_open(&server->options->auth, err);
    if (!server->auth)
        return -1;
    if (hc_auth_settings_have_tokens(&server->options->auth))
        hc_freed_memory_wipe();
    if (!server->options->tls.cert)
        return 0;
    server->tls = hc_tls_open(&server->options->tls, err);
    return server->tls ? 0 : -1;
}

static int server_open_log(struct server *server, struct hc_error *err)
{
    server->metrics = hc_metrics_new(err);
    if (!server->metrics)
        return -1;
    server->request_log = hc_request_log_new(server->metrics, err);
    if (!server->request_log)
        return -1;
    if (!server->options->audit_log)
        return 0;
    server->audit = hc_audit_open(server->options->audit_log, err);
    if (!server->audit)
        return -1;
    hc_request_log_set_audit(server->request_log, server->audit);
    return 0;
}

static int server_open_policy(struct server *server, struct hc_error *err)
{
    const char *path = server->options->settings.policy_file;

    if (!path)
        return 0;
    server->policy = hc_policy_file_open(server->resolver, path, err);
    return server->policy ? 0 : -1;
}

static int server_open_resolver(struct server *server, struct hc_error *err)
{
    server->resolver = hc_resolver_open(&server->options->settings, err);
    if (!server->resolver)
        return -1;
    settings_log_unused_token(&server->options->settings);
    hc_resolver_watch(server->resolver, hc_request_log_write_transfer,
                      server->request_log);
    hc_resolver_watch_stale(server->resolver, hc_request_log_write_stale,
                            server->request_log);
    if (server_open_policy(server, err) < 0)
        return -1;
    server->reload =
        hc_reload_open(&(struct hc_reload_parts){.options = server->options,
                                                 .auth = server->auth,
                                                 .tls = server->tls,
                                                 .policy = server->policy,
                                                 .resolver = server->resolver},
                       err);
    return server->reload ? 0 : -1;
}

/* Before the calls that it tells of. */
static int server_open_status(struct server *server, struct hc_error *err)
{
    if (strcmp(server->options->http_listen, "off") == 0)
        return 0;
    server->status = hc_server_status_open(server->options, server->resolver, err);
    return server->status ? 0 : -1;
}

static int server_open_resolver_service(struct server *server, struct hc_error *err)
{
    const struct hc_options *options = server->options;

    server->hub = hc_workers_open(options->workers, options->queue, err);
    if (!server->hub)
        return -1;
    server->disk = hc_workers_open(options->disk_workers * HC_SLOW_DISK_THREADS,
                                   options->queue, err);
    if (!server->disk)
        return -1;
    server->service = hc_resolver_service_new(server->resolver, server->disk, server->hub,
                                              server->metrics, err);
    if (!server->service)
        return -1;
    hc_resolver_service_set_audit(server->service, server->audit);
    return 0;
}

static int server_open_cache_service(struct server *server, struct hc_error *err)
{
    const struct hc_options *options = server->options;

    server->admin = hc_workers_open(HC_BLOCKING_THREADS, HC_BLOCKING_QUEUE, err);
    if (!server->admin)
        return -1;
    server->cache_service = hc_cache_service_new(server->resolver, server->admin,
                                                 &server->verify_counts, err);
    if (!server->cache_service)
        return -1;
    hc_cache_service_set_audit(server->cache_service, server->audit);
    server->keeper = hc_keeper_open(server->resolver, options->keep_interval_ms, err);
    if (!server->keeper)
        return -1;
    hc_keeper_set_audit(server->keeper, server->audit);
    server->scrubber = hc_scrubber_open(
        &(struct hc_scrubber_settings){.resolver = server->resolver,
                                       .counts = &server->verify_counts,
                                       .interval_ms = options->scrub_interval_ms,
                                       .bytes_per_second = options->scrub_rate},
        err);
    return server->scrubber ? 0 : -1;
}

static int server_open_services(struct server *server, struct hc_error *err)
{
    if (server_open_resolver_service(server, err) < 0 ||
        server_open_cache_service(server, err) < 0)
        return -1;
    server->health = hc_health_service_new(err);
    if (!server->health)
        return -1;
    server->reflection = hc_reflection_service_new(err);
    return server->reflection ? 0 : -1;
}

/* A call is over: `finished` of hc_rpc_open(). */
static void server_finish_call(void *ctx, const struct hc_request *request,
                               const struct hc_answer *answer)
{
    const struct server *server = ctx;

    hc_request_log_write(server->request_log, request, answer);
    hc_server_status_add_call(server->status, request, answer);
}

static int server_open_rpc(struct server *server, struct hc_error *err)
{
    const struct hc_options *options = server->options;
    const struct hc_rpc_limits limits = {
        .connections = options->client_connections,
        .connection_age_ms = options->max_connection_age_ms,
        .connection_idle_ms = options->max_connection_idle_ms,
    };

    server->rpc = hc_rpc_open(&limits, server_finish_call, server, err);
    if (!server->rpc ||
        hc_resolver_service_serve(server->service, server->rpc, err) < 0 ||
        hc_cache_service_serve(server->cache_service, server->rpc, err) < 0)
        return -1;
    if (server->tls && hc_rpc_use_tls(server->rpc, server->tls, err) < 0)
        return -1;
    if (!server->tls && !options->tls.allow_plaintext)
        hc_listener_keep_local(hc_rpc_listener(server->rpc));
    hc_rpc_guard(server->rpc, hc_auth_admit, server->auth);
    if (server->audit)
        hc_rpc_record_peers(server->rpc);
    if (hc_health_service_serve(server->health, server->rpc, err) < 0)
        return -1;
    return hc_reflection_service_serve(server->reflection, server->rpc, err);
}

static int server_bind_http(struct server *server, struct hc_error *err)
{
    struct hc_http_parts parts = {
        .metrics = server->metrics,
        .gauges = {.disk = server->disk,
                   .hub = server->hub,
                   .admin = server->admin,
                   .coalescer = hc_resolver_service_coalescer(server->service),
                   .prefetches = server->cache_service->prefetches,
                   .keeper = server->keeper,
                   .scrubber = server->scrubber,
                   .resolver = server->resolver,
                   .rpc = server->rpc,
                   .reads = hc_resolver_service_reads(server->service),
                   .reload = server->reload,
                   .tls = server->tls,
                   .audit = server->audit,
                   .policy = server->policy},
        .status = server->status,
        .auth = server->auth,
    };

    if (hc_server_status_start(server->status, &parts.gauges, server->tls, err) < 0)
        return -1;
    parts.gauges.usage = hc_server_status_usage(server->status);
    server->http =
        hc_http_open(server->options->http_listen, &parts, &server->bound, err);
    return server->http
               ? hc_server_status_set_listeners(server->status, &server->bound, err)
               : -1;
}

/* Binds every listener. The kernel queues connections until server_start_threads(). */
static int server_bind(struct server *server, struct hc_error *err)
{
    const struct hc_options *options = server->options;
    char address[ADDRESS_SIZE];

    for (size_t i = 0; i < options->listen.count; i++) {
        if (hc_rpc_listen(server->rpc, options->listen.items[i], address, sizeof address,
                          err) < 0 ||
            hc_strings_add(&server->bound, address, err) < 0)
            return -1;
    }
    return server->status ? server_bind_http(server, err) : 0;
}

static int server_start_threads(struct server *server, struct hc_error *err)
{
    server->sweeper = hc_sweeper_open(server->resolver, SWEEP_EVERY_MS, err);
    if (!server->sweeper)
        return -1;
    server->evictor = hc_evictor_open(server->resolver, EVICT_EVERY_MS, err);
    if (!server->evictor)
        return -1;
    server->probe =
        hc_volume_probe_open(server->resolver, PROBE_EVERY_MS, PROBE_HANGS_MS, err);
    if (!server->probe)
        return -1;
    server->watcher =
        hc_file_watcher_open(&(struct hc_watched_files){.auth = server->auth,
                                                        .tls = server->tls,
                                                        .policy = server->policy},
                             err);
    if (!server->watcher || hc_keeper_start(server->keeper, err) < 0 ||
        hc_auth_start(server->auth, err) < 0 || hc_rpc_start(server->rpc, err) < 0)
        return -1;
    server->watchdog = hc_watchdog_open(hc_rpc_listener(server->rpc), err);
    return server->watchdog ? 0 : -1;
}

/* Scripts and tests wait for these lines on standard output. */
static void server_announce(const struct server *server)
{
    const struct hc_strings *bound = &server->bound;
    bool is_mutual = server->tls && hc_tls_clients(server->tls) == HC_TLS_ALL_CLIENTS;

    for (size_t i = 0; i < bound->count; i++) {
        hc_auth_settings_warn_of_listener(&server->options->auth, bound->items[i],
                                          is_mutual);
        (void)printf("listening %s\n", bound->items[i]);
        HC_LOG(HC_LOG_INFO, "listening", HC_TEXT("address", bound->items[i]));
    }
    (void)fflush(stdout);
}

int hc_server_run(const struct hc_options *options, int signals,
                  struct hc_process_end *end, struct hc_error *err)
{
    HC_AUTO_VALUE(server) server = {.options = options, .signals = signals, .end = end};
    bool is_well;

    if (server_open_auth(&server, err) < 0 || server_open_log(&server, err) < 0 ||
        server_open_resolver(&server, err) < 0 || server_open_status(&server, err) < 0 ||
        server_open_services(&server, err) < 0 || server_open_rpc(&server, err) < 0 ||
        server_bind(&server, err) < 0 || server_start_threads(&server, err) < 0)
        return -1;
    server_announce(&server);
    is_well = server_serve(&server);
    server_stop_serving(&server);
    return is_well ? 0
                   : hc_fail(err, HC_INTERNAL, "ended: %s",
                             hc_watchdog_error(server.watchdog));
}
