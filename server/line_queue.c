/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two pieces of memory: lines are added to one while the writer writes the other; a take
 * exchanges them. The lock is held for a copy of a line. The states of the writer:
 *
 *     writing    outside of hc_line_queue_take()
 *     idle       it waits for the first line, which wakes it
 *     resting    it lets more lines come; only a close, or a queue that is half full,
 *                wakes it
 */
#include "line_queue.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum writer_state { WRITING, IDLE, RESTING };
enum queue_state { OPEN, CLOSING, CLOSED, ABANDONED };

struct hc_line_queue {
    size_t bytes_max;
    atomic_uint_least64_t dropped; /* ever */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news, closed;
        enum writer_state writer;
        enum queue_state state;
        char *filling, *taken;
        size_t used;
        uint64_t dropped; /* since the last take */
    } shared;
};

struct hc_line_queue *hc_line_queue_new(size_t bytes_max, struct hc_error *err)
{
    HC_AUTO(hc_line_queue) *queue = calloc(1, sizeof *queue);

    if (!queue) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    queue->bytes_max = bytes_max;
    (void)pthread_mutex_init(&queue->shared.lock, NULL);
    hc_condition_init(&queue->shared.news);
    hc_condition_init(&queue->shared.closed);
    queue->shared.filling = malloc(bytes_max);
    queue->shared.taken = malloc(bytes_max);
    if (queue->shared.filling && queue->shared.taken)
        return hc_take(&queue);
    (void)hc_fail_memory(err);
    return NULL;
}

void hc_line_queue_free(struct hc_line_queue *queue)
{
    if (!queue)
        return;
    free(queue->shared.filling);
    free(queue->shared.taken);
    (void)pthread_cond_destroy(&queue->shared.news);
    (void)pthread_cond_destroy(&queue->shared.closed);
    (void)pthread_mutex_destroy(&queue->shared.lock);
    free(queue);
}

/* The lock is held. */
static void queue_wake(struct hc_line_queue *queue, enum writer_state next)
{
    queue->shared.writer = next;
    (void)pthread_cond_signal(&queue->shared.news);
}

/* The newest line is dropped: the older ones show how it began. */
enum hc_line_fate hc_line_queue_add(struct hc_line_queue *queue, const char *line,
                                    size_t size)
{
    HC_LOCKED(&queue->shared.lock);

    if (queue->shared.state == CLOSED)
        return HC_LINE_CLOSED;
    if (queue->shared.state == ABANDONED ||
        size > queue->bytes_max - queue->shared.used) {
        queue->shared.dropped++;
        atomic_fetch_add(&queue->dropped, 1);
        return HC_LINE_DROPPED;
    }
    memcpy(queue->shared.filling + queue->shared.used, line, size);
    queue->shared.used += size;
    if (queue->shared.writer == IDLE)
        queue_wake(queue, RESTING);
    else if (queue->shared.writer == RESTING && queue->shared.used > queue->bytes_max / 2)
        queue_wake(queue, WRITING);
    return HC_LINE_QUEUED;
}

/* The lock is held. */
static bool queue_has_news(const struct hc_line_queue *queue)
{
    return queue->shared.used > 0 || queue->shared.dropped > 0 ||
           queue->shared.state != OPEN;
}

/* The lock is held. */
static void queue_await_first(struct hc_line_queue *queue, int64_t wait_ms)
{
    int64_t end_ms = hc_monotonic_ms() + wait_ms;
    int64_t now_ms;

    queue->shared.writer = IDLE;
    while (!queue_has_news(queue) && (now_ms = hc_monotonic_ms()) < end_ms)
        hc_condition_wait(&queue->shared.news, &queue->shared.lock, end_ms - now_ms);
}

/* Likewise. */
static void queue_await_more(struct hc_line_queue *queue)
{
    int64_t end_ms = hc_monotonic_ms() + HC_LINE_BATCH_MS;
    int64_t now_ms;

    queue->shared.writer = queue->shared.used > queue->bytes_max / 2 ? WRITING : RESTING;
    while (queue->shared.writer == RESTING && queue->shared.state == OPEN &&
           (now_ms = hc_monotonic_ms()) < end_ms)
        hc_condition_wait(&queue->shared.news, &queue->shared.lock, end_ms - now_ms);
}

bool hc_line_queue_take(struct hc_line_queue *queue, int64_t wait_ms,
                        struct hc_lines *lines)
{
    char *full;
    HC_LOCKED(&queue->shared.lock);

    queue_await_first(queue, wait_ms);
    if (queue->shared.used > 0)
        queue_await_more(queue);
    queue->shared.writer = WRITING;
    full = queue->shared.filling;
    *lines = (struct hc_lines){.text = full,
                               .size = queue->shared.used,
                               .dropped = queue->shared.dropped};
    queue->shared.filling = queue->shared.taken;
    queue->shared.taken = full;
    queue->shared.used = 0;
    queue->shared.dropped = 0;
    if (queue->shared.state == OPEN || lines->size > 0 || lines->dropped > 0)
        return true;
    queue->shared.state = queue->shared.state == CLOSING ? CLOSED : ABANDONED;
    (void)pthread_cond_broadcast(&queue->shared.closed);
    return false;
}

bool hc_line_queue_close(struct hc_line_queue *queue, int64_t flush_ms)
{
    int64_t end_ms = hc_monotonic_ms() + flush_ms;
    int64_t now_ms;
    HC_LOCKED(&queue->shared.lock);

    if (queue->shared.state == OPEN)
        queue->shared.state = CLOSING;
    (void)pthread_cond_signal(&queue->shared.news);
    while (queue->shared.state == CLOSING && (now_ms = hc_monotonic_ms()) < end_ms)
        hc_condition_wait(&queue->shared.closed, &queue->shared.lock, end_ms - now_ms);
    if (queue->shared.state == CLOSING)
        queue->shared.state = ABANDONED;
    return queue->shared.state == CLOSED;
}

bool hc_line_queue_is_closing(struct hc_line_queue *queue)
{
    HC_LOCKED(&queue->shared.lock);

    return queue->shared.state != OPEN;
}

uint64_t hc_line_queue_dropped(struct hc_line_queue *queue)
{
    return atomic_load(&queue->dropped);
}
