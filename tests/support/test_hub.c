/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hub is two daemons of libmicrohttpd with a thread for each connection, so that
 * answers may wait where they like. This file starts and stops them, takes requests in,
 * and gives the parts of the hub their public names.
 */
#include "test_hub.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_answer.h"
#include "hub_blob.h"
#include "hub_cdn.h"
#include "hub_content.h"
#include "hub_control.h"
#include "hub_fault.h"
#include "hub_gate.h"
#include "hub_log.h"
#include "hub_must.h"
#include "hub_send.h"
#include "hub_site.h"
#include "hub_state.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    CONNECTIONS_MAX = 8192,
    OPEN_FILES_WANTED = 16384,
    BACKLOG = 1024,
    STACK_SIZE = 1024 * 1024,
    HEADERS_MAX = 256 * 1024, /* of a request and its answer */
    PAGE_SIZE = 1000
};

/* libmicrohttpd decodes the path before the handler sees it: this is the one chance. */
static void *begin_request(void *ctx, const char *target,
                           struct MHD_Connection *connection)
{
    const struct hub_port *port = ctx;
    struct hub_request *request = hub_must(calloc(1, sizeof *request));

    request->hub = port->hub;
    request->on_cdn = port->is_cdn;
    request->connection = connection;
    request->target = hub_copy(target);
    request->path = hub_copy(target);
    request->path[strcspn(target, "?")] = '\0';
    return request;
}

static void end_request(void *ctx, struct MHD_Connection *connection, void **state,
                        enum MHD_RequestTerminationCode why)
{
    struct hub_request *request = *state;

    (void)ctx;
    (void)connection;
    (void)why;
    *state = NULL;
    if (!request)
        return;
    free(request->method);
    free(request->target);
    free(request->path);
    free(request->body);
    free(request);
}

static const char *header(const struct hub_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static void read_headers(struct hub_request *request, const char *method)
{
    const char *authorization = header(request, "Authorization");

    request->method = hub_copy(method);
    request->range = header(request, "Range");
    if (authorization && hc_text_starts(authorization, "Bearer "))
        request->token = authorization + strlen("Bearer ");
}

static void keep_body(struct hub_request *request, const char *bytes, size_t size)
{
    request->body = hub_must(realloc(request->body, request->body_size + size));
    memcpy(request->body + request->body_size, bytes, size);
    request->body_size += size;
}

static void note(struct hub_request *request)
{
    struct hub_log_entry *entry = hub_must(calloc(1, sizeof *entry));

    entry->on_cdn = request->on_cdn;
    entry->is_authorized = header(request, "Authorization") != NULL;
    entry->method = hub_copy(request->method);
    entry->target = hub_copy(request->target);
    entry->range = hub_copy(request->range);
    entry->user_agent = hub_copy(header(request, "User-Agent"));
    request->entry = entry;
    hub_log_add(request->hub->log, entry);
}

/* In place of "bytes=<start>-<last>"; the caller keeps it until it is answered. */
static char *short_range(const char *range, uint64_t most)
{
    char *end;
    uint64_t start = strtoull(range + strcspn(range, "0123456789"), &end, 10);
    uint64_t last = start + most - 1;
    uint64_t asked = *end == '-' && end[1] ? strtoull(end + 1, NULL, 10) : last;

    return hub_text("bytes=%" PRIu64 "-%" PRIu64, start, asked < last ? asked : last);
}

static bool is_control(const struct hub_request *request)
{
    return !request->on_cdn && hc_text_starts(request->path, HUB_CONTROL_PATH);
}

static enum MHD_Result answer(struct hub_request *request)
{
    HC_AUTO_VALUE(hub_answer) reply = {0};
    HC_AUTO_FREE char *range = NULL;
    struct hub_verdict verdict = {0};

    if (is_control(request)) {
        hub_control_answer(request, &reply);
        return hub_send(request, &verdict, &reply);
    }
    hub_rules_judge(request->hub->rules,
                    &(const struct hub_asked){request->on_cdn, request->method,
                                              request->target, request->range},
                    &verdict);
    request->releases = hub_gate_releases(request->hub->gate);
    note(request);
    if (hub_verdict_is(&verdict, TEST_HUB_DELAY))
        hub_gate_pause(request->hub->gate, verdict.rule->number);
    if (hub_verdict_is(&verdict, TEST_HUB_NO_RANGE))
        request->range = NULL;
    if (hub_verdict_is(&verdict, TEST_HUB_SHORT_RANGE) && request->range)
        request->range = range = short_range(request->range, verdict.rule->number);
    if (request->on_cdn)
        hub_cdn_answer(request, &reply);
    else
        hub_site_answer(request, &reply);
    return hub_send(request, &verdict, &reply);
}

/* Called once when the headers are there, for each piece of the body, and at the end. */
// NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature
static enum MHD_Result handle(void *ctx, struct MHD_Connection *connection,
                              const char *path, const char *method, const char *version,
                              const char *bytes, size_t *size, void **state)
{
    struct hub_request *request = *state;

    (void)ctx;
    (void)connection;
    (void)path;
    (void)version;
    if (!request->is_begun) {
        request->is_begun = true;
        read_headers(request, method);
        return MHD_YES;
    }
    if (*size > 0) {
        if (is_control(request))
            keep_body(request, bytes, *size);
        *size = 0;
        return MHD_YES;
    }
    return answer(request);
}

static void listen_on(struct hub_port *port, unsigned short number)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(number),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD;
    const union MHD_DaemonInfo *info;

    port->daemon =
        MHD_start_daemon(flags, number, NULL, NULL, handle, port, MHD_OPTION_SOCK_ADDR,
                         &address, MHD_OPTION_URI_LOG_CALLBACK, begin_request, port,
                         MHD_OPTION_NOTIFY_COMPLETED, end_request, NULL,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_LISTEN_BACKLOG_SIZE, (unsigned)BACKLOG,
                         MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_SIZE,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEADERS_MAX,
                         MHD_OPTION_END);
    if (!port->daemon)
        hub_die("cannot listen", "is the port in use?");
    info = MHD_get_daemon_info(port->daemon, MHD_DAEMON_INFO_BIND_PORT);
    port->url = hub_text("http://127.0.0.1:%u", (unsigned)info->port);
}

static void allow_many_files(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= OPEN_FILES_WANTED)
        return;
    limit.rlim_cur =
        limit.rlim_max < OPEN_FILES_WANTED ? limit.rlim_max : OPEN_FILES_WANTED;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

const char *hub_request_query(const struct hub_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

struct test_hub *test_hub_start(const struct test_hub_options *options)
{
    struct test_hub *hub = hub_must(calloc(1, sizeof *hub));

    allow_many_files();
    hub->content = hub_content_new();
    hub->gate = hub_gate_new();
    hub->log = hub_log_new();
    hub->rules = hub_rules_new();
    hub->valid_token = hub_copy(options->valid_token);
    hub->page_size = options->page_size ? options->page_size : PAGE_SIZE;
    hub->no_xet = options->no_xet;
    hub->commit_on_404 = true;
    hub->site.hub = hub->cdn.hub = hub;
    hub->cdn.is_cdn = true;
    listen_on(&hub->cdn, options->cdn_port);
    listen_on(&hub->site, options->port);
    return hub;
}

void test_hub_stop(struct test_hub *hub)
{
    if (!hub)
        return;
    hub_gate_open(hub->gate);
    MHD_stop_daemon(hub->site.daemon);
    MHD_stop_daemon(hub->cdn.daemon);
    hub_rules_free(hub->rules);
    hub_log_free(hub->log);
    hub_gate_free(hub->gate);
    hub_content_free(hub->content);
    free(hub->site.url);
    free(hub->cdn.url);
    free(hub->valid_token);
    free(hub);
}

const char *test_hub_endpoint(const struct test_hub *hub)
{
    return hub->site.url;
}

const char *test_hub_cdn(const struct test_hub *hub)
{
    return hub->cdn.url;
}

void test_hub_set_commit_on_404(struct test_hub *hub, bool is_sent)
{
    hub->commit_on_404 = is_sent;
}
