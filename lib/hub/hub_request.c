/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redirects are followed here and not by curl, since each hop raises the same two
 * questions: may the token go along, and what did this response say that the next will
 * not repeat? (The Hub names commit, etag and size on the first hop; the last one may be
 * a storage that has never heard of them. The HEAD of the reference client stops at
 * the first redirect that leaves the Hub: get_hf_file_metadata() in file_download.py.)
 *
 * "Home" is the endpoint's own origin. Three kinds of hosts answer: the endpoint at home,
 * with the token if it is the Hub; another configured endpoint; and the rest, which
 * redirects lead to, mostly storage. Only what home says counts as a word about repo,
 * file or token.
 */
#include "hub_request.h"

#include "retry.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <stddef.h>
#include <string.h>

/* How often a request is repeated while another endpoint is left. */
enum { RETRIES_BEFORE_MIRROR = 1 };

/* How long a JSON response may take in all, in time-outs: five minutes by default. */
enum { JSON_TIMEOUTS = 30 };

static bool response_is_redirect(const struct hc_hub_response *response)
{
    switch (response->status) {
    case 301:
    case 302:
    case 303:
    case 307:
    case 308:
        return true;
    default:
        return false;
    }
}

/*
 * What an earlier response said stands. The ETag of another host that does not name the
 * commit is no name of the Hub's for these bytes (the storage's is the Xet hash).
 */
static void response_inherit(struct hc_hub_response *response,
                             const struct hc_hub_response *earlier, bool is_home)
{
    if (!is_home && !response->commit[0])
        response->etag[0] = '\0';
    if (earlier->commit[0])
        memcpy(response->commit, earlier->commit, sizeof response->commit);
    if (earlier->linked_etag[0])
        memcpy(response->linked_etag, earlier->linked_etag, sizeof response->linked_etag);
    if (earlier->has_linked_size) {
        response->has_linked_size = true;
        response->linked_size = earlier->linked_size;
    }
}

/* The base URL of the host that answered last. */
static const char *request_answering_host(const struct hc_hub_request *request)
{
    const char *url = request->http.url;
    const struct hc_endpoint *host = NULL;

    if (url[0] && !hc_url_same_origin(url, request->target.endpoint))
        host = hc_hub_find_storage_host(request->hub, url);
    return host ? hc_endpoint_url(host) : request->target.endpoint;
}

static int buffer_add_json(void *ctx, const struct hc_hub_response *response,
                           const void *bytes, size_t count, struct hc_error *err)
{
    struct hc_buffer *body = ctx;

    (void)response;
    if (count > HC_PAGE_BYTES_MAX - body->used)
        return hc_fail(err, HC_BAD_HUB_REPLY, "the answer has more than %d bytes",
                       HC_PAGE_BYTES_MAX);
    return hc_buffer_add(body, bytes, count, err);
}

/* Whether the request is for metadata or JSON, not for the bytes of a file. */
static bool http_is_api_call(const struct hc_http_request *http)
{
    return http->is_head || http->write == buffer_add_json;
}

/*
 * An error of the storage behind the Hub says nothing about repo, file or token. Nor does
 * that of any other host that a redirect led to, unless the Hub itself has said nothing
 * and the host uses the Hub's error codes: the caller sets `is_home` then.
 */
static int request_fail_response(const struct hc_hub_request *request, bool is_home,
                                 struct hc_error *err)
{
    struct hc_hub_target target = request->target;

    if (!is_home)
        target.storage = request_answering_host(request);
    if (is_home || hc_hub_response_is_transient(&request->response))
        return hc_hub_response_fail(&request->response, &target, err);
    (void)hc_fail(err, HC_BAD_HUB_REPLY, "the storage answers HTTP %ld",
                  request->response.status);
    return hc_hub_request_fail(request, err);
}

/* Whether commit and etag are known, so that another host need not be asked for them. */
static bool response_is_complete(const struct hc_hub_response *response)
{
    return response->commit[0] && (response->linked_etag[0] || response->etag[0]);
}

/* Bytes are proven by their hash, whichever way they came; names and hashes are not. */
static bool request_is_downgrade(const struct hc_hub_request *request, const char *next)
{
    return http_is_api_call(&request->http) &&
           hc_text_starts(request->http.url, "https://") &&
           hc_text_starts(next, "http://");
}

/* 1: the URL is the next one to request; 0: this was the last response; -1. */
static int request_follow_redirect(struct hc_hub_request *request, struct hc_error *err)
{
    char next[HC_URL_MAX];
    bool is_home;

    if (!response_is_redirect(&request->response))
        return 0;
    if (!hc_url_join(next, request->http.url, request->response.location)) {
        (void)hc_fail(err, HC_BAD_HUB_REPLY, "it redirects to something unusable");
        return hc_hub_request_fail(request, err);
    }
    is_home = hc_url_same_origin(next, hc_endpoint_url(request->endpoint));
    if (request->http.is_head && !is_home && response_is_complete(&request->response)) {
        hc_url_copy(request->http.url, next);
        return 0;
    }
    if (request_is_downgrade(request, next)) {
        (void)hc_fail(err, HC_BAD_HUB_REPLY, "it redirects from https to http");
        return hc_hub_request_fail(request, err);
    }
    hc_url_copy(request->http.url, next);
    request->was_redirected = true;
    return 1;
}

static enum hc_hub_request_kind request_kind(const struct hc_hub_request *request)
{
    if (request->download)
        return HC_HUB_BYTES;
    return request->http.is_head ? HC_HUB_METADATA : HC_HUB_LISTING;
}

/* One exchange, when the host allows it. NULL: a host beyond the limit of storage
 * hosts. */
static int request_exchange(struct hc_hub_request *request, struct hc_endpoint *host,
                            struct hc_error *err)
{
    struct hc_endpoint_permit permit = {.key = request->key,
                                        .cancellation =
                                            request->credentials->cancellation,
                                        .pause_base_ms = request->hub->retry_base_ms,
                                        .doublings = request->hub->retries,
                                        .may_wait = !request->credentials->no_retry &&
                                                    !request->has_mirror,
                                        .waited_ms = request->waited_ms};
    int result;

    if (!request->http.token)
        permit.key.token = (struct hc_keyed_hash){0};
    if (host && hc_endpoint_acquire(host, &permit, err) < 0) {
        request->waited_ms = permit.waited_ms;
        return -1;
    }
    request->waited_ms = permit.waited_ms;
    result = hc_http_perform(request->hub->pool, &request->http, &request->response, err);
    hc_hub_tally_add_request(&request->hub->tally, request_kind(request), request->host,
                             request->response.status);
    if (host)
        hc_endpoint_report(host, &permit, &request->response, result < 0 ? err : NULL);
    return result;
}

/* Whether it says something of a file or a listing, if only that it is not there. */
static bool response_is_about_content(const struct hc_hub_response *response)
{
    return response->status / 100 == 2 || response->status == 404 ||
           response_is_redirect(response);
}

/* Whether another host's error is as good as the Hub's own. */
static bool request_speaks_for_hub(const struct hc_hub_request *request,
                                   const struct hc_hub_response *earlier)
{
    return http_is_api_call(&request->http) && !earlier->commit[0] &&
           request->response.error_code[0];
}

/* Whether the URL is of the Hub or of a mirror, and these are asked: they may be at
 * private addresses. */
static bool request_is_to_settings(const struct hc_hub_request *request)
{
    const struct hc_hub *hub = request->hub;

    for (size_t i = 0; i < hub->endpoint_count && !request->credentials->endpoint; i++) {
        if (hc_url_same_origin(request->http.url, hc_endpoint_url(hub->endpoints[i])))
            return true;
    }
    return false;
}

static enum hc_hub_host request_host(const struct hc_hub_request *request,
                                     bool is_configured)
{
    if (!is_configured)
        return HC_HUB_STORAGE;
    return request->is_trusted ? HC_HUB_ENDPOINT : HC_HUB_MIRROR;
}

/* One exchange, with or without the token; as request_follow_redirect(). */
static int request_hop(struct hc_hub_request *request, struct hc_error *err)
{
    struct hc_hub_response earlier; /* but for its URLs, which are not used */
    bool is_home =
        hc_url_same_origin(request->http.url, hc_endpoint_url(request->endpoint));
    struct hc_endpoint *host =
        is_home ? request->endpoint
                : hc_hub_find_storage_host(request->hub, request->http.url);
    bool is_configured;
    int exchanged;

    memcpy(&earlier, &request->response, offsetof(struct hc_hub_response, location));
    request->http.token =
        is_home && request->is_trusted ? request->credentials->token : NULL;
    is_configured = is_home || request_is_to_settings(request);
    request->http.allows_private =
        request->credentials->endpoint
            ? hc_endpoint_private_flag(request->credentials->endpoint)
            : NULL;
    request->host = request_host(request, is_configured);
    request->http.is_redirect_target = !is_configured;
    request->http.traceparent = is_configured ? request->credentials->traceparent : NULL;
    exchanged = request_exchange(request, host, err);
    if (exchanged < 0)
        return hc_hub_request_fail(request, err);
    request->has_enough = exchanged > 0;
    if (request->has_enough)
        return 0;
    response_inherit(&request->response, &earlier, is_home);
    if (response_is_about_content(&request->response) &&
        hc_hub_response_check_commit(&request->response, &request->target, err) < 0)
        return hc_hub_request_fail(request, err);
    if (request->response.status / 100 != 2 && !response_is_redirect(&request->response))
        return request_fail_response(request,
                                     is_home || request_speaks_for_hub(request, &earlier),
                                     err);
    return request_follow_redirect(request, err);
}

/* The endpoint throttles its callers: a retry would not help. */
static bool fail_is_throttled(const struct hc_error *err)
{
    return err->reason == HC_HUB_RATE_LIMITED || err->retry_after_ms > 0;
}

/* `most_s`, or less: a caller with an older answer must know before its deadline that
 * there is no newer one. */
static unsigned credentials_bound_timeout_s(unsigned most_s,
                                            const struct hc_hub_credentials *credentials)
{
    int64_t half_s = hc_cancellation_remaining_ms(credentials->cancellation) / 2000;

    if (!credentials->no_retry || half_s >= most_s)
        return most_s;
    return half_s > 1 ? (unsigned)half_s : 1;
}

size_t hc_hub_endpoint_count(const struct hc_hub *hub,
                             const struct hc_hub_credentials *credentials)
{
    return credentials->hub_only || credentials->endpoint ? 1 : hub->endpoint_count;
}

struct hc_endpoint *hc_hub_first_endpoint(const struct hc_hub *hub,
                                          const struct hc_hub_credentials *credentials)
{
    return credentials->endpoint ? credentials->endpoint : hub->endpoints[0];
}

void hc_hub_request_init(struct hc_hub_request *request, struct hc_hub *hub,
                         const struct hc_hub_credentials *credentials,
                         const struct hc_hub_target *target)
{
    memset(request, 0, offsetof(struct hc_hub_request, http));
    memset(&request->http, 0, offsetof(struct hc_http_request, url));
    request->http.url[0] = '\0';
    hc_hub_response_clear(&request->response);
    request->hub = hub;
    request->credentials = credentials;
    request->target = *target;
    request->http.cancellation = credentials->cancellation;
    request->http.timeout_s =
        credentials_bound_timeout_s(hub->metadata_timeout_s, credentials);
    hc_hub_request_set_endpoint(request, hc_hub_first_endpoint(hub, credentials));
}

struct hc_breaker_key
hc_hub_request_breaker_key(const struct hc_hub_credentials *credentials,
                           const struct hc_repo *repo, bool is_trusted)
{
    return (struct hc_breaker_key){.token = hc_keyed_hash_of(
                                       is_trusted ? credentials->token : NULL),
                                   .repo = hc_keyed_hash_of(repo->folder)};
}

void hc_hub_request_set_endpoint(struct hc_hub_request *request,
                                 struct hc_endpoint *endpoint)
{
    const char *token = request->credentials->token;

    request->endpoint = endpoint;
    request->is_trusted =
        endpoint == hc_hub_first_endpoint(request->hub, request->credentials);
    request->target.endpoint = hc_endpoint_url(endpoint);
    request->target.had_token = request->is_trusted && token && token[0];
    request->key = hc_hub_request_breaker_key(request->credentials, request->target.repo,
                                              request->is_trusted);
}

int hc_hub_request_fail(const struct hc_hub_request *request, struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    hc_hub_target_describe(&request->target, text);
    if (err->reason == HC_HUB_RATE_LIMITED)
        return hc_context(err, "%s", text);
    if (err->reason == HC_HUB_UNREACHABLE)
        return hc_context(err,
                          "%s: %.100s cannot be reached (check the network, the endpoint "
                          "and the proxy)",
                          text, request_answering_host(request));
    if (err->reason == HC_BAD_HUB_REPLY)
        return hc_context(err, "%s: unusable answer from %.100s", text,
                          request_answering_host(request));
    return -1;
}

int hc_hub_request_attempt(struct hc_hub_request *request, struct hc_error *err)
{
    hc_hub_response_clear(&request->response);
    if (request->target.had_token && !hc_text_is_printable(request->credentials->token))
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "the Hub token has control characters in it");
    for (int hops = 0; hops <= HC_REDIRECTS_MAX; hops++) {
        int more = request_hop(request, err);

        if (more <= 0)
            return more;
    }
    (void)hc_fail(err, HC_BAD_HUB_REPLY, "it redirects more than %d times",
                  HC_REDIRECTS_MAX);
    return hc_hub_request_fail(request, err);
}

/* While the circuit is open, the endpoint makes the pauses, the same ones for all
 * callers. A caller that comes when it has been open for all retries does not wait for it
 * again. */
static void request_note_open_circuit(const struct hc_hub_request *request,
                                      struct hc_retry *retry)
{
    unsigned pauses = hc_endpoint_pauses(request->endpoint, &request->key);

    retry->is_endpoint_paused = pauses > 0;
    if (pauses > request->hub->retries)
        retry->attempt = request->hub->retries;
}

/* Budget: the retries of the settings (retry.h), each after its pause; each attempt is as
 * many requests as there are redirects, HC_REDIRECTS_MAX at most. */
int hc_hub_request_perform(struct hc_hub_request *request, struct hc_buffer *body,
                           struct hc_error *err)
{
    struct hc_retry retry = {
        .attempt = request->credentials->no_retry ? request->hub->retries : 0,
        .max_pauses = request->has_mirror ? RETRIES_BEFORE_MIRROR : 0};
    char start[HC_URL_MAX];

    hc_url_copy(start, request->http.url);
    request->http.write = body ? buffer_add_json : NULL;
    request->http.ctx = body;
    request->http.total_s =
        credentials_bound_timeout_s(JSON_TIMEOUTS * request->hub->metadata_timeout_s,
                                    request->credentials);
    while (hc_hub_request_attempt(request, err) < 0) {
        if (request->has_mirror && fail_is_throttled(err))
            return -1;
        request_note_open_circuit(request, &retry);
        if (hc_retry_wait(&retry, request->hub, request->credentials->cancellation, err) <
            0)
            return -1;
        hc_url_copy(request->http.url, start);
        if (body)
            body->used = 0;
    }
    return 0;
}

int hc_hub_request_next_page(struct hc_hub_request *request, struct hc_error *err)
{
    char link[HC_URL_MAX];

    if (request->response.has_bad_link)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "it answers with a Link header that cannot be understood");
    if (!request->response.next_page[0])
        return 0;
    if (!hc_url_join(link, request->http.url, request->response.next_page) ||
        !hc_url_page(request->http.url, request->target.endpoint,
                     request->target.revision, link))
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "its next page is none of the same listing");
    return 1;
}
