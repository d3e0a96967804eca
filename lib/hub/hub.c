/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing a hub, and the bytes of a file. Metadata is in metadata.c, trees in
 * listing.c. How one endpoint is asked is hub_request.h's, several of them mirror.h's;
 * what a response means is response.h's.
 *
 * A download is one attempt. Before the first byte, the headers are compared with what
 * was asked: status, length, range (RFC 9110, 14.4 and 15.3.7) and commit. Only then is
 * the caller told where the bytes come from, how large the file is, and to start over
 * when all of it comes; what the caller has written is never of another file or another
 * range.
 */
#include "hub.h"

#include "address.h"
#include "mirror.h"
#include "retry.h"
#include "url.h"

#include <base/error.h>
#include <base/size.h>
#include <base/text.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int response_check_length(const struct hc_hub_response *response,
                                 uint64_t expected, struct hc_error *err)
{
    if (!response->has_length || expected == HC_SIZE_UNKNOWN ||
        response->content_length == expected)
        return 0;
    return hc_fail(err, HC_BAD_HUB_REPLY,
                   "its length is %" PRIu64 " bytes, and should be %" PRIu64,
                   response->content_length, expected);
}

/* The part may end early, as a server may choose; it may not begin or end elsewhere. */
static int download_check_range(struct hc_hub_request *request,
                                const struct hc_hub_response *response,
                                struct hc_error *err)
{
    const struct hc_hub_download *download = request->download;
    uint64_t until = download->until > 0 ? download->until : download->size;

    request->is_part_unnamed = !response->has_range && !response->has_bad_range;
    if (request->is_part_unnamed)
        return hc_fail(err, HC_BAD_HUB_REPLY, "a part without Content-Range");
    if (!response->has_range || response->range_start != download->offset ||
        response->range_end > until ||
        (response->range_total > 0 && download->size != HC_SIZE_UNKNOWN &&
         response->range_total != download->size))
        return hc_fail(err, HC_BAD_HUB_REPLY, "another range than the one asked for");
    return response_check_length(response, response->range_end - response->range_start,
                                 err);
}

static int download_check_response(struct hc_hub_request *request,
                                   const struct hc_hub_response *response,
                                   struct hc_error *err)
{
    if (response->status == 200)
        return response_check_length(response, request->download->size, err);
    if (response->status == 206 && request->http.until + request->http.offset > 0)
        return download_check_range(request, response, err);
    return hc_fail(err, HC_BAD_HUB_REPLY, "HTTP %ld instead of the file",
                   response->status);
}

/* What the response says of the file's size, when that is not known yet. */
static int download_report_size(const struct hc_hub_download *download,
                                const struct hc_hub_response *response,
                                struct hc_error *err)
{
    uint64_t size = HC_SIZE_UNKNOWN;

    if (response->status == 206 && response->range_total > 0)
        size = response->range_total;
    if (response->status == 200 && response->has_length)
        size = response->content_length;
    if (download->size != HC_SIZE_UNKNOWN || size == HC_SIZE_UNKNOWN)
        return 0;
    return download->learn_size(download->ctx, size, err);
}

static int download_begin(struct hc_hub_request *request,
                          const struct hc_hub_response *response, struct hc_error *err)
{
    const struct hc_hub_download *download = request->download;
    bool wants_part = download->offset > 0 || download->until > 0;

    if (download_check_response(request, response, err) < 0)
        return -1;
    request->has_begun = true;
    if (hc_hub_response_check_commit(response, &request->target, err) < 0)
        return -1;
    if (download->came_from)
        hc_url_copy(download->came_from, request->http.url);
    if (download_report_size(download, response, err) < 0)
        return -1;
    return response->status == 200 && wants_part ? download->restart(download->ctx, err)
                                                 : 0;
}

static int download_write(void *ctx, const struct hc_hub_response *response,
                          const void *bytes, size_t count, struct hc_error *err)
{
    struct hc_hub_request *request = ctx;

    if (!request->has_begun && download_begin(request, response, err) < 0)
        return -1;
    hc_hub_tally_add_bytes(&request->hub->tally, request->host, count);
    return request->download->write(request->download->ctx, bytes, count, err);
}

static bool download_watch(void *ctx, int64_t waited_ms)
{
    const struct hc_hub_download *download =
        ((const struct hc_hub_request *)ctx)->download;

    return download->watch && download->watch(download->ctx, waited_ms);
}

/* Requests the URL that is set, for the part or for the whole file. */
static int download_request(struct hc_hub_request *request, bool part,
                            struct hc_error *err)
{
    request->http.offset = part ? request->download->offset : 0;
    request->http.until = part ? request->download->until : 0;
    if (hc_hub_request_attempt(request, err) < 0)
        return -1;
    if (!request->has_begun && !request->has_enough &&
        download_begin(request, &request->response, err) < 0)
        return hc_hub_request_fail(request, err);
    return 0;
}

/* One attempt at the URL that is set: one request, or two when the part that came does
 * not say which one it is. */
static int download_attempt(struct hc_hub_request *request, struct hc_error *err)
{
    const struct hc_hub_download *download = request->download;
    int result;

    request->http.timeout_s = request->hub->download_timeout_s;
    request->http.write = download_write;
    request->http.watch = download_watch;
    request->http.ctx = request;
    result = download_request(request, true, err);
    if (result < 0 && request->is_part_unnamed)
        result = download_request(request, false, err);
    if (download->was_redirected)
        *download->was_redirected = request->was_redirected;
    return result;
}

static int query_send_get(void *ctx, struct hc_hub_request *request, struct hc_error *err)
{
    const struct hc_repo_file *file = &request->download->request->file;

    (void)ctx;
    if (hc_url_resolve(request->http.url, request->target.endpoint, file->repo,
                       file->revision, file->path, err) < 0)
        return -1;
    return download_attempt(request, err);
}

/* From where a HEAD said the bytes are, whichever endpoint that was. */
static int download_get_located(struct hc_hub_request *request, struct hc_error *err)
{
    const struct hc_hub *hub = request->hub;
    size_t count = request->credentials->endpoint ? 0 : hub->endpoint_count;

    if (!hc_url_join(request->http.url, request->target.endpoint,
                     request->download->location))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the file's location is no URL");
    for (size_t i = count; i-- > 0;) {
        if (hc_url_same_origin(request->http.url, hc_endpoint_url(hub->endpoints[i])))
            hc_hub_request_set_endpoint(request, hub->endpoints[i]);
    }
    return download_attempt(request, err);
}

static struct hc_http_pool *hub_open_pool(const struct hc_settings *settings,
                                          struct hc_error *err)
{
    char text[512];
    const char *extra = settings->user_agent ? settings->user_agent : "";

    if (!hc_text_is_printable(extra) ||
        hc_format(text, sizeof text, "hubcache/" HC_VERSION "%s%s", extra[0] ? "; " : "",
                  extra) < 0) {
        (void)hc_fail_field(err, HC_INVALID_OPTIONS, "user_agent",
                            "the user agent is too long or has control characters");
        return NULL;
    }
    return hc_http_pool_open(text, settings->ca_file, settings->bytes_per_second, err);
}

static int hub_add_endpoint(struct hc_hub *hub, const char *url,
                            unsigned requests_per_second, struct hc_error *err)
{
    struct hc_endpoint *endpoint = hc_endpoint_new(url, requests_per_second, err);

    if (!endpoint)
        return -1;
    hub->endpoints[hub->endpoint_count++] = endpoint;
    return 0;
}

/* The Hub, then its mirrors; each has a budget of its own. */
static int hub_add_endpoints(struct hc_hub *hub, const struct hc_settings *settings,
                             struct hc_error *err)
{
    unsigned budget = settings->requests_per_second;

    if (settings->mirror_count >= HC_ENDPOINTS_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "mirrors",
                             "%zu mirrors are set; %d is the most",
                             settings->mirror_count, HC_ENDPOINTS_MAX - 1);
    if (hub_add_endpoint(hub, settings->endpoint, budget, err) < 0)
        return -1;
    for (size_t i = 0; i < settings->mirror_count; i++) {
        if (hub_add_endpoint(hub, settings->mirrors[i], budget, err) < 0) {
            (void)hc_format(err->field, sizeof err->field, "mirrors");
            return hc_context(err, "mirror %zu", i + 1);
        }
    }
    return 0;
}

struct hc_hub *hc_hub_open(const struct hc_settings *settings, struct hc_error *err)
{
    HC_AUTO(hc_hub) *hub = calloc(1, sizeof *hub);

    if (!hub) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&hub->shared.lock, NULL);
    hc_shared_queries_init(&hub->queries);
    hub->metadata_timeout_s = settings->metadata_timeout_s;
    hub->download_timeout_s = settings->download_timeout_s;
    hub->retries = settings->retries;
    hub->retry_base_ms = settings->retry_base_ms;
    hub->shared.requests_per_second = settings->requests_per_second;
    if (hub_add_endpoints(hub, settings, err) < 0)
        return NULL;
    hub->pool = hub_open_pool(settings, err);
    if (!hub->pool)
        return NULL;
    for (size_t i = 0; i < hub->endpoint_count; i++) {
        if (settings->allow_private_redirects ||
            hc_address_url_is_private(hc_endpoint_url(hub->endpoints[i])))
            hc_http_pool_allow_private(hub->pool);
    }
    return hc_take(&hub);
}

void hc_hub_close(struct hc_hub *hub)
{
    if (!hub)
        return;
    hc_http_pool_close(hub->pool);
    hc_single_flights_clear(&hub->queries);
    for (size_t i = 0; i < hub->shared.storage_host_count; i++)
        hc_endpoint_free(hub->shared.storage_hosts[i]);
    for (size_t i = 0; i < hub->shared.other_count; i++)
        hc_endpoint_free(hub->shared.others[i]);
    (void)pthread_mutex_destroy(&hub->shared.lock);
    for (size_t i = 0; i < hub->endpoint_count; i++)
        hc_endpoint_free(hub->endpoints[i]);
    free(hub);
}

void hc_hub_set_rates(struct hc_hub *hub, unsigned requests_per_second,
                      uint64_t bytes_per_second)
{
    HC_LOCKED(&hub->shared.lock);

    hc_http_pool_set_bandwidth(hub->pool, bytes_per_second);
    hub->shared.requests_per_second = requests_per_second;
    for (size_t i = 0; i < hub->endpoint_count; i++)
        hc_endpoint_set_budget(hub->endpoints[i], requests_per_second);
    for (size_t i = 0; i < hub->shared.other_count; i++)
        hc_endpoint_set_budget(hub->shared.others[i], requests_per_second);
}

int hc_hub_get(struct hc_hub *hub, const struct hc_hub_download *download,
               const struct hc_hub_credentials *credentials, struct hc_error *err)
{
    const struct hc_repo_file *file = &download->request->file;
    const struct hc_hub_query query = {.hub = hub,
                                       .credentials = credentials,
                                       .target = {.repo = file->repo,
                                                  .revision = file->revision,
                                                  .path = file->path},
                                       .is_known_to_exist = true,
                                       .download = download,
                                       .send = query_send_get};
    struct hc_hub_request request;

    if (!download->location)
        return hc_hub_query_run(&query, err);
    hc_hub_request_init(&request, hub, credentials, &query.target);
    request.download = download;
    request.has_mirror = hc_hub_endpoint_count(hub, credentials) > 1;
    if (download_get_located(&request, err) == 0)
        return 0;
    if (request.has_mirror && !request.has_begun && hc_retry_may_help(err))
        return hc_hub_query_run(&query, err);
    return hc_fail_about_file(err, file->path);
}

void hc_hub_counts(const struct hc_hub *hub, struct hc_hub_counts *counts)
{
    hc_hub_tally_read(&hub->tally, counts);
}

/* The Hub, its mirrors, the others. */
bool hc_hub_endpoint_state(struct hc_hub *hub, size_t number,
                           struct hc_endpoint_state *state)
{
    size_t other = number - hub->endpoint_count;
    HC_LOCKED(&hub->shared.lock);

    if (number >= hub->endpoint_count && other >= hub->shared.other_count)
        return false;
    hc_endpoint_state(number < hub->endpoint_count ? hub->endpoints[number]
                                                   : hub->shared.others[other],
                      state);
    return true;
}

const char *hc_hub_endpoint(const struct hc_hub *hub)
{
    return hc_endpoint_url(hub->endpoints[0]);
}

bool hc_hub_has_endpoint(const struct hc_hub *hub, const char *url)
{
    return hc_endpoint_has_url(hub->endpoints[0], url);
}

/* With the lock. NULL: it cannot be added. */
static struct hc_endpoint *hub_find_other(struct hc_hub *hub, const char *url,
                                          struct hc_error *err)
{
    struct hc_endpoint *endpoint;

    for (size_t i = 1; i < hub->endpoint_count; i++) {
        if (hc_endpoint_has_url(hub->endpoints[i], url))
            return hub->endpoints[i];
    }
    for (size_t i = 0; i < hub->shared.other_count; i++) {
        if (hc_endpoint_has_url(hub->shared.others[i], url))
            return hub->shared.others[i];
    }
    if (hub->shared.other_count == HC_OTHER_ENDPOINTS_MAX) {
        (void)hc_fail_field(err, HC_INVALID_OPTIONS, "endpoint",
                            "there are %d other endpoints since the start, and no more "
                            "are possible: restart to forget those of earlier policies",
                            HC_OTHER_ENDPOINTS_MAX);
        return NULL;
    }
    endpoint = hc_endpoint_new(url, hub->shared.requests_per_second, err);
    if (!endpoint)
        return NULL;
    if (hc_address_url_is_private(url))
        atomic_store(hc_endpoint_private_flag(endpoint), true);
    return hub->shared.others[hub->shared.other_count++] = endpoint;
}

int hc_hub_find_endpoint(struct hc_hub *hub, const char *url,
                         struct hc_endpoint **endpoint, struct hc_error *err)
{
    HC_LOCKED(&hub->shared.lock);

    *endpoint = NULL;
    if (hc_hub_has_endpoint(hub, url))
        return 0;
    *endpoint = hub_find_other(hub, url, err);
    return *endpoint ? 0 : -1;
}

/* With the lock. */
static struct hc_endpoint *hub_add_storage_host(struct hc_hub *hub, const char *url)
{
    char origin[HC_URL_MAX];
    struct hc_error unused;
    struct hc_endpoint *host = NULL;

    if (hub->shared.storage_host_count < HC_STORAGE_HOSTS_MAX &&
        hc_url_join(origin, url, "/"))
        host = hc_endpoint_new(origin, 0, &unused);
    if (host)
        hub->shared.storage_hosts[hub->shared.storage_host_count++] = host;
    return host;
}

/* The list only grows: the Hub has a handful of such hosts. */
struct hc_endpoint *hc_hub_find_storage_host(struct hc_hub *hub, const char *url)
{
    HC_LOCKED(&hub->shared.lock);

    for (size_t i = 0; i < hub->shared.storage_host_count; i++) {
        if (hc_url_same_origin(url, hc_endpoint_url(hub->shared.storage_hosts[i])))
            return hub->shared.storage_hosts[i];
    }
    return hub_add_storage_host(hub, url);
}
