/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure that is the server's, the volume's or the Hub's is an error; one that is the
 * caller's, or an honest "not there", is a warning; success is for debugging only.
 */
#include "request_log.h"

#include "log.h"
#include "metrics.h"

#include <base/error.h>
#include <hubcache/cancellation.h>

#include <pthread.h>

enum {
    LINES_MAX = 10, /* a second, for each reason */
    SECOND_MS = 1000
};

/* HC_OK for failures without a reason, and all that has a row. */
enum reason_number {
    REASON_OTHER,
#define HC_REASON_NUMBER(reason, status, exit) REASON_##reason,
    HC_REASONS(HC_REASON_NUMBER)
#undef HC_REASON_NUMBER
        REASONS
};

struct hc_request_log {
    struct hc_metrics *metrics;
    struct {
        pthread_mutex_t lock;
        struct {
            int64_t since_ms;
            unsigned lines, held_back;
        } reasons[REASONS];
    } shared;
};

static enum hc_log_level outcome_level(unsigned code)
{
    switch (code) {
    case HC_STATUS_OK:
    case HC_STATUS_CANCELLED:
        return HC_LOG_DEBUG;
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

static const char *reason_name(enum hc_reason reason)
{
    return reason == HC_OK ? "OTHER" : hc_reason_name(reason);
}

/* With the lock held. How many were held back in the second that is over, if it is. */
static unsigned request_log_begin_second(struct hc_request_log *log,
                                         enum hc_reason reason, int64_t now_ms)
{
    unsigned held_back = log->shared.reasons[reason].held_back;

    if (now_ms - log->shared.reasons[reason].since_ms < SECOND_MS)
        return 0;
    log->shared.reasons[reason].since_ms = now_ms;
    log->shared.reasons[reason].lines = 0;
    log->shared.reasons[reason].held_back = 0;
    return held_back;
}

static void log_held_back(enum hc_reason reason, unsigned count)
{
    if (count > 0)
        HC_LOG(HC_LOG_WARN, "more requests failed",
               HC_TEXT("reason", reason_name(reason)), HC_NUMBER("count", count));
}

/* Whether this failure gets a line of its own. */
static bool request_log_admits(struct hc_request_log *log, enum hc_reason reason,
                               int64_t now_ms)
{
    unsigned held_back;
    bool request_log_admits;

    (void)pthread_mutex_lock(&log->shared.lock);
    held_back = request_log_begin_second(log, reason, now_ms);
    request_log_admits = log->shared.reasons[reason].lines < LINES_MAX;
    if (request_log_admits)
        log->shared.reasons[reason].lines++;
    else
        log->shared.reasons[reason].held_back++;
    (void)pthread_mutex_unlock(&log->shared.lock);
    log_held_back(reason, held_back);
    return request_log_admits;
}

void hc_request_log_add(struct hc_request_log *log, const struct hc_rpc_outcome *record,
                        int64_t now_ms)
{
    const char *method = record->method ? record->method->path : "unknown";

    hc_metrics_add_request(log->metrics, record);
    if (record->code == HC_STATUS_OK) {
        HC_LOG(HC_LOG_DEBUG, "request done", HC_NUMBER("id", record->id),
               HC_TEXT("method", method));
        return;
    }
    if (!hc_log_wants(outcome_level(record->code)) ||
        !request_log_admits(log, record->reason, now_ms))
        return;
    HC_LOG(outcome_level(record->code), "request failed", HC_NUMBER("id", record->id),
           HC_TEXT("method", method), HC_NUMBER("status", record->code),
           HC_TEXT("reason", reason_name(record->reason)),
           HC_TEXT("error", record->message));
}

void hc_request_log_write(void *ctx, const struct hc_rpc_outcome *record)
{
    hc_request_log_add(ctx, record, hc_monotonic_ms());
}

void hc_request_log_summarize(struct hc_request_log *log, int64_t now_ms)
{
    for (unsigned reason = 0; reason < REASONS; reason++) {
        unsigned held_back;

        (void)pthread_mutex_lock(&log->shared.lock);
        held_back = request_log_begin_second(log, (enum hc_reason)reason, now_ms);
        (void)pthread_mutex_unlock(&log->shared.lock);
        log_held_back((enum hc_reason)reason, held_back);
    }
}

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
    for (unsigned i = 0; i < REASONS; i++)
        log->shared.reasons[i].since_ms = INT64_MIN / 2;
    return log;
}

void hc_request_log_free(struct hc_request_log *log)
{
    if (!log)
        return;
    (void)pthread_mutex_destroy(&log->shared.lock);
    free(log);
}
