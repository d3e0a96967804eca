/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings are sent as they are made, and progress once a second at most, if the client
 * keeps up. A client that takes no findings for long ends the verification.
 */
#include "cache_verification.h"

#include "cache_codec.h"
#include "cached_target.h"
#include "log.h"
#include "service_cache.h"
#include "verify_counts.h"

#include <base/error.h>
#include <hubcache/verification.h>

enum { PROGRESS_EVERY_MS = 1000, SELECTORS_MAX = 1000 };

struct verify_stream {
    struct hc_blocking_call *call;
    struct hc_verify_counts *counts;
    struct hc_verified verified;
    int64_t told_ms;     /* progress, last */
    bool has_failed;     /* to send */
    struct hc_error err; /* why */
};

static void stream_tell_progress(void *ctx, const struct hc_verify_progress *progress)
{
    struct verify_stream *stream = ctx;
    Hubcache__V1__VerifyResponse event = HUBCACHE__V1__VERIFY_RESPONSE__INIT;
    Hubcache__V1__VerifyProgress encoded;
    int64_t now_ms = hc_monotonic_ms();

    hc_verify_counts_follow(stream->counts, &stream->verified, progress->blobs_hashed,
                            progress->bytes_hashed);
    if (stream->has_failed || now_ms - stream->told_ms < PROGRESS_EVERY_MS)
        return;
    stream->told_ms = now_ms;
    hc_encode_verify_progress(progress, &encoded);
    event.event_case = HUBCACHE__V1__VERIFY_RESPONSE__EVENT_PROGRESS;
    event.progress = &encoded;
    hc_blocking_call_offer(stream->call, &event.base);
}

static void stream_tell_finding(void *ctx, const struct hc_finding *finding)
{
    struct verify_stream *stream = ctx;
    Hubcache__V1__VerifyResponse event = HUBCACHE__V1__VERIFY_RESPONSE__INIT;
    Hubcache__V1__Finding encoded;

    hc_verify_counts_add_finding(stream->counts, finding);
    hc_encode_finding(finding, &encoded);
    event.event_case = HUBCACHE__V1__VERIFY_RESPONSE__EVENT_FINDING;
    event.finding = &encoded;
    if (!stream->has_failed &&
        hc_blocking_call_send(stream->call, &event.base, &stream->err) < 0) {
        stream->has_failed = true;
        hc_cancellation_cancel(hc_blocking_call_cancellation(stream->call));
    }
}

static int stream_tell_result(const struct verify_stream *stream,
                              const struct hc_verify_result *result, struct hc_error *err)
{
    Hubcache__V1__VerifyResponse event = HUBCACHE__V1__VERIFY_RESPONSE__INIT;
    Hubcache__V1__VerifyResult encoded;

    hc_encode_verify_result(result, &encoded);
    event.event_case = HUBCACHE__V1__VERIFY_RESPONSE__EVENT_RESULT;
    event.result = &encoded;
    return hc_blocking_call_send(stream->call, &event.base, err);
}

static int verify_decode(const struct hc_cache_service *service,
                         struct hc_blocking_call *call,
                         const Hubcache__V1__VerifyRequest *message,
                         struct hc_verify_request *request, struct hc_error *err)
{
    size_t count = message->n_selectors;
    struct hc_verify_selector *selectors;

    if (count > SELECTORS_MAX)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "selectors",
                             "%zu selectors are given; %d is the most", count,
                             SELECTORS_MAX);
    selectors =
        hc_arena_take(hc_blocking_call_arena(call), (count + 1) * sizeof *selectors);
    if (!selectors)
        return hc_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        const Hubcache__V1__CacheSelector *selector = message->selectors[i];

        selectors[i] = (struct hc_verify_selector){
            .patterns = (const char *const *)selector->patterns,
            .pattern_count = selector->n_patterns,
        };
        if (hc_decode_cached_target(selector->repo_id, selector->repo_type,
                                    selector->revision, &selectors[i].repo, err) < 0 ||
            hc_cached_target_replace_alias(service, call, &selectors[i].repo, err) < 0)
            return -1;
    }
    if (count > 0) /* for the log */
        hc_request_set_target(hc_blocking_call_request(call), &selectors[0].repo, NULL);
    *request = (struct hc_verify_request){
        .selectors = selectors,
        .selector_count = count,
        .dry_run = message->dry_run,
        .repair = message->repair,
        .bytes_per_second = message->bytes_per_second,
        .options = hc_blocking_call_options(call),
    };
    return 0;
}

int hc_cache_verify(void *ctx, struct hc_blocking_call *call,
                    const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    struct verify_stream stream = {.call = call, .counts = service->verify_counts};
    struct hc_verify_request request;
    struct hc_verify_result result;
    int verified;

    if (verify_decode(service, call, (const void *)message, &request, err) < 0)
        return -1;
    request.found = stream_tell_finding;
    request.progress = stream_tell_progress;
    request.ctx = &stream;
    request.options.is_background = true;
    verified = hc_resolver_verify(service->resolver, &request,
                                  hc_blocking_call_cancellation(call), &result, err);
    hc_verify_counts_end(stream.counts, &stream.verified, &result);
    if (stream.has_failed)
        *err = stream.err;
    return verified < 0 || stream.has_failed ? -1
                                             : stream_tell_result(&stream, &result, err);
}
