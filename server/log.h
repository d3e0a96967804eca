/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on standard error: time, level, message, and fields as key=value, as
 * text or as JSON. A value from outside cannot break out of its line. Callers log neither
 * tokens nor the queries of URLs. The level and the format are the program's only global
 * state. Callable from any thread.
 *
 *     HC_LOG(HC_LOG_INFO, "listening", HC_TEXT("address", address));
 *
 * Between start and stop a thread of its own writes the lines in sequence, so that a
 * reader that stalls stops no other thread: beyond 960 KiB of lines that wait, new ones
 * are dropped and counted, and a line gives the count when the reader reads again.
 */
#ifndef HC_SERVER_LOG_H
#define HC_SERVER_LOG_H

#include <hubcache/error.h>
#include <stdbool.h>
#include <stdint.h>

enum hc_log_level { HC_LOG_ERROR, HC_LOG_WARN, HC_LOG_INFO, HC_LOG_DEBUG };

struct hc_log_field {
    const char *key;
    const char *text; /* NULL: the number */
    int64_t number;
    bool is_microseconds; /* shown in milliseconds, with three decimals */
};

#define HC_TEXT(name, value) ((struct hc_log_field){.key = (name), .text = (value)})
#define HC_NUMBER(name, value)                                                           \
    ((struct hc_log_field){.key = (name), .number = (int64_t)(value)})
#define HC_MICROSECONDS(name, value)                                                     \
    ((struct hc_log_field){.key = (name), .number = (value), .is_microseconds = true})

#define HC_LOG(level, message, ...)                                                      \
    do {                                                                                 \
        if (hc_log_wants(level))                                                         \
            hc_log((level), (message),                                                   \
                   (const struct hc_log_field[]){__VA_ARGS__, {.key = NULL}});           \
    } while (0)

void hc_log_set(enum hc_log_level level, bool is_json);
bool hc_log_wants(enum hc_log_level level);

/* The array `fields` ends with a field without a key. */
void hc_log(enum hc_log_level level, const char *message,
            const struct hc_log_field *fields);

/* Starts the writer thread. Before that, the thread that logs writes. */
int hc_log_start(struct hc_error *err);

/*
 * Waits a second at most until all lines are written. If the reader still stalls, later
 * lines are dropped. Harmless without a start.
 */
void hc_log_stop(void);

/* Lines dropped since hc_log_start(). */
uint64_t hc_log_dropped(void);

#endif
