/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event on standard error: level, what happened, and the facts as key=value,
 * as text or as JSON. What comes from outside cannot break out of its line. Tokens and
 * the queries of URLs are not for here. The level and the format are the program's only
 * global state; set them before there are threads. From any thread.
 *
 *     HC_LOG(HC_LOG_INFO, "listening", HC_TEXT("address", address));
 *
 * Between start and stop a thread of its own writes, in order, so that a reader that
 * stalls stops nothing else: beyond 512 KiB of lines that wait, new ones are dropped and
 * counted, and the count is a line when the reader is back.
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
};

#define HC_TEXT(name, value) ((struct hc_log_field){.key = (name), .text = (value)})
#define HC_NUMBER(name, value)                                                           \
    ((struct hc_log_field){.key = (name), .number = (int64_t)(value)})

#define HC_LOG(level, message, ...)                                                      \
    do {                                                                                 \
        if (hc_log_wants(level))                                                         \
            hc_log((level), (message),                                                   \
                   (const struct hc_log_field[]){__VA_ARGS__, {.key = NULL}});           \
    } while (0)

void hc_log_set(enum hc_log_level level, bool is_json);
bool hc_log_wants(enum hc_log_level level);

/* `fields` ends with one that has no key. */
void hc_log(enum hc_log_level level, const char *message,
            const struct hc_log_field *fields);

/* Until then, lines are written by the threads that they come from. */
int hc_log_start(struct hc_error *err);

/*
 * Waits a second at most until all lines are written. If the reader still stalls, no line
 * is written any more. Harmless without a start.
 */
void hc_log_stop(void);

/* Lines that have been dropped since the start of the program. */
uint64_t hc_log_dropped(void);

#endif
