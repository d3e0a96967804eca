/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hit writes a line, so this is written for speed: no allocation, no stdio, and most
 * bytes of a value are copied as they are. END_MAX bytes at the end of the memory are
 * kept for the end of a field and of the line.
 */
#include "line.h"

#include <base/text.h>

#include <string.h>
#include <time.h>

enum { END_MAX = 16, NUMBER_MAX = 20, LIST_ROOM_MIN = 1024 };

static const char cut_mark[] = "…";

static void line_put(struct hc_line *line, const char *bytes, size_t count)
{
    memcpy(line->text + line->size, bytes, count);
    line->size += count;
}

static void line_put_byte(struct hc_line *line, char byte)
{
    line->text[line->size++] = byte;
}

/* Bytes of a value that fit. */
static size_t line_room(const struct hc_line *line)
{
    size_t used = line->size + END_MAX;

    return used < HC_LINE_MAX ? HC_LINE_MAX - used : 0;
}

/* ---- values ------------------------------------------------------------------------ */

/* At least `width` digits, with zeros in front. */
static void line_put_digits(struct hc_line *line, uint64_t number, size_t width)
{
    char digits[NUMBER_MAX];
    size_t start = sizeof digits;

    while (number > 0 || sizeof digits - start < width) {
        digits[--start] = (char)('0' + number % 10);
        number /= 10;
    }
    line_put(line, digits + start, sizeof digits - start);
}

static void line_put_number(struct hc_line *line, int64_t number)
{
    uint64_t size = (uint64_t)number;

    if (number < 0) {
        line_put_byte(line, '-');
        size = -size;
    }
    line_put_digits(line, size, 1);
}

static bool byte_is_plain(char byte)
{
    return byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\';
}

/* Bytes that need no escape, as many as there are in a row, `most` at most. */
static size_t text_plain_length(const char *text, size_t most)
{
    size_t length = 0;

    while (length < most && byte_is_plain(text[length]))
        length++;
    return length;
}

static void line_put_escaped(struct hc_line *line, const char *text)
{
    size_t left = line_room(line);

    if (left > HC_LINE_VALUE_MAX)
        left = HC_LINE_VALUE_MAX;
    while (*text) {
        char escaped[HC_ESCAPED_MAX];
        size_t length = text_plain_length(text, left);

        line_put(line, text, length);
        text += length;
        left -= length;
        if (!*text)
            return;
        length = hc_text_escape_character(escaped, &text, "\"\\");
        if (length > left) {
            line_put(line, cut_mark, sizeof cut_mark - 1);
            return;
        }
        line_put(line, escaped, length);
        left -= length;
    }
}

static void line_put_quoted(struct hc_line *line, const char *text)
{
    line_put_byte(line, '"');
    line_put_escaped(line, text);
    line_put_byte(line, '"');
}

/* A word that cannot be mistaken in key=value needs no quotes. */
static bool text_is_word(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (!byte_is_plain(*at) || *at == ' ' || *at == '=')
            return false;
    }
    return *text != '\0';
}

/* ---- fields ------------------------------------------------------------------------ */

/* False: the line has no room for the field. Keys are words of the program. */
static bool line_put_key(struct hc_line *line, const char *key)
{
    size_t length = strlen(key);

    if (line_room(line) < length + NUMBER_MAX + END_MAX)
        return false;
    line_put_byte(line, line->is_json ? ',' : ' ');
    if (line->is_json)
        line_put_byte(line, '"');
    line_put(line, key, length);
    if (line->is_json)
        line_put_byte(line, '"');
    line_put_byte(line, line->is_json ? ':' : '=');
    return true;
}

void hc_line_add_text(struct hc_line *line, const char *key, const char *text)
{
    if (!line_put_key(line, key))
        return;
    if (!line->is_json && text_is_word(text) && strlen(text) < HC_LINE_VALUE_MAX)
        line_put_escaped(line, text);
    else
        line_put_quoted(line, text);
}

/* Texts for which the line has no room are left out. */
void hc_line_add_list(struct hc_line *line, const char *key, const char *const *texts,
                      size_t count)
{
    if (count == 0 || !line_put_key(line, key))
        return;
    line_put_byte(line, line->is_json ? '[' : '"');
    for (size_t i = 0; i < count && line_room(line) > LIST_ROOM_MIN; i++) {
        if (i > 0)
            line_put_byte(line, line->is_json ? ',' : ' ');
        if (line->is_json)
            line_put_quoted(line, texts[i]);
        else
            line_put_escaped(line, texts[i]);
    }
    line_put_byte(line, line->is_json ? ']' : '"');
}

void hc_line_add_word(struct hc_line *line, const char *key, const char *word)
{
    if (line->is_json) {
        hc_line_add_text(line, key, word);
        return;
    }
    line_put_byte(line, ' ');
    line_put_escaped(line, word);
}

void hc_line_add_number(struct hc_line *line, const char *key, int64_t number)
{
    if (line_put_key(line, key))
        line_put_number(line, number);
}

void hc_line_add_bool(struct hc_line *line, const char *key, bool value)
{
    if (line_put_key(line, key))
        line_put(line, value ? "true" : "false", value ? 4 : 5);
}

void hc_line_add_microseconds(struct hc_line *line, const char *key, int64_t us)
{
    if (!line_put_key(line, key))
        return;
    line_put_number(line, us / 1000);
    line_put_byte(line, '.');
    line_put_digits(line, (uint64_t)(us % 1000), 3);
}

/* ---- the line ---------------------------------------------------------------------- */

static void line_put_time(struct hc_line *line)
{
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (!gmtime_r(&now.tv_sec, &utc))
        memset(&utc, 0, sizeof utc);
    line_put_digits(line, (uint64_t)utc.tm_year + 1900, 4);
    line_put_byte(line, '-');
    line_put_digits(line, (uint64_t)utc.tm_mon + 1, 2);
    line_put_byte(line, '-');
    line_put_digits(line, (uint64_t)utc.tm_mday, 2);
    line_put_byte(line, 'T');
    line_put_digits(line, (uint64_t)utc.tm_hour, 2);
    line_put_byte(line, ':');
    line_put_digits(line, (uint64_t)utc.tm_min, 2);
    line_put_byte(line, ':');
    line_put_digits(line, (uint64_t)utc.tm_sec, 2);
    line_put_byte(line, '.');
    line_put_digits(line, (uint64_t)now.tv_nsec / 1000000, 3);
    line_put_byte(line, 'Z');
}

void hc_line_begin(struct hc_line *line, bool is_json)
{
    static const char key[] = "{\"time\":\"";

    line->is_json = is_json;
    line->size = 0;
    if (is_json)
        line_put(line, key, sizeof key - 1);
    line_put_time(line);
    if (is_json)
        line_put_byte(line, '"');
}

void hc_line_end(struct hc_line *line)
{
    if (line->is_json)
        line_put_byte(line, '}');
    line_put_byte(line, '\n');
}
