/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An exchange borrows a curl handle from the pool and returns it with its connections
 * open. The calling thread runs curl. Its states, and what moves it on:
 *
 *     connecting   a socket is opened, unless its address is refused
 *     headers      each line is checked; a flaw ends the exchange
 *     body         2xx: collected, and passed to the caller before curl waits for more,
 *                  so that writes are few and nothing is held back. Else: the first 64
 *                  KiB are kept for the text of the error.
 *     ended        as HTTP says, or by a failure; when the receiver has enough; by
 *                  its cancellation; by a timeout, which is looked for ten times a second
 *
 * Curl's own redirects, retries and credentials stay off: hub_request.c decides once for
 * each URL whether the token goes along. Curl's texts become part of messages; they name
 * hosts, never the query of a URL, which may be a signature.
 */
#include "http_exchange.h"

#include "address.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    ERROR_BODY_MAX = 64 * 1024, /* bytes kept of the body of an error */
    BUFFER_SIZE = 256 * 1024,   /* what curl reads, and passes on, at once */
    POLL_INTERVAL_MS = 100      /* how often timeouts and cancellation are looked for */
};

/* Why an exchange was ended before the server had. */
enum timeout_kind {
    TIMEOUT_NONE,
    TIMEOUT_SILENT,
    TIMEOUT_HEADERS,
    TIMEOUT_SLOW_BODY,
    TIMEOUT_TOTAL
};

/* One exchange while curl runs it. */
struct exchange {
    CURL *curl;
    struct hc_http_pool *pool;
    const struct hc_http_request *request;
    struct hc_hub_response *response;
    struct hc_buffer error_body;
    char *buffered; /* BUFFER_SIZE bytes, once one has come */
    size_t count;   /* of them, not passed on yet */
    size_t header_bytes;
    bool has_headers;      /* all of them */
    int64_t started_ms;    /* the exchange */
    int64_t delivering_ms; /* of the time since then, what the caller's write took */
    int64_t last_byte_ms;  /* when the last byte came */
    uint64_t body_bytes;   /* that have come */
    int64_t window_ms;     /* of the wait for the server, when this window began */
    uint64_t window_bytes; /* of the body, that had come when it began */
    enum timeout_kind timeout;
    bool is_refused; /* curl was about to connect to a private address */
    bool has_enough; /* of the body of an error */
    bool is_ended;   /* by the receiver, which has enough */
    bool has_failed; /* with `failure`, the caller's own or that of the headers */
    struct hc_error failure;
    char text[CURL_ERROR_SIZE]; /* curl's */
};

int hc_buffer_add(struct hc_buffer *buffer, const void *bytes, size_t count,
                  struct hc_error *err)
{
    size_t needed = buffer->used + count + 1;

    if (needed > buffer->capacity) {
        size_t doubled = buffer->capacity * 2;
        size_t capacity = needed > doubled ? needed : doubled;
        char *grown = realloc(buffer->bytes, capacity);

        if (!grown)
            return hc_fail_memory(err);
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->bytes + buffer->used, bytes, count);
    buffer->used += count;
    buffer->bytes[buffer->used] = '\0';
    return 0;
}

void hc_buffer_clear(struct hc_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct hc_buffer){0};
}

static const char too_many_headers[] = "with more headers than can be right";

static bool line_is_empty(const char *line, size_t length)
{
    return length <= 2 && (length == 0 || line[0] == '\r' || line[0] == '\n');
}

/* 0 ends the exchange with the failure that is set. */
static size_t exchange_on_header(char *line, size_t size, size_t count, void *ctx)
{
    struct exchange *exchange = ctx;
    struct hc_hub_response *response = exchange->response;
    size_t length = size * count;

    exchange->last_byte_ms = hc_monotonic_ms();
    exchange->header_bytes += length;
    exchange->has_headers = line_is_empty(line, length);
    if (length >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        hc_hub_response_clear(response); /* an interim answer came before */
        (void)curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE,
                                &response->status);
    } else {
        hc_hub_response_header(response, line, length);
    }
    if (!response->flaw && exchange->header_bytes <= HC_HEADERS_MAX)
        return length;
    exchange->has_failed = true;
    (void)hc_fail(&exchange->failure, HC_BAD_HUB_REPLY, "it answers %s",
                  response->flaw ? response->flaw : too_many_headers);
    return 0;
}

/* Keeps the beginning of an error's body, for its text. */
static void exchange_keep_error_body(struct exchange *exchange, const char *bytes,
                                     size_t count)
{
    size_t room = ERROR_BODY_MAX - exchange->error_body.used;
    struct hc_error ignored;

    (void)hc_buffer_add(&exchange->error_body, bytes, count < room ? count : room,
                        &ignored);
}

/* Waits until the bandwidth that these bytes took is there again. */
static int exchange_throttle(struct exchange *exchange, size_t count)
{
    int64_t wait_ms = hc_http_pool_take_bandwidth(exchange->pool, count);

    if (wait_ms == 0)
        return 0;
    return hc_cancellation_sleep(exchange->request->cancellation, wait_ms,
                                 &exchange->failure);
}

/* Passes on what has come. The time that takes is not the server's silence. -1 when the
 * exchange is over: it failed, or the receiver has enough. */
static int exchange_deliver(struct exchange *exchange)
{
    const struct hc_http_request *request = exchange->request;
    size_t count = exchange->count;
    int64_t began_ms = hc_monotonic_ms();
    int written = 0;

    exchange->count = 0;
    if (count == 0)
        return 0;
    if (request->write)
        written = request->write(request->ctx, exchange->response, exchange->buffered,
                                 count, &exchange->failure);
    if (written == 0)
        written = exchange_throttle(exchange, count);
    exchange->is_ended = written > 0;
    exchange->has_failed = written < 0;
    if (written != 0)
        return -1;
    exchange->last_byte_ms = hc_monotonic_ms();
    exchange->delivering_ms += exchange->last_byte_ms - began_ms;
    return 0;
}

static int exchange_collect(struct exchange *exchange, const char *bytes, size_t count)
{
    if (!exchange->buffered)
        exchange->buffered = malloc(BUFFER_SIZE);
    if (!exchange->buffered) {
        exchange->has_failed = true;
        return hc_fail_memory(&exchange->failure);
    }
    while (count > 0) {
        size_t room = BUFFER_SIZE - exchange->count;
        size_t part = count < room ? count : room;

        memcpy(exchange->buffered + exchange->count, bytes, part);
        exchange->count += part;
        bytes += part;
        count -= part;
        if (exchange->count == BUFFER_SIZE && exchange_deliver(exchange) < 0)
            return -1;
    }
    return 0;
}

/* How long the server has been waited for. */
static int64_t exchange_waited_ms(const struct exchange *exchange)
{
    return hc_monotonic_ms() - exchange->started_ms - exchange->delivering_ms;
}

static void exchange_count_body(struct exchange *exchange, size_t count)
{
    exchange->last_byte_ms = hc_monotonic_ms();
    if (exchange->body_bytes == 0)
        exchange->window_ms = exchange_waited_ms(exchange);
    exchange->body_bytes += count;
}

static size_t exchange_on_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct exchange *exchange = ctx;
    size_t length = size * count;

    exchange_count_body(exchange, length);
    if (exchange->response->status / 100 != 2) {
        exchange_keep_error_body(exchange, bytes, length);
        exchange->has_enough = exchange->error_body.used == ERROR_BODY_MAX;
        return exchange->has_enough ? CURL_WRITEFUNC_ERROR : length;
    }
    return exchange_collect(exchange, bytes, length) < 0 ? CURL_WRITEFUNC_ERROR : length;
}

/* Whether the body is too slow, by the window that ends now. A window is one poll
 * interval longer than the timeout of silence, so that silence is told as such. */
static bool exchange_is_slow(struct exchange *exchange)
{
    const unsigned length_s = exchange->request->timeout_s;
    int64_t now_ms = exchange_waited_ms(exchange);
    uint64_t bytes = exchange->body_bytes - exchange->window_bytes;

    if (now_ms - exchange->window_ms < (int64_t)length_s * 1000 + POLL_INTERVAL_MS)
        return false;
    exchange->window_ms = now_ms;
    exchange->window_bytes = exchange->body_bytes;
    return bytes < (uint64_t)length_s * HC_RATE_MIN;
}

static enum timeout_kind exchange_find_timeout(struct exchange *exchange)
{
    const struct hc_http_request *request = exchange->request;
    int64_t timeout_ms = (int64_t)request->timeout_s * 1000;
    int64_t now_ms = hc_monotonic_ms();
    int64_t passed_ms = now_ms - exchange->started_ms;

    if (now_ms - exchange->last_byte_ms > timeout_ms)
        return TIMEOUT_SILENT;
    if (request->total_s > 0 && passed_ms > (int64_t)request->total_s * 1000)
        return TIMEOUT_TOTAL;
    if (exchange->body_bytes == 0)
        return passed_ms > 2 * timeout_ms ? TIMEOUT_HEADERS : TIMEOUT_NONE;
    return exchange_is_slow(exchange) ? TIMEOUT_SLOW_BODY : TIMEOUT_NONE;
}

/* Curl calls this at every poll interval, and whenever bytes come. */
static int exchange_on_progress(void *ctx, curl_off_t total, curl_off_t now,
                                curl_off_t up_total, curl_off_t up_now)
{
    struct exchange *exchange = ctx;
    const struct hc_http_request *request = exchange->request;

    (void)total, (void)now, (void)up_total, (void)up_now;
    if (exchange->has_failed || exchange->is_ended ||
        hc_cancellation_is_set(request->cancellation))
        return 1;
    exchange->timeout = exchange_find_timeout(exchange);
    if (exchange->timeout != TIMEOUT_NONE)
        return 1;
    if (request->watch)
        exchange->is_ended = request->watch(request->ctx, exchange_waited_ms(exchange));
    return exchange->is_ended ? 1 : 0;
}

/* The lines may have the token in them. */
static void headers_free(struct curl_slist *headers)
{
    for (struct curl_slist *line = headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data));
    curl_slist_free_all(headers);
}

/* Takes the list over; NULL when memory is short. No value: the list as it is. */
static struct curl_slist *headers_add(struct curl_slist *list, const char *name,
                                      const char *value)
{
    struct curl_slist *longer = NULL;
    char *line = NULL;

    if (!list || !value || !value[0])
        return list;
    if (asprintf(&line, "%s%s", name, value) >= 0) {
        longer = curl_slist_append(list, line);
        explicit_bzero(line, strlen(line));
        free(line);
    }
    if (!longer)
        headers_free(list);
    return longer;
}

/* The caller frees with headers_free(); NULL when memory is short. */
static struct curl_slist *request_make_headers(const struct hc_http_request *request)
{
    struct curl_slist *list = curl_slist_append(NULL, "Accept-Encoding: identity");

    list = headers_add(list, "traceparent: ", request->traceparent);
    return headers_add(list, "Authorization: Bearer ", request->token);
}

/* Whether an answer may lead to a private address. */
static bool request_allows_private(const struct hc_http_request *request,
                                   const struct hc_http_pool *pool)
{
    return atomic_load(&pool->allows_private) ||
           (request->allows_private && atomic_load(request->allows_private));
}

/* Whether the exchange may connect to this address. */
static bool exchange_may_connect(struct exchange *exchange,
                                 const struct sockaddr *address)
{
    const struct hc_http_request *request = exchange->request;
    struct hc_http_pool *pool = exchange->pool;

    if (!hc_address_is_private(address) || hc_address_is_of_proxy(address, request->url))
        return true;
    if (!request->is_redirect_target && request->allows_private)
        atomic_store(request->allows_private, true);
    else if (!request->is_redirect_target)
        hc_http_pool_allow_private(pool);
    return request_allows_private(request, pool);
}

/* Curl is about to connect. The address is checked here and not when the URL was, for a
 * DNS server may answer the same name with another address the next time. */
static curl_socket_t exchange_on_socket(void *ctx, curlsocktype purpose,
                                        struct curl_sockaddr *address)
{
    struct exchange *exchange = ctx;

    (void)purpose;
    exchange->is_refused = !exchange_may_connect(exchange, &address->addr);
    if (exchange->is_refused)
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static void curl_set_callbacks(CURL *curl, struct exchange *exchange)
{
    (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, exchange_on_socket);
    (void)curl_easy_setopt(curl, CURLOPT_OPENSOCKETDATA, exchange);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, exchange->text);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, exchange_on_header);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, exchange_on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, exchange_on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

static void curl_set_range(CURL *curl, const struct hc_http_request *request)
{
    char range[48];

    if (request->until > 0)
        (void)hc_format(range, sizeof range, "%" PRIu64 "-%" PRIu64, request->offset,
                        request->until - 1);
    else
        (void)hc_format(range, sizeof range, "%" PRIu64 "-", request->offset);
    if (request->offset > 0 || request->until > 0)
        (void)curl_easy_setopt(curl, CURLOPT_RANGE, range);
}

/*
 * libcurl takes proxies from the environment, but not HTTP_PROXY in capitals, which the
 * client of a CGI program could set. The Hub's Python clients take it, and neither
 * hubcached nor a program with this library is a CGI program.
 */
static void curl_set_proxy(CURL *curl, const char *url)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): no thread sets variables by now */
    const char *proxy = getenv("http_proxy") ? NULL : getenv("HTTP_PROXY");
    /* NOLINTEND(concurrency-mt-unsafe) */

    if (proxy && proxy[0] && hc_text_starts(url, "http://"))
        (void)curl_easy_setopt(curl, CURLOPT_PROXY, proxy);
}

/*
 * QUICK_EXIT: curl looks a name up on a thread of its own, and would wait for that thread
 * before it lets go. A DNS resolver that hangs would then keep a caller that leaves, and
 * the server's shutdown. With it, the thread ends by itself, later, and frees what it
 * has.
 */
static void curl_set_options(CURL *curl, const struct hc_http_request *request)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, request->url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_QUICK_EXIT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, (long)BUFFER_SIZE);
    (void)curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)request->timeout_s);
    if (request->is_head) {
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
        (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)request->timeout_s);
    }
    curl_set_range(curl, request);
    curl_set_proxy(curl, request->url);
}

/* Curl's own text names hosts; but of a proxy setting that makes no sense it shows all,
 * and what looks like the host in it may be a part of the password. */
static const char *exchange_curl_text(const struct exchange *exchange, CURLcode code)
{
    bool is_of_setting = code == CURLE_COULDNT_RESOLVE_PROXY ||
                         hc_text_starts(exchange->text, "Unsupported proxy");

    if (is_of_setting || !exchange->text[0])
        return curl_easy_strerror(code);
    return exchange->text;
}

/* A proxy that refuses will refuse again; one that cannot connect may do so later. */
static int fail_proxy_refused(long status, struct hc_error *err)
{
    if (status / 100 == 5)
        return hc_fail(err, HC_HUB_UNREACHABLE, "the proxy cannot connect (HTTP %ld)",
                       status);
    (void)hc_fail(err, HC_HUB_UNREACHABLE,
                  "the proxy refuses to connect (HTTP %ld): check HTTPS_PROXY", status);
    err->is_final = true;
    return -1;
}

static int exchange_fail_timeout(const struct exchange *exchange, struct hc_error *err)
{
    const struct hc_http_request *request = exchange->request;

    switch (exchange->timeout) {
    case TIMEOUT_HEADERS:
        return hc_fail(err, HC_HUB_UNREACHABLE, "no answer began within %u s",
                       2 * request->timeout_s);
    case TIMEOUT_SLOW_BODY:
        return hc_fail(err, HC_HUB_UNREACHABLE,
                       "fewer than %d bytes a second came for %u s", HC_RATE_MIN,
                       request->timeout_s);
    case TIMEOUT_TOTAL:
        return hc_fail(err, HC_HUB_UNREACHABLE, "the answer did not end within %u s",
                       request->total_s);
    default:
        return hc_fail(err, HC_HUB_UNREACHABLE, "no byte came for %u s",
                       request->timeout_s);
    }
}

static int exchange_fail_unreachable(const struct exchange *exchange, CURLcode code,
                                     struct hc_error *err)
{
    long refusal = 0;

    (void)curl_easy_getinfo(exchange->curl, CURLINFO_HTTP_CONNECTCODE, &refusal);
    if (refusal >= 400)
        return fail_proxy_refused(refusal, err);
    if (exchange->timeout != TIMEOUT_NONE)
        return exchange_fail_timeout(exchange, err);
    return hc_fail(err, HC_HUB_UNREACHABLE, "%s", exchange_curl_text(exchange, code));
}

static bool exchange_was_sent(const struct exchange *exchange)
{
    curl_off_t sent_us = 0;

    (void)curl_easy_getinfo(exchange->curl, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    return sent_us > 0;
}

static int fail_private_address(struct hc_error *err)
{
    return hc_fail(err, HC_BAD_HUB_REPLY,
                   "it leads to a private address; if that is right, start with "
                   "--allow-private-redirects");
}

/*
 * Whether what came is no answer that HTTP knows. A header line of more than 100 KiB is
 * "out of memory" to curl.
 */
static bool exchange_is_no_http(const struct exchange *exchange, CURLcode code)
{
    return code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL ||
           code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_BAD_CONTENT_ENCODING ||
           (code == CURLE_OUT_OF_MEMORY && exchange_was_sent(exchange) &&
            !exchange->has_headers);
}

/* What a curl code means to the caller; the order tells the cause from its effects. */
static int exchange_conclude(struct exchange *exchange, CURLcode code,
                             struct hc_error *err)
{
    exchange->response->was_sent = exchange_was_sent(exchange);
    if (exchange->has_failed) {
        *err = exchange->failure;
        return -1;
    }
    if (exchange->is_ended)
        return 1;
    if (code == CURLE_OK || exchange->has_enough) {
        if (exchange->error_body.used > 0)
            hc_hub_response_body(exchange->response, exchange->error_body.bytes,
                                 exchange->error_body.used);
        return 0;
    }
    if (hc_cancellation_check(exchange->request->cancellation, err) < 0)
        return -1;
    if (code == CURLE_COULDNT_CONNECT && exchange->is_refused)
        return fail_private_address(err);
    if (exchange_is_no_http(exchange, code))
        return hc_fail(err, HC_BAD_HUB_REPLY, "%s",
                       code == CURLE_OUT_OF_MEMORY ? "it answers with a header too long"
                                                   : exchange_curl_text(exchange, code));
    if (code == CURLE_OUT_OF_MEMORY)
        return hc_fail_memory(err);
    return exchange_fail_unreachable(exchange, code, err);
}

/* curl_easy_perform() would call back once a second only while nothing comes. */
static CURLcode exchange_perform(struct exchange *exchange, CURLM *connections)
{
    CURLMcode state = curl_multi_add_handle(connections, exchange->curl);
    CURLcode result = CURLE_OUT_OF_MEMORY;
    const CURLMsg *message;
    int running = 1;

    while (state == CURLM_OK && running > 0 && !exchange->has_failed &&
           !exchange->is_ended) {
        state = curl_multi_perform(connections, &running);
        if (state == CURLM_OK && running > 0 && exchange_deliver(exchange) == 0)
            state = curl_multi_poll(connections, NULL, 0, POLL_INTERVAL_MS, NULL);
    }
    message = curl_multi_info_read(connections, &running);
    if (message && message->msg == CURLMSG_DONE)
        result = message->data.result;
    (void)curl_multi_remove_handle(connections, exchange->curl);
    if (!exchange->has_failed && !exchange->is_ended)
        (void)exchange_deliver(exchange);
    return result;
}

int hc_http_perform(struct hc_http_pool *pool, const struct hc_http_request *request,
                    struct hc_hub_response *response, struct hc_error *err)
{
    bool is_refused = request->is_redirect_target &&
                      !request_allows_private(request, pool) &&
                      hc_address_url_is_private(request->url);
    CURLM *connections = NULL;
    struct exchange exchange = {.curl = hc_http_pool_borrow(pool, &connections),
                                .pool = pool,
                                .request = request,
                                .response = response,
                                .started_ms = hc_monotonic_ms()};
    struct curl_slist *headers = request_make_headers(request);
    int result;

    exchange.last_byte_ms = exchange.started_ms;
    hc_hub_response_clear(response);
    if (is_refused) {
        result = fail_private_address(err);
    } else if (!exchange.curl || !headers) {
        result = hc_fail_memory(err);
    } else {
        curl_set_options(exchange.curl, request);
        curl_set_callbacks(exchange.curl, &exchange);
        (void)curl_easy_setopt(exchange.curl, CURLOPT_HTTPHEADER, headers);
        result =
            exchange_conclude(&exchange, exchange_perform(&exchange, connections), err);
    }
    hc_buffer_clear(&exchange.error_body);
    hc_http_pool_return(pool, exchange.curl, connections);
    free(exchange.buffered);
    headers_free(headers);
    return result;
}
