/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock for all reasons, held for a few instructions.
 */
#include "stale_journal.h"

#include "log.h"

#include <base/error.h>

#include <pthread.h>
#include <stdlib.h>

struct hc_stale_journal {
    struct hc_metrics *metrics;
    struct {
        pthread_mutex_t lock;
        struct {
            bool has_line;
            int64_t line_ms; /* when the last line was written */
            unsigned silent; /* answers since */
        } reasons[HC_REASON_COUNT];
    } shared;
};

struct hc_stale_journal *hc_stale_journal_new(struct hc_metrics *metrics,
                                              struct hc_error *err)
{
    struct hc_stale_journal *journal = calloc(1, sizeof *journal);

    if (!journal) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    journal->metrics = metrics;
    (void)pthread_mutex_init(&journal->shared.lock, NULL);
    return journal;
}

void hc_stale_journal_free(struct hc_stale_journal *journal)
{
    if (!journal)
        return;
    (void)pthread_mutex_destroy(&journal->shared.lock);
    free(journal);
}

bool hc_stale_journal_admits(struct hc_stale_journal *journal, enum hc_reason reason,
                             int64_t now_ms, unsigned *count)
{
    bool is_admitted;

    (void)pthread_mutex_lock(&journal->shared.lock);
    *count = ++journal->shared.reasons[reason].silent;
    is_admitted =
        !journal->shared.reasons[reason].has_line ||
        now_ms - journal->shared.reasons[reason].line_ms >= HC_STALE_LINE_EVERY_MS;
    if (is_admitted) {
        journal->shared.reasons[reason].has_line = true;
        journal->shared.reasons[reason].line_ms = now_ms;
        journal->shared.reasons[reason].silent = 0;
    }
    (void)pthread_mutex_unlock(&journal->shared.lock);
    return is_admitted;
}

void hc_stale_journal_write(void *journal, const struct hc_stale *stale)
{
    struct hc_stale_journal *self = journal;
    unsigned count;

    hc_metrics_add_stale(self->metrics, stale->reason);
    if (!hc_stale_journal_admits(self, stale->reason, hc_monotonic_ms(), &count))
        return;
    HC_LOG(HC_LOG_WARN, "stale answer", HC_TEXT("reason", hc_reason_name(stale->reason)),
           HC_NUMBER("answers", count), HC_TEXT("repo", stale->repo_id),
           HC_TEXT("type", hc_repo_type_name(stale->repo_type)),
           HC_TEXT("revision", stale->revision), HC_TEXT("error", stale->message));
}
