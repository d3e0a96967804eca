/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The level of a line depends on the cause. A failed call is an error if the server, the
 * volume or the Hub failed it, and a warning if the request did, or if the file does not
 * exist. A failed transfer is a warning; one whose callers all left has not failed; a
 * small file that came without retries is for debugging only, because a repo may have a
 * hundred thousand of them.
 *
 * Two limits keep one cause from flooding a log that is meant to have few lines. If calls
 * that succeed have no line, failed calls of a reason have a second each: its first ten
 * get a line, and the end of that second a line with the number of the others. Stale
 * answers of a reason have a minute each, which begins with a line.
 *
 * One lock guards the counts of all reasons, for a few instructions at a time; no line is
 * written under it.
 */
#include "request_log.h"

#include "audit.h"
#include "caller.h"
#include "log.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>

#include <pthread.h>

enum {
    LINES_MAX = 10, /* of failed calls a second, for each reason */
    SECOND_MS = 1000,
    SMALL_BYTES = 1024 * 1024,
    ETAG_SHOWN = 12,
    FIELDS_MAX = 24
};

struct hc_request_log {
    struct hc_metrics *metrics;
    struct hc_audit *audit; /* NULL: none */
    struct {
        pthread_mutex_t lock;
        struct {
            int64_t since_ms; /* of the second that the next two belong to */
            unsigned lines, held_back;
        } calls[HC_REASON_COUNT];
        struct {
            bool has_line;
            int64_t line_ms; /* when the last line was written */
            unsigned silent; /* answers since */
        } stale[HC_REASON_COUNT];
    } shared;
};

struct hc_request_log *hc_request_log_new(struct hc_metrics *metrics,
                                          struct hc_error *err)
{
    struct hc_request_log *log = calloc(1, sizeof *log);

    if (!log) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    log->metrics = metrics;
    (void)pthread_mutex_init(&log->shared.lock, NULL);
    for (unsigned i = 0; i < HC_REASON_COUNT; i++)
        log->shared.calls[i].since_ms = INT64_MIN / 2;
    return log;
}

void hc_request_log_set_audit(struct hc_request_log *log, struct hc_audit *audit)
{
    log->audit = audit;
}

void hc_request_log_free(struct hc_request_log *log)
{
    if (!log)
        return;
    (void)pthread_mutex_destroy(&log->shared.lock);
    free(log);
}

/* ---- calls ------------------------------------------------------------------------- */

/*
 * Cancelled is no failure: the caller left, or the server stops. Probes of health come
 * every few seconds and say nothing, unless they fail.
 */
static enum hc_log_level request_level(const struct hc_request *request, unsigned code)
{
    switch (code) {
    case HC_STATUS_OK:
    case HC_STATUS_CANCELLED:
        return hc_text_starts(request->method, "/grpc.") ? HC_LOG_DEBUG : HC_LOG_INFO;
    case HC_STATUS_INTERNAL:
    case HC_STATUS_UNAVAILABLE:
    case HC_STATUS_DATA_LOSS:
    case HC_STATUS_RESOURCE_EXHAUSTED:
    case HC_STATUS_FAILED_PRECONDITION:
        return HC_LOG_ERROR;
    default:
        return HC_LOG_WARN;
    }
}

/* Failures without a reason (unknown method, unknown service) are logged as OTHER. */
static const char *reason_name(enum hc_reason reason)
{
    return reason == HC_OK ? "OTHER" : hc_reason_name(reason);
}

const char *hc_request_outcome(const struct hc_answer *answer)
{
    return answer->code == HC_STATUS_OK ? "OK" : reason_name(answer->reason);
}

const char *hc_source_name(enum hc_source source)
{
    static const char *const names[] = {[HC_SOURCE_UNSPECIFIED] = "",
                                        [HC_SOURCE_CACHE] = "cache",
                                        [HC_SOURCE_HUB] = "hub",
                                        [HC_SOURCE_LOCAL] = "local"};

    return names[source];
}

/*
 * The lock is held. Begins a second if the last one is over; returns its lines held back.
 */
static unsigned request_log_begin_second(struct hc_request_log *log,
                                         enum hc_reason reason, int64_t now_ms)
{
    unsigned held_back = log->shared.calls[reason].held_back;

    if (now_ms - log->shared.calls[reason].since_ms < SECOND_MS)
        return 0;
    log->shared.calls[reason].since_ms = now_ms;
    log->shared.calls[reason].lines = 0;
    log->shared.calls[reason].held_back = 0;
    return held_back;
}

static void log_held_back(enum hc_reason reason, unsigned count)
{
    if (count > 0)
        HC_LOG(HC_LOG_WARN, "more requests failed",
               HC_TEXT("reason", reason_name(reason)), HC_NUMBER("count", count));
}

/* True: this failure gets a line. The caller first logs `*held_back`, unless it is 0. */
static bool request_log_admits(struct hc_request_log *log, enum hc_reason reason,
                               int64_t now_ms, unsigned *held_back)
{
    HC_LOCKED(&log->shared.lock);

    *held_back = request_log_begin_second(log, reason, now_ms);
    if (log->shared.calls[reason].lines < LINES_MAX) {
        log->shared.calls[reason].lines++;
        return true;
    }
    log->shared.calls[reason].held_back++;
    return false;
}

/* Adds the caller, if it has proved an identity; returns the next free field. */
static struct hc_log_field *add_caller(struct hc_log_field *field,
                                       const struct hc_request *request)
{
    if (!request->identity)
        return field;
    *field++ = HC_TEXT("caller", request->identity->name);
    *field++ = HC_TEXT("kind", hc_caller_kind_name(request->identity->kind));
    return field;
}

/* Adds what the request is about, as far as that is known; likewise. */
static struct hc_log_field *add_subject(struct hc_log_field *field,
                                        const struct hc_request *request)
{
    const struct hc_subject *subject = &request->subject;

    if (!subject->repo_id[0])
        return field;
    *field++ = HC_TEXT("repo", subject->repo_id);
    *field++ = HC_TEXT("type", hc_repo_type_name(subject->repo_type));
    *field++ = HC_TEXT("revision", subject->revision);
    if (request->facts.commit[0])
        *field++ = HC_TEXT("commit", request->facts.commit);
    if (subject->filename[0])
        *field++ = HC_TEXT("file", subject->filename);
    return field;
}

static struct hc_log_field *add_facts(struct hc_log_field *field,
                                      const struct hc_facts *facts)
{
    if (facts->source == HC_SOURCE_UNSPECIFIED && facts->files == 0)
        return field;
    if (facts->source != HC_SOURCE_UNSPECIFIED) /* not of a removal */
        *field++ = HC_TEXT("source", hc_source_name(facts->source));
    *field++ = HC_NUMBER("files", facts->files);
    *field++ = HC_NUMBER("bytes", facts->bytes);
    if (facts->is_stale)
        *field++ = HC_TEXT("stale", "true");
    return field;
}

static void write_outcome(const struct hc_request *request,
                          const struct hc_answer *answer, int64_t duration_us)
{
    const char *method = request->method;
    struct hc_log_field fields[FIELDS_MAX] = {
        HC_NUMBER("id", request->id),
        HC_TEXT("rpc", *method == '/' ? method + 1 : method),
    };
    char trace_id[HC_TRACE_ID_SIZE];
    struct hc_log_field *field = add_caller(fields + 2, request);

    field = add_facts(add_subject(field, request), &request->facts);
    *field++ = HC_TEXT("outcome", hc_request_outcome(answer));
    *field++ = HC_MICROSECONDS("duration_ms", duration_us);
    hc_trace_format_id(&request->trace, trace_id);
    *field++ = HC_TEXT("trace_id", trace_id);
    if (answer->code != HC_STATUS_OK) {
        *field++ = HC_NUMBER("status", answer->code);
        *field++ = HC_TEXT("error", answer->message);
    }
    hc_log(request_level(request, answer->code),
           answer->code == HC_STATUS_OK ? "request done" : "request failed", fields);
}

void hc_request_log_add(struct hc_request_log *log, const struct hc_request *request,
                        const struct hc_answer *answer, int64_t now_ns)
{
    int64_t duration_us = (now_ns - request->arrived_ns) / 1000;
    unsigned held_back = 0;
    bool is_admitted = true;

    hc_metrics_add_request(log->metrics, request, answer, duration_us);
    if (log->audit)
        hc_audit_add(log->audit, request, answer, duration_us);
    if (!hc_log_wants(request_level(request, answer->code)))
        return;
    if (answer->code != HC_STATUS_OK && !hc_log_wants(HC_LOG_INFO))
        is_admitted =
            request_log_admits(log, answer->reason, now_ns / 1000000, &held_back);
    log_held_back(answer->reason, held_back);
    if (is_admitted)
        write_outcome(request, answer, duration_us);
}

void hc_request_log_write(void *log, const struct hc_request *request,
                          const struct hc_answer *answer)
{
    hc_request_log_add(log, request, answer, hc_monotonic_ns());
}

void hc_request_log_summarize(struct hc_request_log *log, int64_t now_ms)
{
    for (unsigned reason = 0; reason < HC_REASON_COUNT; reason++) {
        unsigned held_back;

        {
            HC_LOCKED(&log->shared.lock);

            held_back = request_log_begin_second(log, (enum hc_reason)reason, now_ms);
        }
        log_held_back((enum hc_reason)reason, held_back);
    }
}

/* ---- transfers --------------------------------------------------------------------- */

static enum hc_log_level transfer_level(const struct hc_transfer *transfer)
{
    if (transfer->reason != HC_OK)
        return transfer->reason == HC_CANCELLED ? HC_LOG_INFO : HC_LOG_WARN;
    if (transfer->size_bytes < SMALL_BYTES && transfer->retries == 0)
        return HC_LOG_DEBUG;
    return HC_LOG_INFO;
}

/*
 * Of the bytes that came from the Hub, without the time spent waiting for another
 * process.
 */
static uint64_t transfer_rate(const struct hc_transfer *transfer)
{
    uint64_t ms = transfer->duration_ms > transfer->waited_ms
                      ? transfer->duration_ms - transfer->waited_ms
                      : 1;

    return transfer->fetched_bytes * 1000 / ms;
}

void hc_request_log_write_transfer(void *ctx, const struct hc_transfer *transfer)
{
    struct hc_request_log *log = ctx;
    const struct hc_log_field none = {.key = NULL};
    char etag[ETAG_SHOWN + 1];

    hc_metrics_add_transfer(log->metrics, transfer);
    (void)hc_format(etag, sizeof etag, "%.*s", ETAG_SHOWN, transfer->etag);
    HC_LOG(transfer_level(transfer), "transfer", HC_TEXT("repo", transfer->repo_id),
           HC_TEXT("type", hc_repo_type_name(transfer->repo_type)),
           HC_TEXT("file", transfer->path), HC_TEXT("etag", etag),
           HC_NUMBER("size", transfer->size_bytes),
           HC_NUMBER("fetched", transfer->fetched_bytes),
           HC_NUMBER("resumed", transfer->resumed_bytes),
           HC_NUMBER("shared", transfer->shared_bytes),
           HC_NUMBER("duration_ms", transfer->duration_ms),
           HC_NUMBER("waited_ms", transfer->waited_ms),
           HC_NUMBER("bytes_per_second", transfer_rate(transfer)),
           HC_NUMBER("connections", transfer->connections),
           HC_NUMBER("retries", transfer->retries),
           transfer->reason == HC_OK
               ? none
               : HC_TEXT("reason", hc_reason_name(transfer->reason)));
}

/* ---- stale answers ----------------------------------------------------------------- */

bool hc_request_log_admits_stale(struct hc_request_log *log, enum hc_reason reason,
                                 int64_t now_ms, unsigned *count)
{
    HC_LOCKED(&log->shared.lock);

    *count = ++log->shared.stale[reason].silent;
    if (log->shared.stale[reason].has_line &&
        now_ms - log->shared.stale[reason].line_ms < HC_STALE_LINE_EVERY_MS)
        return false;
    log->shared.stale[reason].has_line = true;
    log->shared.stale[reason].line_ms = now_ms;
    log->shared.stale[reason].silent = 0;
    return true;
}

void hc_request_log_write_stale(void *ctx, const struct hc_stale *stale)
{
    struct hc_request_log *log = ctx;
    unsigned count;

    hc_metrics_add_stale(log->metrics, stale->reason);
    if (!hc_request_log_admits_stale(log, stale->reason, hc_monotonic_ms(), &count))
        return;
    HC_LOG(HC_LOG_WARN, "stale answer", HC_TEXT("reason", hc_reason_name(stale->reason)),
           HC_NUMBER("answers", count), HC_TEXT("repo", stale->repo_id),
           HC_TEXT("type", hc_repo_type_name(stale->repo_type)),
           HC_TEXT("revision", stale->revision), HC_TEXT("error", stale->message));
}
