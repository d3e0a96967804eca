/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hub is two daemons of libmicrohttpd, one for the hub port and one for the CDN port,
 * with a thread for each connection, so that an answer may wait for as long as a rule
 * says. This file starts and stops them, receives requests, and has the public functions,
 * most of which call one part of the hub. A call that cannot be done aborts the program,
 * for then the test that makes it is wrong.
 */
#include "test_hub.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_abort.h"
#include "hub_answer.h"
#include "hub_blob.h"
#include "hub_content.h"
#include "hub_control.h"
#include "hub_endpoint.h"
#include "hub_log.h"
#include "hub_rules.h"
#include "hub_send.h"
#include "hub_stalls.h"
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

/* Copies the target here, because libmicrohttpd decodes the path for the handler. */
static void *hub_request_begin(void *ctx, const char *target,
                               struct MHD_Connection *connection)
{
    const struct hub_port *port = ctx;
    struct hub_request *request = hub_require(calloc(1, sizeof *request));

    request->hub = port->hub;
    request->on_cdn = port->is_cdn;
    request->connection = connection;
    request->target = hub_strdup(target);
    request->path = hub_strdup(target);
    request->path[strcspn(target, "?")] = '\0';
    return request;
}

static void hub_request_end(void *ctx, struct MHD_Connection *connection, void **state,
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

static const char *request_header(const struct hub_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

static void request_read_headers(struct hub_request *request, const char *method)
{
    const char *authorization = request_header(request, "Authorization");

    request->method = hub_strdup(method);
    request->range = request_header(request, "Range");
    if (authorization && hc_text_starts(authorization, "Bearer "))
        request->token = authorization + strlen("Bearer ");
}

static void request_append_body(struct hub_request *request, const char *bytes,
                                size_t size)
{
    request->body = hub_require(realloc(request->body, request->body_size + size));
    memcpy(request->body + request->body_size, bytes, size);
    request->body_size += size;
}

/* The entry is there before the answer begins, so that a test can await the request. */
static void request_log(struct hub_request *request)
{
    struct hub_log_entry *entry = hub_require(calloc(1, sizeof *entry));

    entry->on_cdn = request->on_cdn;
    entry->is_authorized = request_header(request, "Authorization") != NULL;
    entry->method = hub_strdup(request->method);
    entry->target = hub_strdup(request->target);
    entry->range = hub_strdup(request->range);
    entry->user_agent = hub_strdup(request_header(request, "User-Agent"));
    entry->traceparent = hub_strdup(request_header(request, "traceparent"));
    request->entry = entry;
    hub_log_add(request->hub->log, entry);
}

/* A range with at most `most` bytes in place of `range`; the caller frees. */
static char *range_shorten(const char *range, uint64_t most)
{
    char *end;
    uint64_t start = strtoull(range + strcspn(range, "0123456789"), &end, 10);
    uint64_t last = start + most - 1;
    uint64_t asked = *end == '-' && end[1] ? strtoull(end + 1, NULL, 10) : last;

    return hub_format("bytes=%" PRIu64 "-%" PRIu64, start, asked < last ? asked : last);
}

static bool request_is_control(const struct hub_request *request)
{
    return !request->on_cdn && hc_text_starts(request->path, HUB_CONTROL_PATH);
}

/*
 * Applies the rules in the order in which they act: a delay comes before the answer is
 * made, faults of the range change the request, the rest changes the answer as it is
 * sent.
 */
static enum MHD_Result request_answer(struct hub_request *request)
{
    HC_AUTO_VALUE(hub_answer) reply = {0};
    HC_AUTO_FREE char *range = NULL;
    struct hub_faults faults = {0};

    if (request_is_control(request)) {
        hub_control_answer(request, &reply);
        return hub_send(request, &faults, &reply);
    }
    hub_rules_apply(request->hub->rules, request, &faults);
    request->releases = hub_stalls_release_count(request->hub->stalls);
    request_log(request);
    if (hub_faults_include(&faults, TEST_HUB_DELAY))
        hub_stalls_pause(request->hub->stalls, faults.rule->number);
    if (hub_faults_include(&faults, TEST_HUB_NO_RANGE))
        request->range = NULL;
    if (hub_faults_include(&faults, TEST_HUB_SHORT_RANGE) && request->range)
        request->range = range = range_shorten(request->range, faults.rule->number);
    if (request->on_cdn)
        hub_cdn_answer(request, &reply);
    else
        hub_endpoint_answer(request, &reply);
    return hub_send(request, &faults, &reply);
}

/* Called once when the headers have arrived, for each piece of the body, and at the
 * end. */
// NOLINTNEXTLINE(readability-function-size): libmicrohttpd's signature
static enum MHD_Result request_handle(void *ctx, struct MHD_Connection *connection,
                                      const char *path, const char *method,
                                      const char *version, const char *bytes,
                                      size_t *size, void **state)
{
    struct hub_request *request = *state;

    (void)ctx;
    (void)connection;
    (void)path;
    (void)version;
    if (!request->is_begun) {
        request->is_begun = true;
        request_read_headers(request, method);
        return MHD_YES;
    }
    if (*size > 0) {
        if (request_is_control(request))
            request_append_body(request, bytes, *size);
        *size = 0;
        return MHD_YES;
    }
    return request_answer(request);
}

/* Port 0 takes any free one; the URL has the real one. */
static void port_listen(struct hub_port *port, unsigned short number)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(number),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL_INTERNAL_THREAD;
    const union MHD_DaemonInfo *info;

    port->daemon =
        MHD_start_daemon(flags, number, NULL, NULL, request_handle, port,
                         MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_URI_LOG_CALLBACK,
                         hub_request_begin, port, MHD_OPTION_NOTIFY_COMPLETED,
                         hub_request_end, NULL, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)CONNECTIONS_MAX, MHD_OPTION_LISTEN_BACKLOG_SIZE,
                         (unsigned)BACKLOG, MHD_OPTION_THREAD_STACK_SIZE,
                         (size_t)STACK_SIZE, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t)HEADERS_MAX, MHD_OPTION_END);
    if (!port->daemon)
        hub_abort("cannot listen", "is the port in use?");
    info = MHD_get_daemon_info(port->daemon, MHD_DAEMON_INFO_BIND_PORT);
    port->url = hub_format("http://127.0.0.1:%u", (unsigned)info->port);
}

/* Each connection has a descriptor, in the hub and, in-process, in its client. */
static void raise_file_limit(void)
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
    struct test_hub *hub = hub_require(calloc(1, sizeof *hub));

    raise_file_limit();
    hub->content = hub_content_new();
    hub->stalls = hub_stalls_new();
    hub->log = hub_log_new();
    hub->rules = hub_rules_new();
    hub->valid_token = hub_strdup(options->valid_token);
    hub->page_size = options->page_size ? options->page_size : PAGE_SIZE;
    hub->no_xet = options->no_xet;
    hub->commit_on_404 = true;
    hub->endpoint.hub = hub->cdn.hub = hub;
    hub->cdn.is_cdn = true;
    port_listen(&hub->cdn, options->cdn_port);
    port_listen(&hub->endpoint, options->port);
    return hub;
}

/* Stalls end first, for a daemon waits until its connections are done. */
void test_hub_stop(struct test_hub *hub)
{
    if (!hub)
        return;
    hub_stalls_end(hub->stalls);
    MHD_stop_daemon(hub->endpoint.daemon);
    MHD_stop_daemon(hub->cdn.daemon);
    hub_rules_free(hub->rules);
    hub_log_free(hub->log);
    hub_stalls_free(hub->stalls);
    hub_content_free(hub->content);
    free(hub->endpoint.url);
    free(hub->cdn.url);
    free(hub->valid_token);
    free(hub);
}

const char *test_hub_endpoint(const struct test_hub *hub)
{
    return hub->endpoint.url;
}

const char *test_hub_cdn(const struct test_hub *hub)
{
    return hub->cdn.url;
}

void test_hub_set_commit_on_404(struct test_hub *hub, bool is_sent)
{
    hub->commit_on_404 = is_sent;
}

void test_hub_add(struct test_hub *hub, const char *path, const void *bytes, size_t size,
                  bool is_lfs)
{
    hub_content_stage(hub->content, path, hub_blob_of_bytes(bytes, size, is_lfs));
}

void test_hub_add_generated(struct test_hub *hub, const char *path, uint64_t size,
                            unsigned seed, bool is_lfs)
{
    hub_content_stage(hub->content, path, hub_blob_generated(size, seed, is_lfs));
}

void test_hub_commit(struct test_hub *hub, const char *repo, const char *revision,
                     char commit[41])
{
    hub_content_commit(hub->content, repo, revision, commit);
}

void test_hub_tag(struct test_hub *hub, const char *repo, const char *revision,
                  const char *commit)
{
    if (!hub_content_tag(hub->content, repo, revision, commit))
        hub_abort("no such commit to tag", commit);
}

void test_hub_set_access(struct test_hub *hub, const char *repo,
                         enum test_hub_access access)
{
    if (!hub_content_set_access(hub->content, repo, access))
        hub_abort("no such repo to give access to", repo);
}

void test_hub_set_granted(struct test_hub *hub, const char *repo, const char *token,
                          bool is_granted)
{
    if (!hub_content_set_granted(hub->content, repo, token, is_granted))
        hub_abort("no such repo to grant access to", repo);
}

void test_hub_rename(struct test_hub *hub, const char *old_repo, const char *new_repo)
{
    hub_content_rename(hub->content, old_repo, new_repo);
}

void test_hub_load(struct test_hub *hub, const char *dir)
{
    hub_content_load(hub->content, dir);
}

void test_hub_rule(struct test_hub *hub, const struct test_hub_rule *rule)
{
    hub_rules_add(hub->rules, rule);
}

void test_hub_clear_rules(struct test_hub *hub)
{
    hub_rules_clear(hub->rules);
}

void test_hub_release(struct test_hub *hub)
{
    hub_stalls_release(hub->stalls);
}

void test_hub_await(struct test_hub *hub, const char *method, const char *contains,
                    unsigned count)
{
    const struct hub_log_query query = {.method = method, .contains = contains};

    if (!hub_log_await(hub->log, &query, count))
        hub_abort("awaited requests did not come", contains ? contains : "any");
}

void test_hub_await_stall(struct test_hub *hub)
{
    if (!hub_stalls_await_stall(hub->stalls))
        hub_abort("no answer stalled", "the test awaited one");
}

unsigned test_hub_count(struct test_hub *hub, const char *method, const char *contains)
{
    const struct hub_log_query query = {.method = method, .contains = contains};

    return hub_log_count(hub->log, &query);
}

unsigned test_hub_count_cdn(struct test_hub *hub, const char *method)
{
    const struct hub_log_query query = {.method = method, .cdn_only = true};

    return hub_log_count(hub->log, &query);
}

unsigned test_hub_count_authorized(struct test_hub *hub, bool on_cdn)
{
    const struct hub_log_query query = {.cdn_only = on_cdn,
                                        .hub_only = !on_cdn,
                                        .authorized_only = true};

    return hub_log_count(hub->log, &query);
}

uint64_t test_hub_bytes_sent(struct test_hub *hub)
{
    return hub_log_bytes_sent(hub->log);
}

char *test_hub_log(struct test_hub *hub)
{
    return hub_log_text(hub->log);
}

void test_hub_clear_log(struct test_hub *hub)
{
    hub_log_clear(hub->log);
}
