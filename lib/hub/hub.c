/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and closing, and the bytes of a file. The other questions are in metadata.c and
 * listing.c; how they are asked is ask.h's, what the answers mean reply.h's.
 */
#include "hub.h"

#include "ask.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <stdlib.h>
#include <string.h>

/* The bytes of one download, on their way to who wants them. */
struct delivery {
    const struct hc_download *download;
    bool has_begun;
};

/* Before the first byte: is this the part that was asked for? */
static int begin(struct delivery *delivery, const struct hc_reply *reply,
                 struct hc_error *err)
{
    const struct hc_download *download = delivery->download;

    delivery->has_begun = true;
    if (reply->status == 200)
        return download->offset > 0 ? download->restart(download->ctx, err) : 0;
    if (reply->status != 206 || download->offset == 0)
        return hc_fail(err, HC_BAD_HUB_REPLY, "HTTP %ld instead of the file",
                       reply->status);
    if (!reply->has_range || reply->range_start != download->offset ||
        reply->range_total != download->size)
        return hc_fail(err, HC_BAD_HUB_REPLY, "another range than the one asked for");
    return 0;
}

static int deliver(void *ctx, const struct hc_reply *reply, const void *bytes,
                   size_t count, struct hc_error *err)
{
    struct delivery *delivery = ctx;

    if (!delivery->has_begun && begin(delivery, reply, err) < 0)
        return -1;
    return delivery->download->write(delivery->download->ctx, bytes, count, err);
}

/* Where the bytes are: what the caller heard from a HEAD, else the Hub's own address. */
static int locate(const struct hc_hub *hub, const struct hc_download *download,
                  char url[HC_URL_MAX], struct hc_error *err)
{
    if (!download->location)
        return hc_url_resolve(url, hc_hub_endpoint(hub), download->repo, download->commit,
                              download->path, err);
    if (!hc_url_join(url, hc_hub_endpoint(hub), download->location))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the file's location is no URL");
    return 0;
}

static struct hc_pool *open_pool(const struct hc_settings *settings, struct hc_error *err)
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
    return hc_pool_open(text, settings->bytes_per_second, err);
}

static int add_endpoint(struct hc_hub *hub, const char *url, unsigned requests_per_second,
                        struct hc_error *err)
{
    struct hc_endpoint *endpoint = hc_endpoint_new(url, requests_per_second, err);

    if (!endpoint)
        return -1;
    hub->endpoints[hub->endpoint_count++] = endpoint;
    return 0;
}

struct hc_hub *hc_hub_open(const struct hc_settings *settings, struct hc_error *err)
{
    HC_AUTO(hc_hub) *hub = calloc(1, sizeof *hub);

    if (!hub) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    hub->metadata_timeout_s = settings->metadata_timeout_s;
    hub->download_timeout_s = settings->download_timeout_s;
    hub->retries = settings->retries;
    hub->retry_base_ms = settings->retry_base_ms;
    if (add_endpoint(hub, settings->endpoint, settings->requests_per_second, err) < 0)
        return NULL;
    hub->questions = hc_questions_new(err);
    if (!hub->questions)
        return NULL;
    hub->pool = open_pool(settings, err);
    return hub->pool ? hc_take(&hub) : NULL;
}

void hc_hub_close(struct hc_hub *hub)
{
    if (!hub)
        return;
    hc_pool_close(hub->pool);
    hc_questions_free(hub->questions);
    for (size_t i = 0; i < hub->endpoint_count; i++)
        hc_endpoint_free(hub->endpoints[i]);
    free(hub);
}

int hc_hub_get(struct hc_hub *hub, const struct hc_download *download,
               const struct hc_caller *caller, struct hc_error *err)
{
    const struct hc_question about = {.repo = download->repo,
                                      .revision = download->commit,
                                      .path = download->path};
    struct delivery delivery = {.download = download};
    struct hc_ask ask;

    hc_ask_init(&ask, hub, caller, &about);
    ask.request.timeout_s = hub->download_timeout_s;
    ask.request.offset = download->offset;
    ask.request.write = deliver;
    ask.request.ctx = &delivery;
    if (locate(hub, download, ask.request.url, err) < 0 || hc_ask_once(&ask, err) < 0)
        return -1;
    if (!delivery.has_begun && begin(&delivery, &ask.reply, err) < 0)
        return hc_ask_fail(&ask, err);
    return 0;
}

const char *hc_hub_endpoint(const struct hc_hub *hub)
{
    return hc_endpoint_url(hub->endpoints[0]);
}
