/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Findings are sent as they come, and progress once a second at most, if the client keeps
 * up. A client that takes no findings for long ends the verification.
 */
#include "cache_verification.h"

#include "cache_codec.h"
#include "log.h"
#include "service_cache.h"
#include "verify_counts.h"

#include <base/error.h>
#include <hubcache/verification.h>

enum { PROGRESS_EVERY_MS = 1000 };

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

/* For the log: the first repo. */
static void call_describe(struct hc_blocking_call *call,
                          const struct hc_verify_request *request)
{
    if (request->selector_count > 0)
        hc_request_set_target(hc_blocking_call_request(call), &request->selectors[0].repo,
                              NULL);
}

int hc_cache_verify(void *ctx, struct hc_blocking_call *call,
                    const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    struct verify_stream stream = {.call = call, .counts = service->verify_counts};
    struct hc_verify_request request;
    struct hc_verify_result result;
    int verified;

    if (hc_decode_verify((const void *)message, hc_blocking_call_arena(call), &request,
                         err) < 0)
        return -1;
    call_describe(call, &request);
    request.found = stream_tell_finding;
    request.progress = stream_tell_progress;
    request.ctx = &stream;
    request.options = hc_blocking_call_options(call);
    request.options.is_background = true;
    verified = hc_resolver_verify(service->resolver, &request,
                                  hc_blocking_call_cancellation(call), &result, err);
    hc_verify_counts_end(stream.counts, &stream.verified, &result);
    if (stream.has_failed)
        *err = stream.err;
    return verified < 0 || stream.has_failed ? -1
                                             : stream_tell_result(&stream, &result, err);
}
