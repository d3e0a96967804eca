/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that logs puts a line together in memory and adds it to a list; the writer
 * thread takes the whole list and writes it, so up to twice the list's limit may be in
 * memory. The lock guards the list, and is not held while a line is made or written. Each
 * line is one write, if the reader takes it whole. Both formats escape quotes,
 * backslashes and what hc_text_escape() knows, as JSON does (RFC 8259, 7).
 *
 * The route of a line:
 *
 *     direct    before hc_log_start(), after hc_log_stop(): the thread that logs writes
 *     queued    between the two: the writer thread writes
 *     nowhere   after a stop at which the reader stalled: lines are counted as dropped
 */
#include "log.h"

#include <base/auto.h>
#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WAITING_BYTES_MAX = 256 * 1024, FLUSH_MS = 1000 };

/* A line that waits, made by the thread that logs and freed by the writer thread. */
struct line {
    struct line *next;
    size_t size;
    char text[];
};

enum route { DIRECT, QUEUED, NOWHERE };

static struct {
    _Atomic(enum hc_log_level)
        level; /* this and the next: one may change before the other */
    atomic_bool is_json;
    pthread_t thread;
    atomic_uint_least64_t dropped; /* since the start of the program */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news, written;
        enum route route;
        struct line *first, **last;
        size_t bytes;
        uint64_t dropped; /* since the last "log lines dropped" */
        bool is_writing, is_closing;
    } shared;
} sink = {.level = HC_LOG_INFO, .shared = {.lock = PTHREAD_MUTEX_INITIALIZER}};

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

static void put_quoted(FILE *line, const char *text)
{
    (void)fputc('"', line);
    hc_text_escape(line, text, "\"\\");
    (void)fputc('"', line);
}

/* A word that cannot be mistaken in key=value needs no quotes. */
static bool text_is_word(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '\\' || *at == '=')
            return false;
    }
    return *text != '\0';
}

static void put_value(FILE *line, const struct hc_log_field *field, bool is_json)
{
    if (!field->text)
        (void)fprintf(line, "%" PRId64, field->number);
    else if (!is_json && text_is_word(field->text))
        (void)fputs(field->text, line);
    else
        put_quoted(line, field->text);
}

/* RFC 3339 in UTC with milliseconds, as collectors of logs expect a time. */
static void put_json(FILE *line, enum hc_log_level level, const char *message,
                     const struct hc_log_field *fields)
{
    char when[40] = "";
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc))
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)fprintf(line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"msg\":", when,
                  now.tv_nsec / 1000000, level_names[level]);
    put_quoted(line, message);
    for (; fields->key; fields++) {
        (void)fprintf(line, ",\"%s\":", fields->key);
        put_value(line, fields, true);
    }
    (void)fputs("}\n", line);
}

/* Without a time: journald and terminals have their own. */
static void put_text(FILE *line, enum hc_log_level level, const char *message,
                     const struct hc_log_field *fields)
{
    (void)fprintf(line, "%s %s", level_names[level], message);
    for (; fields->key; fields++) {
        (void)fprintf(line, " %s=", fields->key);
        put_value(line, fields, false);
    }
    (void)fputc('\n', line);
}

/* --- lines ---------------------------------------------------------------------------
 */

/* The caller frees; NULL: out of memory. */
static char *line_text(enum hc_log_level level, const char *message,
                       const struct hc_log_field *fields, size_t *size)
{
    char *text = NULL;
    FILE *line = open_memstream(&text, size);

    if (!line)
        return NULL;
    if (sink.is_json)
        put_json(line, level, message, fields);
    else
        put_text(line, level, message, fields);
    if (fclose(line) == 0)
        return text;
    free(text);
    return NULL;
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

/* The lock is held. The newest line is dropped: the older ones show how it began. */
static void line_queue_add(const char *text, size_t size)
{
    struct line *line = NULL;

    if (sink.shared.route == QUEUED && text &&
        sink.shared.bytes + size <= WAITING_BYTES_MAX)
        line = malloc(sizeof *line + size);
    if (!line) {
        sink.shared.dropped++;
        atomic_fetch_add(&sink.dropped, 1);
        return;
    }
    line->next = NULL;
    line->size = size;
    memcpy(line->text, text, size);
    *sink.shared.last = line;
    sink.shared.last = &line->next;
    sink.shared.bytes += size;
    (void)pthread_cond_signal(&sink.shared.news);
}

void hc_log(enum hc_log_level level, const char *message,
            const struct hc_log_field *fields)
{
    size_t size = 0;
    HC_AUTO_FREE char *text = line_text(level, message, fields, &size);
    enum route route;

    {
        HC_LOCKED(&sink.shared.lock);

        route = sink.shared.route;
        if (route != DIRECT)
            line_queue_add(text, size);
    }
    if (route == DIRECT && text)
        write_text(text, size);
}

/* --- the thread ----------------------------------------------------------------------
 */

/* Waits for lines. NULL with `*dropped` 0: the log is closing. */
static struct line *line_queue_take(uint64_t *dropped)
{
    struct line *lines;
    HC_LOCKED(&sink.shared.lock);

    sink.shared.is_writing = false;
    (void)pthread_cond_broadcast(&sink.shared.written);
    while (!sink.shared.first && sink.shared.dropped == 0 && !sink.shared.is_closing)
        (void)pthread_cond_wait(&sink.shared.news, &sink.shared.lock);
    lines = hc_take(&sink.shared.first);
    sink.shared.last = &sink.shared.first;
    sink.shared.bytes = 0;
    *dropped = sink.shared.dropped;
    sink.shared.dropped = 0;
    sink.shared.is_writing = lines || *dropped > 0;
    return lines;
}

static void writer_write_lines(struct line *line, uint64_t dropped)
{
    size_t size = 0;
    HC_AUTO_FREE char *text = NULL;

    while (line) {
        struct line *next = line->next;

        write_text(line->text, line->size);
        free(line);
        line = next;
    }
    if (dropped == 0)
        return;
    text = line_text(HC_LOG_WARN, "log lines dropped",
                     (const struct hc_log_field[]){HC_NUMBER("count", dropped),
                                                   {.key = NULL}},
                     &size);
    if (text)
        write_text(text, size);
}

/* It ends when the log closes and everything that waited is written. */
static void *writer_run(void *unused)
{
    struct line *lines;
    uint64_t dropped;

    while ((lines = line_queue_take(&dropped)) || dropped > 0)
        writer_write_lines(lines, dropped);
    return unused;
}

int hc_log_start(struct hc_error *err)
{
    (void)pthread_cond_init(&sink.shared.news, NULL);
    hc_condition_init(&sink.shared.written);
    sink.shared.last = &sink.shared.first;
    sink.shared.is_closing = false;
    if (pthread_create(&sink.thread, NULL, writer_run, NULL) != 0)
        return hc_fail(err, HC_INTERNAL, "the system gives no thread for the log");
    {
        HC_LOCKED(&sink.shared.lock);

        sink.shared.route = QUEUED;
    }
    return 0;
}

/* The lock is held. True: every line is written. */
static bool log_flush(void)
{
    int64_t end_ms = hc_monotonic_ms() + FLUSH_MS;

    while ((sink.shared.first || sink.shared.is_writing) && hc_monotonic_ms() < end_ms)
        hc_condition_wait(&sink.shared.written, &sink.shared.lock,
                          end_ms - hc_monotonic_ms());
    return !sink.shared.first && !sink.shared.is_writing;
}

void hc_log_stop(void)
{
    bool must_join = false;

    {
        HC_LOCKED(&sink.shared.lock);

        if (sink.shared.route == QUEUED && !sink.shared.is_closing) {
            sink.shared.is_closing = true;
            (void)pthread_cond_signal(&sink.shared.news);
            must_join = log_flush();
            sink.shared.route = must_join ? DIRECT : NOWHERE;
        }
    }
    if (must_join)
        (void)pthread_join(sink.thread, NULL);
}

uint64_t hc_log_dropped(void)
{
    return atomic_load(&sink.dropped);
}
