/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text in fixed buffers and on the heap, and lists of strings. Nothing here truncates
 * silently. Callable from any thread, each buffer and list from one at a time.
 */
#ifndef HC_BASE_TEXT_H
#define HC_BASE_TEXT_H

#include "auto.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Like snprintf(3), but -1, and "" in `buffer`, when the text does not fit; else its
 * length. */
int hc_format(char *buffer, size_t size, const char *format, ...) HC_PRINTF(3, 4);

bool hc_text_starts(const char *text, const char *prefix);
bool hc_text_ends(const char *text, const char *suffix);

/* NULL is equal to NULL alone. */
bool hc_text_equals(const char *text, const char *other);

/* Well-formed UTF-8, as Unicode 15 table 3-7 has it: no overlong forms, no surrogates. */
bool hc_text_is_utf8(const char *text);

/* Bytes of the well-formed UTF-8 character that `text` starts with; 0: there is none. */
size_t hc_text_utf8_length(const char *text);

/* No byte below 0x20 and no 0x7f. */
bool hc_text_is_printable(const char *text);

/*
 * Writes text from an untrusted source so that a terminal or a log shows it and obeys
 * nothing in it: control characters (C0, DEL, C1), those that change the
 * direction or the lines of a text (U+061C, U+200E, U+200F, U+2028 to U+202E, U+2066 to
 * U+2069) and bytes that are no UTF-8 are written as \uXXXX, and each ASCII character of
 * `also` with a backslash before it. With "\"\\" for `also` the result is the inside of
 * a JSON string.
 */
void hc_text_escape(FILE *out, const char *text, const char *also);

enum { HC_ESCAPED_MAX = 8 };

/* The first character of `*text`, which has one, escaped so; returns the number of bytes,
 * and moves `*text` on. */
size_t hc_text_escape_character(char out[HC_ESCAPED_MAX], const char **text,
                                const char *also);

/* The beginning of `text`, escaped so, for a message; "…" stands for the rest. */
void hc_text_excerpt(char *buffer, size_t size, const char *text);

/* `count` lower-case hexadecimal digits and nothing else. */
bool hc_text_is_hex(const char *text, size_t count);

/* Cuts white space off both ends, in place. Returns `text`. */
char *hc_text_trim(char *text);

/* A copy, which the caller frees; NULL of NULL. NULL with `err` when memory is short. */
char *hc_text_copy(const char *text, struct hc_error *err);

/* Frees a text that is a secret, after overwriting it. NULL is fine. */
void hc_text_wipe(char *text);

static inline void hc_auto_wipe(char **text)
{
    hc_text_wipe(*text);
}

#define HC_AUTO_WIPE __attribute__((cleanup(hc_auto_wipe)))

/* A list that owns its strings; zero-initialise it. */
struct hc_strings {
    char **items;
    size_t count;
    size_t capacity;
};

int hc_strings_add(struct hc_strings *list, const char *text, struct hc_error *err);
int hc_strings_add_all(struct hc_strings *list, const char *const *texts, size_t count,
                       struct hc_error *err);
void hc_strings_clear(struct hc_strings *list);
HC_DEFINE_AUTO_VALUE(hc_strings, hc_strings_clear)

#endif
