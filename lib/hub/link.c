/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A recursive descent along the grammar of RFC 8288, 3: a list of link-values, each
 * `<target>` and parameters after semicolons, whose values are tokens or quoted strings.
 * Commas and semicolons between <> or quotes separate nothing. Two liberties: a value
 * without quotes may hold any bytes but separators, and white space may stand around "=".
 */
#include "link.h"

#include <base/text.h>

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* A piece of the header's value. */
struct span {
    const char *start;
    size_t length;
};

/* One link-value. */
struct link {
    struct span target;
    bool has_rel;   /* the first one counts, RFC 8288, 3.3 */
    bool is_next;   /* by its rel */
    bool is_others; /* of another resource than the one that was asked for */
};

static const char *link_skip_space(const char *text)
{
    return text + strspn(text, " \t");
}

static bool span_is(struct span span, const char *word)
{
    return span.length == strlen(word) && strncasecmp(span.start, word, span.length) == 0;
}

/* Whether one of the words, separated by white space, is "next". */
static bool span_names_next(struct span value)
{
    const char *end = value.start + value.length;
    const char *word = value.start;

    while (word < end) {
        struct span one = {word, 0};

        while (word + one.length < end && !strchr(" \t", word[one.length]))
            one.length++;
        if (span_is(one, "next"))
            return true;
        word += one.length + 1;
    }
    return false;
}

/* `text` is behind the opening quote. A backslash in a relation is not undone: no
 * registered relation has one. */
static const char *link_take_quoted(const char *text, struct span *value)
{
    value->start = text;
    for (; *text && *text != '"'; text++) {
        if (*text == '\\' && text[1])
            text++;
    }
    value->length = (size_t)(text - value->start);
    return *text == '"' ? text + 1 : NULL;
}

static const char *link_take_word(const char *text, const char *ends, struct span *word)
{
    word->start = text;
    word->length = strcspn(text, ends);
    return word->length > 0 ? text + word->length : NULL;
}

static void link_keep_parameter(struct link *link, struct span name, struct span value)
{
    if (span_is(name, "anchor"))
        link->is_others = true;
    if (!span_is(name, "rel") || link->has_rel)
        return;
    link->has_rel = true;
    link->is_next = span_names_next(value);
}

/* name, name=token or name="text"; the first byte after it, NULL when it is none. */
static const char *link_take_parameter(const char *text, struct link *link)
{
    struct span name, value = {"", 0};

    text = link_take_word(text, " \t=;,<>\"", &name);
    if (!text)
        return NULL;
    text = link_skip_space(text);
    if (*text == '=') {
        text = link_skip_space(text + 1);
        text = *text == '"' ? link_take_quoted(text + 1, &value)
                            : link_take_word(text, " \t;,<>\"", &value);
    }
    if (text)
        link_keep_parameter(link, name, value);
    return text;
}

/* <target>; name=value; …: the comma or the end after it, NULL when it is none. */
static const char *link_take(const char *text, struct link *link)
{
    *link = (struct link){0};
    if (*text != '<')
        return NULL;
    link->target = (struct span){text + 1, strcspn(text + 1, "<>")};
    text = link->target.start + link->target.length;
    if (*text != '>')
        return NULL;
    text = link_skip_space(text + 1);
    while (text && *text == ';') {
        text = link_skip_space(text + 1);
        if (*text && !strchr(";,", *text))
            text = link_take_parameter(text, link);
        text = text ? link_skip_space(text) : NULL;
    }
    return text && (*text == ',' || *text == '\0') ? text : NULL;
}

/* 0: `target` is that of `link`; -1 when there is another one already, or it is none. */
static int link_keep_target(const struct link *link, bool is_found, char *target,
                            size_t size)
{
    struct span found = link->target;

    if (link->is_others || found.length == 0 || found.length >= size)
        return -1;
    if (is_found && (strlen(target) != found.length ||
                     memcmp(target, found.start, found.length) != 0))
        return -1;
    memcpy(target, found.start, found.length);
    target[found.length] = '\0';
    return 0;
}

int hc_link_next(const char *value, char *target, size_t size)
{
    const char *next = link_skip_space(value);
    bool is_found = false;

    while (*next) {
        struct link link;

        if (*next == ',') { /* a list may have empty elements */
            next = link_skip_space(next + 1);
            continue;
        }
        next = link_take(next, &link);
        if (!next)
            return -1;
        if (!link.is_next)
            continue;
        if (link_keep_target(&link, is_found, target, size) < 0)
            return -1;
        is_found = true;
    }
    return is_found ? 1 : 0;
}
