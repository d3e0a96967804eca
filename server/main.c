/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcached: options, a resolver, the services over it, and the edge. The main thread
 * waits for signals, through a descriptor, so that there are no handlers, and looks after
 * what has to be done once a second and never blocks.
 * The first SIGTERM or SIGINT lets running calls finish within the grace period; a second
 * one ends them at once.
 */
#include "coalescer.h"
#include "http.h"
#include "log.h"
#include "metrics.h"
#include "options.h"
#include "request_log.h"
#include "rpc.h"
#include "service_health.h"
#include "service_resolver.h"
#include "sweeper.h"
#include "watchdog.h"

#include <base/error.h>
#include <base/text.h>
#include <base/workers.h>
#include <hubcache/cancellation.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>

enum {
    EXIT_BAD_OPTIONS = 2,
    ADDRESS_SIZE = 512,
    SWEEP_EVERY_MS = 10 * 60 * 1000,
    TEND_EVERY_MS = 1000,
    FLUSH_MS = 1000, /* for the last answers to go out, and for connections to close */
    EXIT_AFTER_MS = 5000 /* the grace period: whatever hangs is left behind */
};

HC_DEFINE_AUTO(hc_resolver, hc_resolver_close)

/* What the phases of a run share; each part belongs to a scope of `run`. */
struct server_state {
    struct hc_coalescer *coalescer;
    struct hc_health_service *health;
    struct hc_http *http; /* NULL: none */
    struct hc_request_log *request_log;
    struct hc_rpc *rpc;
    struct hc_watchdog *watchdog;
    int signals;
};

/* Blocked in this thread and so in all that it starts. */
static int signals_open(struct hc_error *err)
{
    sigset_t set;
    int fd;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd < 0 ? hc_fail_errno(err, errno, "signalfd") : fd;
}

/* Takes one signal; 0 when `other` became readable first or `timeout_ms` passed. */
static int await_signal(int signals, int other, int64_t timeout_ms)
{
    struct pollfd fds[] = {{.fd = signals, .events = POLLIN},
                           {.fd = other, .events = POLLIN}};
    int timeout = timeout_ms > INT32_MAX ? -1 : (int)timeout_ms;
    struct signalfd_siginfo info;

    while (poll(fds, 2, timeout) < 0 && errno == EINTR)
        continue;
    if (!(fds[0].revents & POLLIN) || read(signals, &info, sizeof info) != sizeof info)
        return 0;
    return (int)info.ssi_signo;
}

/* What has to be looked after now and then. */
static void server_tend(const struct server_state *server_state)
{
    int64_t now_ms = hc_monotonic_ms();

    hc_request_log_summarize(server_state->request_log, now_ms);
    if (server_state->http)
        hc_http_expire(server_state->http, now_ms);
}

/* Until a signal comes, or a listener is found dead: false. */
static bool server_serve(const struct server_state *server_state)
{
    const char *error = "";

    while (!*error) {
        if (await_signal(server_state->signals, -1, TEND_EVERY_MS) != 0)
            return true;
        server_tend(server_state);
        error = hc_watchdog_error(server_state->watchdog);
    }
    HC_LOG(HC_LOG_ERROR, "a listener is dead: ending, to be started anew",
           HC_TEXT("error", error));
    return false;
}

/* A volume, the Hub or a thread that hangs would keep the process for ever. */
static void *process_end_in_time(void *ctx)
{
    atomic_int_least64_t *end_ms = ctx;

    while (hc_monotonic_ms() < atomic_load(end_ms))
        (void)poll(NULL, 0, 100);
    HC_LOG(HC_LOG_ERROR, "ended with work that hangs",
           HC_NUMBER("after_ms", EXIT_AFTER_MS));
    hc_log_stop();
    _exit(EXIT_FAILURE);
}

/* From now on the process lives until `*end_ms` at most. */
static void process_bound_life(atomic_int_least64_t *end_ms)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, process_end_in_time, end_ms) == 0)
        (void)pthread_detach(thread);
    else
        HC_LOG(HC_LOG_WARN, "no thread to bound the end",
               HC_NUMBER("within_ms", EXIT_AFTER_MS));
}

/*
 * Calls that the grace period cuts are answered before the connections close, and those
 * close by themselves, once the clients have heard of the end: a client whose connection
 * breaks cannot know whether its call has begun.
 */
static void server_stop_serving(const struct server_state *server_state, int64_t grace_ms)
{
    static atomic_int_least64_t end_ms; /* the thread may outlive every scope */
    int64_t bound_ms = grace_ms < INT32_MAX ? grace_ms : INT32_MAX;
    unsigned cut;

    HC_LOG(HC_LOG_INFO, "stopping", HC_NUMBER("grace_ms", grace_ms));
    atomic_store(&end_ms, hc_monotonic_ms() + bound_ms + EXIT_AFTER_MS);
    process_bound_life(&end_ms);
    hc_health_service_stop(server_state->health);
    hc_http_stop(server_state->http);
    hc_watchdog_stop(server_state->watchdog);
    hc_rpc_stop(server_state->rpc);
    if (await_signal(server_state->signals, hc_rpc_drained_fd(server_state->rpc),
                     grace_ms) != 0)
        HC_LOG(HC_LOG_WARN, "stopping at once", HC_NUMBER("grace_ms", 0));
    atomic_store(&end_ms, hc_monotonic_ms() + EXIT_AFTER_MS);
    cut = hc_rpc_end_calls(server_state->rpc);
    if (cut > 0)
        HC_LOG(HC_LOG_WARN, "calls cut", HC_NUMBER("calls", cut));
    hc_coalescer_cancel(server_state->coalescer);
    (void)await_signal(server_state->signals, hc_rpc_drained_fd(server_state->rpc),
                       FLUSH_MS);
    (void)await_signal(server_state->signals, hc_rpc_ended_fd(server_state->rpc),
                       FLUSH_MS);
    hc_rpc_cancel(server_state->rpc);
}

static int server_listen(struct hc_rpc *rpc, const struct hc_strings *addresses,
                         struct hc_strings *bound, struct hc_error *err)
{
    char address[ADDRESS_SIZE];

    for (size_t i = 0; i < addresses->count; i++) {
        if (hc_rpc_listen(rpc, addresses->items[i], address, sizeof address, err) < 0 ||
            hc_strings_add(bound, address, err) < 0)
            return -1;
    }
    return 0;
}

static struct hc_http *server_open_http(const struct hc_options *options,
                                        const struct hc_http_sources *sources,
                                        struct hc_strings *bound, struct hc_error *err)
{
    char address[ADDRESS_SIZE] = "http://";
    size_t used = strlen(address);
    HC_AUTO(hc_http) *http = hc_http_open(options->http_listen, sources, address + used,
                                          sizeof address - used, err);

    if (!http || hc_strings_add(bound, address, err) < 0)
        return NULL;
    return hc_take(&http);
}

/* What scripts and tests wait for. */
static void server_announce(const struct hc_strings *bound)
{
    for (size_t i = 0; i < bound->count; i++) {
        (void)printf("listening %s\n", bound->items[i]);
        HC_LOG(HC_LOG_INFO, "listening", HC_TEXT("address", bound->items[i]));
    }
    (void)fflush(stdout);
}

static int server_serve_until_end(const struct server_state *server_state,
                                  int64_t grace_ms, struct hc_error *err)
{
    bool is_well = server_serve(server_state);

    server_stop_serving(server_state, grace_ms);
    return is_well ? 0
                   : hc_fail(err, HC_INTERNAL, "ended: %s",
                             hc_watchdog_error(server_state->watchdog));
}

/* What is declared first is released last. */
static int server_run(const struct hc_options *options, int signals, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_strings) bound = {0};
    HC_AUTO(hc_metrics) *metrics = hc_metrics_new(err);
    HC_AUTO(hc_request_log) *request_log = hc_request_log_new(metrics, err);
    HC_AUTO(hc_resolver) *resolver = hc_resolver_open(&options->settings, err);
    HC_AUTO(hc_sweeper) *sweeper = NULL;
    HC_AUTO(hc_workers) *hub = hc_workers_open(options->workers, options->queue, err);
    HC_AUTO(hc_workers) *disk =
        hc_workers_open(options->disk_workers, options->queue, err);
    HC_AUTO(hc_resolver_service) *service =
        hc_resolver_service_new(resolver, disk, hub, metrics, err);
    HC_AUTO(hc_health_service) *health = hc_health_service_new(err);
    HC_AUTO(hc_rpc) *rpc = NULL;
    HC_AUTO(hc_watchdog) *watchdog = NULL;
    HC_AUTO(hc_http) *http = NULL;
    struct hc_rpc_options edge = {.finished = hc_request_log_write,
                                  .ctx = request_log,
                                  .connections_max = options->client_connections};
    struct hc_http_sources sources = {metrics, {disk, hub, NULL, resolver, NULL}};

    if (!metrics || !request_log || !resolver || !hub || !disk || !service || !health)
        return -1;
    hc_resolver_watch(resolver, hc_request_log_write_transfer, request_log);
    hc_resolver_watch_stale(resolver, hc_request_log_write_stale, request_log);
    rpc = hc_rpc_open(&edge, err);
    if (!rpc || hc_resolver_service_serve(service, rpc, err) < 0 ||
        hc_health_service_serve(health, rpc, err) < 0 ||
        server_listen(rpc, &options->listen, &bound, err) < 0)
        return -1;
    if (strcmp(options->http_listen, "off") != 0) {
        sources.gauges.coalescer = hc_resolver_service_coalescer(service);
        sources.gauges.listener = hc_rpc_listener(rpc);
        http = server_open_http(options, &sources, &bound, err);
        if (!http)
            return -1;
    }
    sweeper = hc_sweeper_open(resolver, SWEEP_EVERY_MS, err);
    if (!sweeper || hc_rpc_start(rpc, err) < 0)
        return -1;
    watchdog = hc_watchdog_open(hc_rpc_listener(rpc), err);
    if (!watchdog)
        return -1;
    server_announce(&bound);
    return server_serve_until_end(
        &(struct server_state){hc_resolver_service_coalescer(service), health, http,
                               request_log, rpc, watchdog, signals},
        options->grace_period_ms, err);
}

static void log_configure(const struct hc_options *options)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    enum hc_log_level level = HC_LOG_ERROR;

    while (strcmp(names[level], options->log_level) != 0)
        level++;
    hc_log_set(level, strcmp(options->log_format, "json") == 0);
}

static int program_fail(const struct hc_error *err, int status)
{
    hc_log_stop();
    (void)fputs("hubcached: ", stderr);
    hc_text_escape(stderr, err->message, "");
    (void)fputc('\n', stderr);
    return status;
}

int main(int argc, char **argv)
{
    HC_AUTO_VALUE(hc_options) options;
    HC_AUTO_CLOSE int signals = -1;
    struct hc_error err;

    if (hc_options_load(&options, argc, argv, &err) < 0)
        return program_fail(&err, EXIT_BAD_OPTIONS);
    if (options.check_config) {
        (void)puts("configuration ok");
        hc_options_print(&options, stdout);
        return EXIT_SUCCESS;
    }
    log_configure(&options);
    /* It would log in a format of its own. There are no other threads yet. */
    (void)setenv("GRPC_VERBOSITY", "NONE", 0); /* NOLINT(concurrency-mt-unsafe) */
    hc_listener_raise_limit();
    signals = signals_open(&err);
    if (signals < 0 || hc_log_start(&err) < 0 || server_run(&options, signals, &err) < 0)
        return program_fail(&err, err.reason == HC_INVALID_OPTIONS ? EXIT_BAD_OPTIONS
                                                                   : EXIT_FAILURE);
    HC_LOG(HC_LOG_INFO, "stopped", HC_TEXT("version", hc_version()));
    hc_log_stop();
    return EXIT_SUCCESS;
}
