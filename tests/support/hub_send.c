/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults of the status, headers and length are applied before an answer is queued. Faults
 * of the body are applied by the content reader, which libmicrohttpd calls for each
 * piece: at exactly the byte that the rule names it stalls, flips a byte, or ends the
 * connection.
 */
#include "hub_send.h"

#include "base/auto.h"
#include "hub_abort.h"
#include "hub_answer.h"
#include "hub_blob.h"
#include "hub_log.h"
#include "hub_rules.h"
#include "hub_stalls.h"
#include "hub_state.h"

#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum {
    BLOCK = 64 * 1024,
    THROTTLE_MS = 50,   /* the longest pause between two pieces of a throttled body */
    DRAIN_TRIES = 2000, /* of a millisecond each, before a reset */
};

struct body {
    struct test_hub *hub;
    struct hub_log_entry *entry; /* NULL: not logged */
    const struct test_hub_rule *rule;
    struct hub_answer source; /* text or blob; owned */
    int fd;
    unsigned releases; /* of the gate, when the request had come */
    bool is_size_unknown;
    bool was_stalled;
};

static void body_free(void *ctx)
{
    struct body *body = ctx;

    hub_answer_clear(&body->source);
    free(body);
}

static int request_socket(const struct hub_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (!info)
        hub_abort("libmicrohttpd", "a connection without a socket");
    return info->connect_fd;
}

/* Dissolving the association sends RST at once; close() would send FIN before it. */
static bool connection_reset(int fd)
{
    const struct sockaddr unspecified = {.sa_family = AF_UNSPEC};

    return connect(fd, &unspecified, sizeof unspecified) == 0;
}

/* Sends what libmicrohttpd has corked. */
static void connection_flush(int fd)
{
    const int yes = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
}

/* Waits until the peer's kernel has all bytes, since a reset discards what is queued. */
static void connection_drain(const struct body *body)
{
    int left = 1;

    connection_flush(body->fd);
    for (int i = 0; i < DRAIN_TRIES; i++) {
        if (ioctl(body->fd, SIOCOUTQ, &left) < 0 || left == 0)
            return;
        hub_stalls_pause(body->hub->stalls, 1);
    }
}

static bool body_has(const struct body *body, enum test_hub_fault fault)
{
    return body->rule && body->rule->fault == fault;
}

/* Applies the fault at the byte that the rule names; false ends the connection. */
static bool body_stop(struct body *body)
{
    if (body_has(body, TEST_HUB_STALL) && !body->was_stalled) {
        body->was_stalled = true;
        connection_flush(body->fd);
        hub_stalls_wait(body->hub->stalls, body->fd, body->releases);
        return true;
    }
    if (body_has(body, TEST_HUB_CUT_RESET)) {
        connection_drain(body);
        (void)connection_reset(body->fd);
        return false;
    }
    return !body_has(body, TEST_HUB_CUT);
}

/* Whether a piece has to end at the byte of the rule. */
static bool body_stops(const struct body *body)
{
    return body_has(body, TEST_HUB_CUT) || body_has(body, TEST_HUB_CUT_RESET) ||
           (body_has(body, TEST_HUB_STALL) && !body->was_stalled);
}

/* The number of bytes that the piece from `position` may have. */
static size_t body_piece_size(const struct body *body, uint64_t position, size_t max)
{
    uint64_t room = body->source.length - position;

    if (body_stops(body) && body->rule->number > position &&
        body->rule->number - position < room)
        room = body->rule->number - position;
    if (body_has(body, TEST_HUB_CHUNKS) && room > body->rule->number)
        room = body->rule->number;
    if (body_has(body, TEST_HUB_THROTTLE)) {
        uint64_t share = body->rule->number * THROTTLE_MS / 1000;
        bool is_fast = share > max; /* full pieces, so the pauses are shorter */

        hub_stalls_pause(body->hub->stalls,
                         is_fast ? max * 1000 / body->rule->number : THROTTLE_MS);
        if (room > share)
            room = share > 0 ? share : 1;
    }
    return room < max ? (size_t)room : max;
}

static void body_copy_piece(const struct body *body, uint64_t position, char *buffer,
                            size_t count)
{
    const struct hub_answer *source = &body->source;

    if (source->blob)
        hub_blob_read(source->blob, source->offset + position, buffer, count);
    else
        memcpy(buffer, source->text + position, count);
    if (body_has(body, TEST_HUB_CORRUPT) && body->rule->number >= position &&
        body->rule->number - position < count)
        buffer[body->rule->number - position] ^= (char)0xff;
}

/*
 * libmicrohttpd's content reader, called on the thread of the connection until it returns
 * the end. It returns at least one byte otherwise.
 */
static ssize_t body_read(void *ctx, uint64_t position, char *buffer, size_t max)
{
    struct body *body = ctx;
    size_t count;

    if (body_stops(body) && position == body->rule->number && !body_stop(body))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (position >= body->source.length) {
        return body->is_size_unknown ? MHD_CONTENT_READER_END_OF_STREAM
                                     : MHD_CONTENT_READER_END_WITH_ERROR;
    }
    count = body_piece_size(body, position, max);
    body_copy_piece(body, position, buffer, count);
    if (body->entry)
        hub_log_bytes(body->hub->log, body->entry, count);
    return (ssize_t)count;
}

/* An error as the Hub words it, with the rule's text as the message. */
static void answer_apply_status(struct hub_answer *answer,
                                const struct test_hub_rule *rule)
{
    hub_answer_text(answer, (unsigned)rule->number,
                    hub_strdup(rule->text ? rule->text : ""));
    if (rule->text)
        hub_answer_set(answer, "X-Error-Message", "%s", rule->text);
    if (rule->error_code)
        hub_answer_set(answer, "X-Error-Code", "%s", rule->error_code);
    if (rule->retry_after_s)
        hub_answer_set(answer, "Retry-After", "%u", rule->retry_after_s);
}

static void answer_shorten(struct hub_answer *answer, const struct test_hub_rule *rule)
{
    answer->length -= rule->number < answer->length ? rule->number : answer->length;
}

/* Applies the faults that make it another answer. */
static void answer_apply_fault(const struct hub_request *request,
                               const struct test_hub_rule *rule,
                               struct hub_answer *answer)
{
    if (rule->fault == TEST_HUB_SHORT)
        answer_shorten(answer, rule);
    if (rule->fault != TEST_HUB_STATUS && rule->fault != TEST_HUB_REDIRECT &&
        rule->fault != TEST_HUB_REDIRECT_LOOP && rule->fault != TEST_HUB_BODY)
        return;
    hub_answer_clear(answer);
    if (rule->fault == TEST_HUB_STATUS)
        answer_apply_status(answer, rule);
    else if (rule->fault == TEST_HUB_REDIRECT)
        hub_answer_redirect(answer, 302, rule->text);
    else if (rule->fault == TEST_HUB_REDIRECT_LOOP)
        hub_answer_redirect(answer, 302, request->target);
    else
        hub_answer_text(answer, 200, hub_strdup(rule->text ? rule->text : ""));
}

/* libmicrohttpd writes Content-Length itself, so a rule for it changes `size`. */
static void answer_apply_header(struct hub_answer *answer,
                                const struct test_hub_rule *rule, uint64_t *size)
{
    if (strcasecmp(rule->name, "Content-Length") == 0)
        *size = rule->text ? strtoull(rule->text, NULL, 10) : MHD_SIZE_UNKNOWN;
    else if (rule->text)
        hub_answer_set(answer, rule->name, "%s", rule->text);
    else
        hub_answer_unset(answer, rule->name);
}

/* Hands the answer over to libmicrohttpd, which frees `body` when it has been sent. */
static enum MHD_Result answer_queue(const struct hub_request *request, struct body *body,
                                    uint64_t size)
{
    const struct hub_answer *answer = &body->source;
    unsigned status = answer->status;
    struct MHD_Response *response =
        MHD_create_response_from_callback(size, BLOCK, body_read, body, body_free);
    enum MHD_Result result;

    hub_require(response);
    /* Else libmicrohttpd would end a body of unknown size for a HEAD, which has none. */
    if (size == MHD_SIZE_UNKNOWN && strcmp(request->method, "HEAD") == 0)
        (void)MHD_add_response_header(response, "Connection", "close");
    for (size_t i = 0; i < answer->header_count; i++) {
        (void)MHD_add_response_header(response, answer->headers[i].name,
                                      answer->headers[i].value);
    }
    if (request->entry)
        hub_log_status(request->hub->log, request->entry, status);
    result = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result hub_send(const struct hub_request *request,
                         const struct hub_faults *faults, struct hub_answer *answer)
{
    struct body *body;
    uint64_t size;

    if (hub_faults_include(faults, TEST_HUB_RESET))
        (void)connection_reset(request_socket(request));
    if (hub_faults_include(faults, TEST_HUB_RESET) ||
        hub_faults_include(faults, TEST_HUB_CLOSE))
        return MHD_NO;
    if (faults->rule)
        answer_apply_fault(request, faults->rule, answer);
    size = answer->length;
    for (size_t i = 0; i < faults->header_count; i++)
        answer_apply_header(answer, faults->headers[i], &size);

    body = hub_require(malloc(sizeof *body));
    *body = (struct body){.hub = request->hub,
                          .entry = request->entry,
                          .rule = faults->rule,
                          .source = *answer,
                          .fd = request_socket(request),
                          .releases = request->releases,
                          .is_size_unknown = size == MHD_SIZE_UNKNOWN};
    *answer = (struct hub_answer){0};
    return answer_queue(request, body, size);
}
