/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A failure that is the server's, the volume's or the Hub's is an error; one that is the
 * caller's, or an honest "not there", is a warning; success is for debugging only.
 */
#include "journal.h"

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

struct hc_journal {
    struct hc_metrics *metrics;
    struct {
        pthread_mutex_t lock;
        struct {
            int64_t since_ms;
            unsigned lines, held_back;
        } reasons[REASONS];
    } shared;
};

static enum hc_log_level level_of(unsigned code)
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

static const char *name_of(enum hc_reason reason)
{
    return reason == HC_OK ? "OTHER" : hc_reason_name(reason);
}

/* With the lock held. How many were held back in the second that is over, if it is. */
static unsigned begin_second(struct hc_journal *journal, enum hc_reason reason,
                             int64_t now_ms)
{
    unsigned held_back = journal->shared.reasons[reason].held_back;

    if (now_ms - journal->shared.reasons[reason].since_ms < SECOND_MS)
        return 0;
    journal->shared.reasons[reason].since_ms = now_ms;
    journal->shared.reasons[reason].lines = 0;
    journal->shared.reasons[reason].held_back = 0;
    return held_back;
}

static void tell_held_back(enum hc_reason reason, unsigned count)
{
    if (count > 0)
        HC_LOG(HC_LOG_WARN, "more requests failed", HC_TEXT("reason", name_of(reason)),
               HC_NUMBER("count", count));
}

/* Whether this failure gets a line of its own. */
static bool is_told(struct hc_journal *journal, enum hc_reason reason, int64_t now_ms)
{
    unsigned held_back;
    bool is_told;

    (void)pthread_mutex_lock(&journal->shared.lock);
    held_back = begin_second(journal, reason, now_ms);
    is_told = journal->shared.reasons[reason].lines < LINES_MAX;
    if (is_told)
        journal->shared.reasons[reason].lines++;
    else
        journal->shared.reasons[reason].held_back++;
    (void)pthread_mutex_unlock(&journal->shared.lock);
    tell_held_back(reason, held_back);
    return is_told;
}

void hc_journal_add(struct hc_journal *journal, const struct hc_rpc_record *record,
                    int64_t now_ms)
{
    const char *method = record->method ? record->method->path : "unknown";

    hc_metrics_add_request(journal->metrics, record);
    if (record->code == HC_STATUS_OK) {
        HC_LOG(HC_LOG_DEBUG, "request done", HC_NUMBER("id", record->id),
               HC_TEXT("method", method));
        return;
    }
    if (!hc_log_wants(level_of(record->code)) ||
        !is_told(journal, record->reason, now_ms))
        return;
    HC_LOG(level_of(record->code), "request failed", HC_NUMBER("id", record->id),
           HC_TEXT("method", method), HC_NUMBER("status", record->code),
           HC_TEXT("reason", name_of(record->reason)), HC_TEXT("error", record->message));
}

void hc_journal_write(void *ctx, const struct hc_rpc_record *record)
{
    hc_journal_add(ctx, record, hc_monotonic_ms());
}

void hc_journal_summarize(struct hc_journal *journal, int64_t now_ms)
{
    for (unsigned reason = 0; reason < REASONS; reason++) {
        unsigned held_back;

        (void)pthread_mutex_lock(&journal->shared.lock);
        held_back = begin_second(journal, (enum hc_reason)reason, now_ms);
        (void)pthread_mutex_unlock(&journal->shared.lock);
        tell_held_back((enum hc_reason)reason, held_back);
    }
}

struct hc_journal *hc_journal_new(struct hc_metrics *metrics, struct hc_error *err)
{
    struct hc_journal *journal = calloc(1, sizeof *journal);

    if (!journal) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    journal->metrics = metrics;
    (void)pthread_mutex_init(&journal->shared.lock, NULL);
    for (unsigned i = 0; i < REASONS; i++)
        journal->shared.reasons[i].since_ms = INT64_MIN / 2;
    return journal;
}

void hc_journal_free(struct hc_journal *journal)
{
    if (!journal)
        return;
    (void)pthread_mutex_destroy(&journal->shared.lock);
    free(journal);
}
