/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clearing the log only moves its start, because requests that are still being answered
 * write to their entries.
 */
#include "hub_log.h"

#include "base/auto.h"
#include "hub_abort.h"

#include <inttypes.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AWAIT_S = 10 };

struct hub_log {
    pthread_mutex_t lock;
    pthread_cond_t added;
    struct {
        struct hub_log_entry *all;
        struct hub_log_entry **end;   /* the link that will point to the next entry */
        struct hub_log_entry **start; /* cleared entries come before it */
    } shared;
};

/* A query member that is NULL or false does not restrict. */
static bool entry_matches(const struct hub_log_entry *entry,
                          const struct hub_log_query *query)
{
    if (query->method && strcmp(entry->method, query->method) != 0)
        return false;
    if (query->contains && !strstr(entry->target, query->contains))
        return false;
    if (query->authorized_only && !entry->is_authorized)
        return false;
    return !(query->cdn_only && !entry->on_cdn) && !(query->hub_only && entry->on_cdn);
}

static unsigned log_count_matches(const struct hub_log *log,
                                  const struct hub_log_query *query)
{
    unsigned count = 0;

    for (const struct hub_log_entry *entry = *log->shared.start; entry;
         entry = entry->next)
        count += entry_matches(entry, query);
    return count;
}

static void entry_print(FILE *stream, const struct hub_log_entry *entry)
{
    (void)fprintf(stream, "%s %s %s %u %" PRIu64 " range=%s auth=%s trace=%s ua=%s\n",
                  entry->on_cdn ? "cdn" : "hub", entry->method, entry->target,
                  entry->shared.status, entry->shared.bytes,
                  entry->range ? entry->range : "-", entry->is_authorized ? "yes" : "no",
                  entry->traceparent ? entry->traceparent : "-",
                  entry->user_agent ? entry->user_agent : "-");
}

struct hub_log *hub_log_new(void)
{
    struct hub_log *log = hub_require(calloc(1, sizeof *log));

    (void)pthread_mutex_init(&log->lock, NULL);
    (void)pthread_cond_init(&log->added, NULL);
    log->shared.end = &log->shared.all;
    log->shared.start = &log->shared.all;
    return log;
}

void hub_log_free(struct hub_log *log)
{
    if (!log)
        return;
    while (log->shared.all) {
        struct hub_log_entry *entry = log->shared.all;

        log->shared.all = entry->next;
        free(entry->method);
        free(entry->target);
        free(entry->range);
        free(entry->user_agent);
        free(entry->traceparent);
        free(entry);
    }
    (void)pthread_cond_destroy(&log->added);
    (void)pthread_mutex_destroy(&log->lock);
    free(log);
}

void hub_log_add(struct hub_log *log, struct hub_log_entry *entry)
{
    HC_LOCKED(&log->lock);

    *log->shared.end = entry;
    log->shared.end = &entry->next;
    (void)pthread_cond_broadcast(&log->added);
}

void hub_log_status(struct hub_log *log, struct hub_log_entry *entry, unsigned status)
{
    HC_LOCKED(&log->lock);

    entry->shared.status = status;
}

void hub_log_bytes(struct hub_log *log, struct hub_log_entry *entry, uint64_t bytes)
{
    HC_LOCKED(&log->lock);

    entry->shared.bytes += bytes;
}

unsigned hub_log_count(struct hub_log *log, const struct hub_log_query *query)
{
    HC_LOCKED(&log->lock);

    return log_count_matches(log, query);
}

uint64_t hub_log_bytes_sent(struct hub_log *log)
{
    uint64_t bytes = 0;
    HC_LOCKED(&log->lock);

    for (const struct hub_log_entry *entry = *log->shared.start; entry;
         entry = entry->next)
        bytes += entry->shared.bytes;
    return bytes;
}

bool hub_log_await(struct hub_log *log, const struct hub_log_query *query, unsigned count)
{
    struct timespec deadline;
    bool is_there;
    int failure = 0;

    (void)clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += AWAIT_S;
    HC_LOCKED(&log->lock);

    while (log_count_matches(log, query) < count && failure == 0)
        failure = pthread_cond_timedwait(&log->added, &log->lock, &deadline);
    is_there = log_count_matches(log, query) >= count;
    return is_there;
}

/* The text never holds a token: an entry only knows whether there was one. */
char *hub_log_text(struct hub_log *log)
{
    char *text = NULL;
    size_t size = 0;
    FILE *stream = hub_require(open_memstream(&text, &size));

    {
        HC_LOCKED(&log->lock);

        for (const struct hub_log_entry *entry = *log->shared.start; entry;
             entry = entry->next)
            entry_print(stream, entry);
    }
    (void)fclose(stream);
    return text;
}

void hub_log_clear(struct hub_log *log)
{
    HC_LOCKED(&log->lock);

    log->shared.start = log->shared.end;
}
