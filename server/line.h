/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of a log, put together in memory of a fixed size: fields as key=value, or as a
 * JSON object (RFC 8259). A value from outside cannot break out of its line: both formats
 * escape quotes, backslashes and what hc_text_escape() knows. A value that is longer than
 * HC_LINE_VALUE_MAX bytes when it is escaped is cut, and ends with "…"; a field for which
 * the line has no room is left out. For one thread.
 */
#ifndef HC_SERVER_LINE_H
#define HC_SERVER_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HC_LINE_MAX = 16 * 1024, HC_LINE_VALUE_MAX = 4096 };

struct hc_line {
    bool is_json;
    size_t size;
    char text[HC_LINE_MAX]; /* no NUL at the end */
};

/* The time now, in UTC with milliseconds (RFC 3339), is its first field. */
void hc_line_begin(struct hc_line *line, bool is_json);

/* Of JSON: as other fields. Of text: without its key and without quotes. */
void hc_line_add_word(struct hc_line *line, const char *key, const char *word);

void hc_line_add_text(struct hc_line *line, const char *key, const char *text);
/* Of JSON: an array of texts; of text: one value with spaces between them. */
void hc_line_add_list(struct hc_line *line, const char *key, const char *const *texts,
                      size_t count);

void hc_line_add_number(struct hc_line *line, const char *key, int64_t number);
void hc_line_add_bool(struct hc_line *line, const char *key, bool value);

/* Milliseconds with three decimals. */
void hc_line_add_microseconds(struct hc_line *line, const char *key, int64_t us);

/* The newline. */
void hc_line_end(struct hc_line *line);

#endif
