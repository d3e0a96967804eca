/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that logs puts a line together in memory and adds it to a queue, from which
 * the writer thread takes all lines at once. Before hc_log_start() and after
 * hc_log_stop() the thread that logs writes; after a stop at which the reader stalled,
 * lines are counted as dropped.
 */
#include "log.h"

#include "line.h"
#include "line_queue.h"

#include <base/error.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WAITING_BYTES_MAX = 480 * 1024, FLUSH_MS = 1000 };

static struct {
    _Atomic(enum hc_log_level)
        level; /* this and the next: one may change before the other */
    atomic_bool is_json;
    pthread_t thread;
    bool has_ended;                        /* the writer thread of `queue` */
    _Atomic(struct hc_line_queue *) queue; /* NULL: the thread that logs writes */
} sink = {.level = HC_LOG_INFO};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void hc_log_set(enum hc_log_level level, bool is_json)
{
    atomic_store_explicit(&sink.level, level, memory_order_relaxed);
    atomic_store_explicit(&sink.is_json, is_json, memory_order_relaxed);
}

bool hc_log_wants(enum hc_log_level level)
{
    return level <= atomic_load_explicit(&sink.level, memory_order_relaxed);
}

static void line_fill(struct hc_line *line, enum hc_log_level level, const char *message,
                      const struct hc_log_field *fields)
{
    hc_line_begin(line, sink.is_json);
    hc_line_add_word(line, "level", level_names[level]);
    hc_line_add_word(line, "msg", message);
    for (; fields->key; fields++) {
        if (fields->text)
            hc_line_add_text(line, fields->key, fields->text);
        else if (fields->is_microseconds)
            hc_line_add_microseconds(line, fields->key, fields->number);
        else
            hc_line_add_number(line, fields->key, fields->number);
    }
    hc_line_end(line);
}

/* A failure has no place to be reported to: the rest of the line is given up. */
static void write_text(const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDERR_FILENO, text, size);

        if (written < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = STDERR_FILENO, .events = POLLOUT}, 1, -1);
        else if (written < 0 && errno != EINTR)
            return;
        if (written < 0)
            continue;
        text += written;
        size -= (size_t)written;
    }
}

void hc_log(enum hc_log_level level, const char *message,
            const struct hc_log_field *fields)
{
    struct hc_line_queue *queue = atomic_load(&sink.queue);
    struct hc_line line;

    line_fill(&line, level, message, fields);
    if (!queue || hc_line_queue_add(queue, line.text, line.size) == HC_LINE_CLOSED)
        write_text(line.text, line.size);
}

/* --- the thread ----------------------------------------------------------------------
 */

static void writer_report_dropped(uint64_t count)
{
    struct hc_line line;

    line_fill(&line, HC_LOG_WARN, "log lines dropped",
              (const struct hc_log_field[]){HC_NUMBER("count", count), {.key = NULL}});
    write_text(line.text, line.size);
}

/* It ends when the log closes and everything that waited is written. */
static void *writer_run(void *ctx)
{
    struct hc_line_queue *queue = ctx;
    struct hc_lines lines;

    while (hc_line_queue_take(queue, INT32_MAX, &lines)) {
        write_text(lines.text, lines.size);
        if (lines.dropped > 0)
            writer_report_dropped(lines.dropped);
    }
    return NULL;
}

int hc_log_start(struct hc_error *err)
{
    HC_AUTO(hc_line_queue) *queue = hc_line_queue_new(WAITING_BYTES_MAX, err);

    if (!queue)
        return -1;
    if (pthread_create(&sink.thread, NULL, writer_run, queue) != 0)
        return hc_fail(err, HC_INTERNAL, "the system gives no thread for the log");
    if (sink.has_ended)
        hc_line_queue_free(atomic_load(&sink.queue)); /* of a start before this one */
    sink.has_ended = false;
    atomic_store(&sink.queue, hc_take(&queue));
    return 0;
}

/* Threads may still add to the queue, so it stays: it refers them to write_text(). */
void hc_log_stop(void)
{
    struct hc_line_queue *queue = atomic_load(&sink.queue);

    if (!queue || hc_line_queue_is_closing(queue) ||
        !hc_line_queue_close(queue, FLUSH_MS))
        return;
    (void)pthread_join(sink.thread, NULL);
    sink.has_ended = true;
}

uint64_t hc_log_dropped(void)
{
    struct hc_line_queue *queue = atomic_load(&sink.queue);

    return queue ? hc_line_queue_dropped(queue) : 0;
}
