/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock for all reasons, held for a few instructions.
 */
#include "stale_log.h"

#include "log.h"

#include <base/error.h>

#include <pthread.h>
#include <stdlib.h>

struct hc_stale_log {
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

struct hc_stale_log *hc_stale_log_new(struct hc_metrics *metrics, struct hc_error *err)
{
    struct hc_stale_log *log = calloc(1, sizeof *log);

    if (!log) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    log->metrics = metrics;
    (void)pthread_mutex_init(&log->shared.lock, NULL);
    return log;
}

void hc_stale_log_free(struct hc_stale_log *log)
{
    if (!log)
        return;
    (void)pthread_mutex_destroy(&log->shared.lock);
    free(log);
}

bool hc_stale_log_admits(struct hc_stale_log *log, enum hc_reason reason, int64_t now_ms,
                         unsigned *count)
{
    bool is_admitted;

    (void)pthread_mutex_lock(&log->shared.lock);
    *count = ++log->shared.reasons[reason].silent;
    is_admitted = !log->shared.reasons[reason].has_line ||
                  now_ms - log->shared.reasons[reason].line_ms >= HC_STALE_LINE_EVERY_MS;
    if (is_admitted) {
        log->shared.reasons[reason].has_line = true;
        log->shared.reasons[reason].line_ms = now_ms;
        log->shared.reasons[reason].silent = 0;
    }
    (void)pthread_mutex_unlock(&log->shared.lock);
    return is_admitted;
}

void hc_stale_log_write(void *log, const struct hc_stale *stale)
{
    struct hc_stale_log *stale_log = log;
    unsigned count;

    hc_metrics_add_stale(stale_log->metrics, stale->reason);
    if (!hc_stale_log_admits(stale_log, stale->reason, hc_monotonic_ms(), &count))
        return;
    HC_LOG(HC_LOG_WARN, "stale answer", HC_TEXT("reason", hc_reason_name(stale->reason)),
           HC_NUMBER("answers", count), HC_TEXT("repo", stale->repo_id),
           HC_TEXT("type", hc_repo_type_name(stale->repo_type)),
           HC_TEXT("revision", stale->revision), HC_TEXT("error", stale->message));
}
