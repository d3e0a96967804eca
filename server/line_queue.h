/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines that wait for the thread that writes them, so that no other thread waits for a
 * reader that stalls or for a disk that is slow. Any thread adds a line, which is copied;
 * one thread, the writer, takes all that wait. What waits is bounded: beyond that, new
 * lines are dropped and counted.
 *
 * After it has waited for the first line, the writer waits for HC_LINE_BATCH_MS more, so
 * that on a busy server it wakes a few hundred times a second and not for each line.
 */
#ifndef HC_SERVER_LINE_QUEUE_H
#define HC_SERVER_LINE_QUEUE_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_line_queue;

enum { HC_LINE_BATCH_MS = 5 };

/* `bytes_max` of lines wait, and as many may be on their way at the writer. */
struct hc_line_queue *hc_line_queue_new(size_t bytes_max, struct hc_error *err);
void hc_line_queue_free(struct hc_line_queue *queue);
HC_DEFINE_AUTO(hc_line_queue, hc_line_queue_free)

enum hc_line_fate { HC_LINE_QUEUED, HC_LINE_DROPPED, HC_LINE_CLOSED };

/* CLOSED: the writer has ended, and nothing is counted. */
enum hc_line_fate hc_line_queue_add(struct hc_line_queue *queue, const char *line,
                                    size_t size);

/* Borrowed until the next take. */
struct hc_lines {
    const char *text;
    size_t size;
    uint64_t dropped; /* lines, since the last take */
};

/*
 * Waits for lines, for `wait_ms` at most. False: the queue closes and nothing is left:
 * the writer ends. True with no lines: the time is over.
 */
bool hc_line_queue_take(struct hc_line_queue *queue, int64_t wait_ms,
                        struct hc_lines *lines);

/*
 * The writer ends after what waits. True: it has taken all of it and come back for more.
 * False: it has not within `flush_ms`; lines are dropped from now on.
 */
bool hc_line_queue_close(struct hc_line_queue *queue, int64_t flush_ms);

bool hc_line_queue_is_closing(struct hc_line_queue *queue);

/* Lines that were dropped, ever. */
uint64_t hc_line_queue_dropped(struct hc_line_queue *queue);

#endif
