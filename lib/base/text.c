/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small text helpers. Texts that grow are written with open_memstream(3), not here.
 *
 * Names of files, messages of servers and headers of requests are texts of unknown
 * origin: they may hold any bytes, so nothing here depends on a locale but the white
 * space of hc_text_trim(), and no program of hubcache calls setlocale(3).
 */
#include "text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/*
 * Joins texts, as in the names of most paths: a format that has only %s and %.*s. It
 * takes a fifth of the instructions of vsnprintf(3), of which a hit would need six. -1:
 * the format has more, or the text does not fit.
 */
static int format_texts(char *buffer, size_t size, const char *format, va_list args)
{
    size_t used = 0;

    while (*format) {
        const char *text = format;
        size_t length;

        if (*format != '%') {
            format = strchrnul(format, '%');
            length = (size_t)(format - text);
        } else if (format[1] == 's') {
            text = va_arg(args, const char *);
            length = text ? strlen(text) : size;
            format += strlen("%s");
        } else if (strncmp(format, "%.*s", strlen("%.*s")) == 0) {
            int precision = va_arg(args, int);

            text = va_arg(args, const char *);
            length = text && precision >= 0 ? strnlen(text, (size_t)precision) : size;
            format += strlen("%.*s");
        } else {
            return -1;
        }
        if (length >= size - used)
            return -1;
        memcpy(buffer + used, text, length);
        used += length;
    }
    buffer[used] = '\0';
    return (int)used;
}

/* A name that is cut off would name another file: it becomes none at all. */
int hc_format(char *buffer, size_t size, const char *format, ...)
{
    va_list args, again;
    int length;

    va_start(args, format);
    va_copy(again, args);
    length = format_texts(buffer, size, format, args);
    if (length < 0)
        length = vsnprintf(buffer, size, format, again);
    va_end(again);
    va_end(args);
    if (length >= 0 && (size_t)length < size)
        return length;
    buffer[0] = '\0';
    return -1;
}

bool hc_text_starts(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool hc_text_ends(const char *text, const char *suffix)
{
    size_t length = strlen(text), tail = strlen(suffix);

    return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

bool hc_text_equals(const char *text, const char *other)
{
    return text && other ? strcmp(text, other) == 0 : text == other;
}

/* The second byte has a narrower range after some first bytes; all others are 80 to
 * BF. */
size_t hc_text_utf8_length(const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xbf;
    size_t length = 2;

    if (s[0] < 0x80)
        return 1;
    if (s[0] < 0xc2 || s[0] > 0xf4)
        return 0;
    if (s[0] >= 0xe0)
        length++;
    if (s[0] >= 0xf0)
        length++;
    if (s[0] == 0xe0)
        low = 0xa0; /* overlong */
    if (s[0] == 0xed)
        high = 0x9f; /* surrogates */
    if (s[0] == 0xf0)
        low = 0x90; /* overlong */
    if (s[0] == 0xf4)
        high = 0x8f; /* beyond U+10FFFF */
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    }
    return length;
}

bool hc_text_is_utf8(const char *text)
{
    while (*text) {
        size_t length = hc_text_utf8_length(text);

        if (length == 0)
            return false;
        text += length;
    }
    return true;
}

bool hc_text_is_printable(const char *text)
{
    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (*s < 0x20 || *s == 0x7f)
            return false;
    }
    return true;
}

/* The code point of a well-formed UTF-8 character of `length` bytes. */
static unsigned utf8_code_point(const char *text, size_t length)
{
    static const unsigned char lead[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned code = (unsigned char)text[0] & lead[length];

    for (size_t i = 1; i < length; i++)
        code = code << 6 | ((unsigned char)text[i] & 0x3f);
    return code;
}

/* What a terminal obeys: C0, DEL and C1; and what makes a text look like another one:
 * marks that change its direction or begin a line. */
static bool code_point_is_control(unsigned code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
           code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

size_t hc_text_escape_character(char out[HC_ESCAPED_MAX], const char **text,
                                const char *also)
{
    size_t length = hc_text_utf8_length(*text);
    unsigned code = length > 0 ? utf8_code_point(*text, length) : (unsigned char)**text;
    size_t used = 0;

    if (length == 0 || code_point_is_control(code)) {
        used = (size_t)snprintf(out, HC_ESCAPED_MAX, "\\u%04x", code);
        length = length > 0 ? length : 1;
    } else {
        if (length == 1 && strchr(also, **text))
            out[used++] = '\\';
        memcpy(out + used, *text, length);
        used += length;
    }
    *text += length;
    return used;
}

void hc_text_escape(FILE *out, const char *text, const char *also)
{
    char escaped[HC_ESCAPED_MAX];

    while (*text) {
        size_t length = hc_text_escape_character(escaped, &text, also);

        (void)fwrite(escaped, 1, length, out);
    }
}

/* Cut before a whole character. When memory is short there is no excerpt: it is only part
 * of a message. */
void hc_text_excerpt(char *buffer, size_t size, const char *text)
{
    static const char rest[] = "…";
    HC_AUTO_FREE char *escaped = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&escaped, &length);

    buffer[0] = '\0';
    if (!out)
        return;
    hc_text_escape(out, text, "\\");
    if (fclose(out) != 0 || hc_format(buffer, size, "%s", escaped) >= 0)
        return;
    length = size - sizeof rest;
    while (length > 0 && ((unsigned char)escaped[length] & 0xc0) == 0x80)
        length--;
    (void)hc_format(buffer, size, "%.*s%s", (int)length, escaped, rest);
}

bool hc_text_is_hex(const char *text, size_t count)
{
    return strspn(text, "0123456789abcdef") == count && text[count] == '\0';
}

char *hc_text_trim(char *text)
{
    size_t length = strlen(text);
    size_t start = 0;

    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    while (start < length && isspace((unsigned char)text[start]))
        start++;
    memmove(text, text + start, length - start);
    text[length - start] = '\0';
    return text;
}

char *hc_text_copy(const char *text, struct hc_error *err)
{
    char *copy = text ? strdup(text) : NULL;

    if (text && !copy)
        (void)hc_fail_memory(err);
    return copy;
}

/* explicit_bzero(3), because a compiler drops a memset() before free(). */
void hc_text_wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

int hc_strings_add(struct hc_strings *list, const char *text, struct hc_error *err)
{
    if (list->count == list->capacity) {
        size_t room = list->capacity ? list->capacity * 2 : 8;
        char **items = reallocarray(list->items, room, sizeof *items);

        if (!items)
            return hc_fail_memory(err);
        list->items = items;
        list->capacity = room;
    }
    list->items[list->count] = strdup(text);
    if (!list->items[list->count])
        return hc_fail_memory(err);
    list->count++;
    return 0;
}

int hc_strings_add_all(struct hc_strings *list, const char *const *texts, size_t count,
                       struct hc_error *err)
{
    for (size_t i = 0; i < count; i++) {
        if (hc_strings_add(list, texts[i], err) < 0)
            return -1;
    }
    return 0;
}

void hc_strings_clear(struct hc_strings *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (struct hc_strings){0};
}
