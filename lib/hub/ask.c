/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redirects are followed here and not by curl, since each hop raises the same two
 * questions: may the token go along, and what did this answer say that the next will not
 * repeat? (The Hub names commit, etag and size on the first hop; the last one may be a
 * storage that has never heard of them.)
 */
#include "ask.h"

#include "retry.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <stddef.h>
#include <string.h>

/* How often what is unreachable is asked again when a mirror may be asked instead. */
enum { RETRIES_BEFORE_MIRROR = 1 };

/* How long a JSON answer may take in all, in time-outs: five minutes by default. */
enum { JSON_TIMEOUTS = 30 };

static bool is_redirect(const struct hc_hub_response *response)
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
 * What an earlier answer said stands. Of another host that does not say which commit it
 * speaks of, the ETag is no name of the Hub's for these bytes (the storage's is the Xet
 * hash).
 */
static void inherit(struct hc_hub_response *response,
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

/* Who was asked last. */
static const char *asked(const struct hc_ask *ask)
{
    const char *url = ask->request.url;
    const struct hc_endpoint *host = NULL;

    if (url[0] && !hc_url_same_origin(url, ask->target.endpoint))
        host = hc_storage_hosts_find(ask->hub->hosts, url);
    return host ? hc_endpoint_url(host) : ask->target.endpoint;
}

static int add_json(void *ctx, const struct hc_hub_response *response, const void *bytes,
                    size_t count, struct hc_error *err)
{
    struct hc_buffer *body = ctx;

    (void)response;
    if (count > HC_PAGE_BYTES_MAX - body->used)
        return hc_fail(err, HC_BAD_HUB_REPLY, "the answer has more than %d bytes",
                       HC_PAGE_BYTES_MAX);
    return hc_buffer_add(body, bytes, count, err);
}

/* Whether the request is a question, not one for the bytes of a file. */
static bool asks_about(const struct hc_http_request *request)
{
    return request->is_head || request->write == add_json;
}

/*
 * An answer of the storage behind the Hub says nothing about repo, file or token. Nor does
 * that of any other host that the Hub leads to, unless the Hub itself has said nothing
 * and the host speaks its language.
 */
static int fail_answer(const struct hc_ask *ask, bool is_home, struct hc_error *err)
{
    struct hc_hub_target target = ask->target;

    if (!is_home)
        target.storage = asked(ask);
    if (is_home || hc_hub_response_is_transient(&ask->response))
        return hc_hub_response_fail(&ask->response, &target, err);
    (void)hc_fail(err, HC_BAD_HUB_REPLY, "the storage answers HTTP %ld",
                  ask->response.status);
    return hc_ask_fail(ask, err);
}

/* Whether commit and etag are known, so that another host need not be asked for them. */
static bool is_described(const struct hc_hub_response *response)
{
    return response->commit[0] && (response->linked_etag[0] || response->etag[0]);
}

/* Bytes are proven by their hash, whichever way they came; names and hashes are not. */
static bool is_downgrade(const struct hc_ask *ask, const char *next)
{
    return asks_about(&ask->request) && hc_text_starts(ask->request.url, "https://") &&
           hc_text_starts(next, "http://");
}

/* 1: ask->request.url is to be asked next; 0: the walk ends here; -1. */
static int next_hop(struct hc_ask *ask, struct hc_error *err)
{
    char next[HC_URL_MAX];
    bool is_home;

    if (!is_redirect(&ask->response))
        return 0;
    if (!hc_url_join(next, ask->request.url, ask->response.location)) {
        (void)hc_fail(err, HC_BAD_HUB_REPLY, "it redirects to something unusable");
        return hc_ask_fail(ask, err);
    }
    is_home = hc_url_same_origin(next, hc_endpoint_url(ask->endpoint));
    if (ask->request.is_head && !is_home && is_described(&ask->response)) {
        hc_url_copy(ask->request.url, next);
        return 0;
    }
    if (is_downgrade(ask, next)) {
        (void)hc_fail(err, HC_BAD_HUB_REPLY, "it redirects from https to http");
        return hc_ask_fail(ask, err);
    }
    hc_url_copy(ask->request.url, next);
    ask->was_redirected = true;
    return 1;
}

/* One exchange with the host, when it may be asked; of some nothing is known. */
static int perform(struct hc_ask *ask, struct hc_endpoint *host, struct hc_error *err)
{
    struct hc_endpoint_permit permit = {.key = ask->key,
                                        .call = ask->credentials->call,
                                        .pause_base_ms = ask->hub->retry_base_ms,
                                        .doublings = ask->hub->retries,
                                        .may_wait = !ask->credentials->no_retry &&
                                                    !ask->has_mirror,
                                        .waited_ms = ask->waited_ms};
    int result;

    if (!ask->request.token)
        permit.key.token = (struct hc_keyed_hash){0};
    if (host && hc_endpoint_acquire(host, &permit, err) < 0) {
        ask->waited_ms = permit.waited_ms;
        return -1;
    }
    ask->waited_ms = permit.waited_ms;
    result = hc_http_perform(ask->hub->pool, &ask->request, &ask->response, err);
    if (host)
        hc_endpoint_report(host, &permit, &ask->response, result < 0 ? err : NULL);
    return result;
}

/* Answers that say something of a file or a listing, if only that it is not there. */
static bool is_about_content(const struct hc_hub_response *response)
{
    return response->status / 100 == 2 || response->status == 404 ||
           is_redirect(response);
}

/* Whether another host's answer to a question is as good as the Hub's own. */
static bool speaks_for_hub(const struct hc_ask *ask,
                           const struct hc_hub_response *earlier)
{
    return asks_about(&ask->request) && !earlier->commit[0] &&
           ask->response.error_code[0];
}

/* Whether the URL is of the Hub or of a mirror: no answer is needed to lead there. */
static bool is_configured(const struct hc_hub *hub, const char *url)
{
    for (size_t i = 0; i < hub->endpoint_count; i++) {
        if (hc_url_same_origin(url, hc_endpoint_url(hub->endpoints[i])))
            return true;
    }
    return false;
}

/* One exchange, with or without the token. 1 and 0 as next_hop. */
static int hop(struct hc_ask *ask, struct hc_error *err)
{
    struct hc_hub_response earlier; /* but for its URLs, which are not looked at */
    bool is_home = hc_url_same_origin(ask->request.url, hc_endpoint_url(ask->endpoint));
    struct hc_endpoint *host =
        is_home ? ask->endpoint
                : hc_storage_hosts_find(ask->hub->hosts, ask->request.url);

    memcpy(&earlier, &ask->response, offsetof(struct hc_hub_response, location));
    ask->request.token = is_home && ask->is_trusted ? ask->credentials->token : NULL;
    ask->request.is_redirect_target =
        !is_home && !is_configured(ask->hub, ask->request.url);
    if (perform(ask, host, err) < 0)
        return hc_ask_fail(ask, err);
    inherit(&ask->response, &earlier, is_home);
    if (is_about_content(&ask->response) &&
        hc_hub_response_check_commit(&ask->response, &ask->target, err) < 0)
        return hc_ask_fail(ask, err);
    if (ask->response.status / 100 != 2 && !is_redirect(&ask->response))
        return fail_answer(ask, is_home || speaks_for_hub(ask, &earlier), err);
    return next_hop(ask, err);
}

/* It asks to be left alone, and would not like a retry. */
static bool is_told_off(const struct hc_error *err)
{
    return err->reason == HC_HUB_RATE_LIMITED || err->retry_after_ms > 0;
}

/* `most_s`, or less: a caller with an older answer must hear that there is no newer one
 * before its deadline. */
static unsigned bound(unsigned most_s, const struct hc_hub_credentials *credentials)
{
    int64_t half_s = hc_cancellation_remaining_ms(credentials->call) / 2000;

    if (!credentials->no_retry || half_s >= most_s)
        return most_s;
    return half_s > 1 ? (unsigned)half_s : 1;
}

void hc_ask_init(struct hc_ask *ask, struct hc_hub *hub,
                 const struct hc_hub_credentials *credentials,
                 const struct hc_hub_target *about)
{
    memset(ask, 0, offsetof(struct hc_ask, request));
    memset(&ask->request, 0, offsetof(struct hc_http_request, url));
    ask->request.url[0] = '\0';
    hc_hub_response_clear(&ask->response);
    ask->hub = hub;
    ask->credentials = credentials;
    ask->target = *about;
    ask->request.call = credentials->call;
    ask->request.timeout_s = bound(hub->metadata_timeout_s, credentials);
    hc_ask_address(ask, hub->endpoints[0]);
}

struct hc_breaker_key hc_ask_asker(const struct hc_hub_credentials *credentials,
                                   const struct hc_repo *repo, bool is_trusted)
{
    return (struct hc_breaker_key){.token = hc_keyed_hash_of(
                                       is_trusted ? credentials->token : NULL),
                                   .repo = hc_keyed_hash_of(repo->folder)};
}

void hc_ask_address(struct hc_ask *ask, struct hc_endpoint *endpoint)
{
    const char *token = ask->credentials->token;

    ask->endpoint = endpoint;
    ask->is_trusted = endpoint == ask->hub->endpoints[0];
    ask->target.endpoint = hc_endpoint_url(endpoint);
    ask->target.had_token = ask->is_trusted && token && token[0];
    ask->key = hc_ask_asker(ask->credentials, ask->target.repo, ask->is_trusted);
}

int hc_ask_fail(const struct hc_ask *ask, struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    hc_hub_target_describe(&ask->target, text);
    if (err->reason == HC_HUB_RATE_LIMITED)
        return hc_context(err, "%s", text);
    if (err->reason == HC_HUB_UNREACHABLE)
        return hc_context(err,
                          "%s: %.100s cannot be reached (check the network, the endpoint "
                          "and the proxy)",
                          text, asked(ask));
    if (err->reason == HC_BAD_HUB_REPLY)
        return hc_context(err, "%s: unusable answer from %.100s", text, asked(ask));
    return -1;
}

int hc_ask_once(struct hc_ask *ask, struct hc_error *err)
{
    hc_hub_response_clear(&ask->response);
    if (ask->target.had_token && !hc_text_is_printable(ask->credentials->token))
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "the Hub token has control characters in it");
    for (int hops = 0; hops <= HC_REDIRECTS_MAX; hops++) {
        int more = hop(ask, err);

        if (more <= 0)
            return more;
    }
    (void)hc_fail(err, HC_BAD_HUB_REPLY, "it redirects more than %d times",
                  HC_REDIRECTS_MAX);
    return hc_ask_fail(ask, err);
}

/* In an outage the endpoint makes the pauses, the same ones for all callers. One that has
 * outlasted all retries of a caller is not waited out by the next caller. */
static void note_outage(const struct hc_ask *ask, struct hc_retry *retry)
{
    unsigned pauses = hc_endpoint_pauses(ask->endpoint, &ask->key);

    retry->is_endpoint_paused = pauses > 0;
    if (pauses > ask->hub->retries)
        retry->attempt = ask->hub->retries;
}

/* Budget: the retries of the settings (retry.h), each after its pause; each attempt is as
 * many requests as there are redirects, HC_REDIRECTS_MAX at most. */
int hc_ask(struct hc_ask *ask, struct hc_buffer *body, struct hc_error *err)
{
    struct hc_retry retry = {.attempt =
                                 ask->credentials->no_retry ? ask->hub->retries : 0,
                             .max_pauses = ask->has_mirror ? RETRIES_BEFORE_MIRROR : 0};
    char start[HC_URL_MAX];

    hc_url_copy(start, ask->request.url);
    ask->request.write = body ? add_json : NULL;
    ask->request.ctx = body;
    ask->request.total_s =
        bound(JSON_TIMEOUTS * ask->hub->metadata_timeout_s, ask->credentials);
    while (hc_ask_once(ask, err) < 0) {
        if (ask->has_mirror && is_told_off(err))
            return -1;
        note_outage(ask, &retry);
        if (hc_retry_wait(&retry, ask->hub, ask->credentials->call, err) < 0)
            return -1;
        hc_url_copy(ask->request.url, start);
        if (body)
            body->used = 0;
    }
    return 0;
}

int hc_ask_next_page(struct hc_ask *ask, struct hc_error *err)
{
    char link[HC_URL_MAX];

    if (ask->response.has_bad_link)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "it answers with a Link header that cannot be understood");
    if (!ask->response.next_page[0])
        return 0;
    if (!hc_url_join(link, ask->request.url, ask->response.next_page) ||
        !hc_url_page(ask->request.url, ask->target.endpoint, ask->target.revision, link))
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "its next page is none of the same listing");
    return 1;
}
