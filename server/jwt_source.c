/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the last good read are kept, so that an answer of the same keys, which is
 * the rule, leaves what callers have shown with them remembered.
 *
 * A URL is asked without following redirects, through the proxy of the environment, and
 * with the token, if there is one, read anew each time: Kubernetes rotates it.
 */
#include "jwt_source.h"

#include "jwt_keys.h"
#include "watched_file.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>
#include <hub/http_exchange.h>

#include <string.h>

enum {
    EVERY_MS = 60 * 1000,
    WANTED_EVERY_MS = 5 * 1000,
    TIMEOUT_S = 5,
    TOTAL_S = 10,
    TOKEN_BYTES_MAX = 16 * 1024
};

struct hc_jwt_source {
    const struct hc_jwt_source_settings *settings;
    struct hc_watched_file file;
    struct hc_cancellation *end;
    bool was_asked, is_wanted;
    int64_t asked_ms; /* when the URL was asked last */
    struct hc_buffer known;
};

bool hc_jwt_location_is_url(const char *location)
{
    return hc_text_starts(location, "http://") || hc_text_starts(location, "https://");
}

struct hc_jwt_source *hc_jwt_source_new(const struct hc_jwt_source_settings *settings,
                                        struct hc_cancellation *end, struct hc_error *err)
{
    struct hc_jwt_source *source = calloc(1, sizeof *source);

    if (!source) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    source->settings = settings;
    source->end = end;
    source->file.path = settings->location;
    return source;
}

void hc_jwt_source_free(struct hc_jwt_source *source)
{
    if (!source)
        return;
    hc_buffer_clear(&source->known);
    free(source);
}

void hc_jwt_source_expire(struct hc_jwt_source *source)
{
    source->file.was_looked_at = false;
}

static bool source_is_due(struct hc_jwt_source *source, int64_t now_ms, bool is_wanted)
{
    if (!hc_jwt_location_is_url(source->settings->location))
        return hc_watched_file_has_changed(&source->file);
    source->is_wanted = source->is_wanted || is_wanted;
    if (source->was_asked &&
        now_ms - source->asked_ms < (source->is_wanted ? WANTED_EVERY_MS : EVERY_MS))
        return false;
    source->was_asked = true;
    source->is_wanted = false;
    source->asked_ms = now_ms;
    return true;
}

static int body_take(void *ctx, const struct hc_hub_response *response, const void *bytes,
                     size_t count, struct hc_error *err)
{
    struct hc_buffer *body = ctx;

    (void)response;
    if (body->used + count > HC_JWT_KEYS_BYTES_MAX)
        return hc_fail(err, HC_BAD_HUB_REPLY, "the answer is longer than 256 KiB");
    return hc_buffer_add(body, bytes, count, err);
}

/* The token is wiped by the calling function; NULL without failure: there is no file. */
static int source_read_token(const struct hc_jwt_source *source, char **token,
                             struct hc_error *err)
{
    const struct hc_watched_file file = {.path = source->settings->token_file};
    size_t size;

    *token = NULL;
    if (!file.path)
        return 0;
    *token = hc_watched_file_read(&file, TOKEN_BYTES_MAX, &size, err);
    if (!*token)
        return -1;
    (void)hc_text_trim(*token);
    return 0;
}

static int source_ask(const struct hc_jwt_source *source, const char *token,
                      struct hc_buffer *body, struct hc_error *err)
{
    HC_AUTO_FREE struct hc_http_request *request = calloc(1, sizeof *request);
    HC_AUTO_FREE struct hc_hub_response *response = malloc(sizeof *response);
    HC_AUTO(hc_http_pool) *pool =
        hc_http_pool_open("hubcached", source->settings->ca_file, 0, err);

    if (!pool)
        return -1;
    if (!request || !response ||
        hc_format(request->url, sizeof request->url, "%s", source->settings->location) <
            0)
        return hc_fail_memory(err);
    hc_hub_response_clear(response);
    request->token = token;
    request->timeout_s = TIMEOUT_S;
    request->total_s = TOTAL_S;
    request->cancellation = source->end;
    request->write = body_take;
    request->ctx = body;
    if (hc_http_perform(pool, request, response, err) < 0)
        return -1;
    if (response->status == 200)
        return 0;
    return hc_fail(err, HC_HUB_UNREACHABLE, "HTTP status %ld", response->status);
}

static int source_read_url(const struct hc_jwt_source *source, struct hc_buffer *body,
                           struct hc_error *err)
{
    HC_AUTO_WIPE char *token = NULL;

    if (source_read_token(source, &token, err) < 0)
        return hc_context(err, "auth-jwt-keys-token-file");
    if (source_ask(source, token, body, err) < 0)
        return hc_context(err, "auth-jwt-keys: %s", source->settings->location);
    return 0;
}

static int source_read_file(const struct hc_jwt_source *source, struct hc_buffer *body,
                            struct hc_error *err)
{
    size_t size;
    HC_AUTO_FREE char *text =
        hc_watched_file_read(&source->file, HC_JWT_KEYS_BYTES_MAX, &size, err);

    if (!text)
        return hc_context(err, "auth-jwt-keys");
    return hc_buffer_add(body, text, size, err);
}

static bool source_knows(const struct hc_jwt_source *source, const struct hc_buffer *body)
{
    return source->known.used == body->used && body->used > 0 &&
           memcmp(source->known.bytes, body->bytes, body->used) == 0;
}

int hc_jwt_source_read(struct hc_jwt_source *source, int64_t now_ms, bool is_wanted,
                       struct hc_jwt_keys **keys, struct hc_error *err)
{
    const char *location = source->settings->location;
    HC_AUTO_VALUE(hc_buffer) body = {0};

    if (!source_is_due(source, now_ms, is_wanted))
        return 0;
    if ((hc_jwt_location_is_url(location) ? source_read_url(source, &body, err)
                                          : source_read_file(source, &body, err)) < 0)
        return -1;
    if (source_knows(source, &body))
        return 0;
    *keys = hc_jwt_keys_parse(body.bytes ? body.bytes : "", body.used, location, err);
    if (!*keys)
        return -1;
    hc_buffer_clear(&source->known);
    source->known = body;
    body = (struct hc_buffer){0};
    return 1;
}
