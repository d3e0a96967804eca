/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of a response. One table says which member of struct hc_hub_response a
 * header fills. A value that does not fit, or is not what it should be, counts as absent,
 * so that the code that needs it says so; but not where absence has a meaning of its own
 * (no Link: no further page), and not a header that contradicts itself: that is a flaw of
 * the whole response.
 *
 * Link is parsed by a recursive descent along the grammar of RFC 8288, 3: a list of
 * link-values, each `<target>` and parameters after semicolons, whose values are tokens
 * or quoted strings. Commas and semicolons between <> or quotes separate nothing. Two
 * liberties: a value without quotes may hold any bytes but separators, and white space
 * may stand around "=".
 */
#include "response.h"

#include <base/error.h>
#include <base/text.h>

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { RETRY_AFTER_MAX_S = 86400 };

/* ---- Link -------------------------------------------------------------------------- */

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

/* ---- the other headers ------------------------------------------------------------- */

/* Decimal digits at `text`; the first byte after them, NULL when there are none or too
 * many. */
static const char *header_take_number(const char *text, uint64_t *number)
{
    uint64_t value = 0;

    if (*text < '0' || *text > '9')
        return NULL;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (value > (UINT64_MAX - 9) / 10)
            return NULL;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *number = value;
    return text;
}

/* 0 to 2^63-1, the sizes a file can have. */
static bool header_parse_size(const char *text, uint64_t *size)
{
    const char *end = header_take_number(text, size);

    return end && *end == '\0' && *size <= INT64_MAX;
}

/* The whole length after "100-199/": a number, or "*" when the server does not know. */
static const char *header_take_total(const char *text, uint64_t *total)
{
    *total = 0;
    return *text == '*' ? text + 1 : header_take_number(text, total);
}

/* "bytes 100-199/1000", or with an asterisk for the whole length (RFC 9110, 14.4). */
static void response_parse_range(struct hc_hub_response *response, const char *value)
{
    uint64_t start, last, total;
    const char *next = strncasecmp(value, "bytes ", 6) == 0 ? value + 6 : NULL;
    bool has_total;

    response->has_range = false;
    response->has_bad_range = true;
    next = next ? header_take_number(next, &start) : NULL;
    next = next && *next == '-' ? header_take_number(next + 1, &last) : NULL;
    has_total = next && next[0] == '/' && next[1] != '*';
    next = next && *next == '/' ? header_take_total(next + 1, &total) : NULL;
    if (!next || *next || start > last || last >= INT64_MAX ||
        (has_total && last >= total))
        return;
    response->has_bad_range = false;
    response->has_range = true;
    response->range_start = start;
    response->range_end = last + 1;
    response->range_total = total;
}

static unsigned seconds_to_ms(uint64_t seconds)
{
    return (unsigned)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

/* Seconds, or a date. */
static void response_parse_retry_after(struct hc_hub_response *response,
                                       const char *value)
{
    uint64_t seconds;
    time_t now, then;

    if (header_parse_size(value, &seconds)) {
        response->retry_after_ms = seconds_to_ms(seconds);
        return;
    }
    now = time(NULL);
    then = curl_getdate(value, NULL);
    if (then > now)
        response->retry_after_ms = seconds_to_ms((uint64_t)(then - now));
}

/* The number of `;<name>=55` among the parameters between `text` and `end`. */
static bool header_find_parameter(const char *text, const char *end, char name,
                                  uint64_t *number)
{
    for (const char *next = text; next < end; next++) {
        if (*next != ';')
            continue;
        while (next[1] == ' ')
            next++;
        if (next[1] == name && next[2] == '=')
            return header_take_number(next + 3, number) != NULL;
    }
    return false;
}

/*
 * `"api";r=0;t=55, "pages";r=3;t=10`: whatever is used up has to be waited for.
 * Retry-After wins when both are there.
 */
static void response_parse_rate_limit(struct hc_hub_response *response, const char *value)
{
    uint64_t longest = 0;

    while (*value) {
        const char *end = strchrnul(value, ',');
        uint64_t remaining, seconds;

        if (header_find_parameter(value, end, 'r', &remaining) && remaining == 0 &&
            header_find_parameter(value, end, 't', &seconds) && seconds > longest)
            longest = seconds;
        value = *end ? end + 1 : end;
    }
    if (response->retry_after_ms == 0)
        response->retry_after_ms = seconds_to_ms(longest);
}

static const char differs[] = "with a header that is there twice and differs";

/* A header that may be there once only, or twice with the same value. */
static void response_keep_once(struct hc_hub_response *response, char *kept, size_t size,
                               const char *value)
{
    if (kept[0] && strcmp(kept, value) != 0)
        response->flaw = differs;
    else
        (void)hc_format(kept, size, "%s", value);
}

static void response_parse_link(struct hc_hub_response *response, const char *value)
{
    char target[HC_URL_MAX];
    int found = hc_link_next(value, target, sizeof target);

    if (found < 0 ||
        (found > 0 && response->next_page[0] && strcmp(response->next_page, target) != 0))
        response->has_bad_link = true;
    else if (found > 0)
        memcpy(response->next_page, target, sizeof target);
}

static void response_parse_commit(struct hc_hub_response *response, const char *value)
{
    response->has_bad_commit = !hc_commit_is_valid(value);
    response_keep_once(response, response->commit, sizeof response->commit,
                       response->has_bad_commit ? "" : value);
}

/* Text of the Hub's that ends up in messages: what cannot be shown becomes "?". */
static void response_keep_message(struct hc_hub_response *response, const char *value)
{
    bool is_utf8;

    (void)snprintf(response->error_message, sizeof response->error_message, "%s", value);
    is_utf8 = hc_text_is_utf8(response->error_message);
    for (char *c = response->error_message; *c; c++) {
        unsigned char byte = (unsigned char)*c;

        if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !is_utf8))
            *c = '?';
    }
}

static void response_keep_request_id(struct hc_hub_response *response, const char *value)
{
    if (!response->request_id[0] && hc_text_is_utf8(value) && hc_text_is_printable(value))
        (void)hc_format(response->request_id, sizeof response->request_id, "%s", value);
}

/*
 * A length that is no number, or is there twice and differs, leaves open where the answer
 * ends. A list of equal numbers is what a proxy makes of equal headers (RFC 9110, 8.6).
 */
static void response_keep_length(struct hc_hub_response *response, const char *value)
{
    bool had_length = response->has_length;
    uint64_t former = response->content_length;
    const char *next = header_take_number(value, &response->content_length);
    uint64_t again = response->content_length;

    while (next && *next == ',' && again == response->content_length)
        next = header_take_number(next + 1 + strspn(next + 1, " \t"), &again);
    response->has_length =
        next && *next == '\0' && again == response->content_length && again <= INT64_MAX;
    if (!response->has_length)
        response->flaw = "with a Content-Length that is none";
    else if (had_length && former != response->content_length)
        response->flaw = differs;
}

static void response_keep_linked_size(struct hc_hub_response *response, const char *value)
{
    bool had_size = response->has_linked_size;
    uint64_t former = response->linked_size;

    response->has_linked_size = header_parse_size(value, &response->linked_size);
    if (had_size && (!response->has_linked_size || former != response->linked_size))
        response->flaw = differs;
}

static void response_keep_etag(struct hc_hub_response *response, const char *value)
{
    (void)hc_format(response->etag, sizeof response->etag, "%s", value);
}

static void response_keep_linked_etag(struct hc_hub_response *response, const char *value)
{
    response_keep_once(response, response->linked_etag, sizeof response->linked_etag,
                       value);
}

static void response_keep_location(struct hc_hub_response *response, const char *value)
{
    response_keep_once(response, response->location, sizeof response->location, value);
}

static void response_keep_error_code(struct hc_hub_response *response, const char *value)
{
    (void)hc_format(response->error_code, sizeof response->error_code, "%s", value);
}

static const struct {
    const char *name;
    void (*keep)(struct hc_hub_response *response, const char *value);
} headers[] = {
    {"Content-Length", response_keep_length},
    {"Content-Range", response_parse_range},
    {"ETag", response_keep_etag},
    {"Link", response_parse_link},
    {"Location", response_keep_location},
    {"RateLimit", response_parse_rate_limit},
    {"Retry-After", response_parse_retry_after},
    {"X-Amz-Cf-Id", response_keep_request_id},
    {"X-Amzn-Trace-Id", response_keep_request_id},
    {"X-Error-Code", response_keep_error_code},
    {"X-Error-Message", response_keep_message},
    {"X-Linked-Etag", response_keep_linked_etag},
    {"X-Linked-Size", response_keep_linked_size},
    {"X-Repo-Commit", response_parse_commit},
    {"X-Request-Id", response_keep_request_id},
};

void hc_hub_response_header(struct hc_hub_response *response, const char *line,
                            size_t length)
{
    const char *colon = memchr(line, ':', length);
    size_t name = colon ? (size_t)(colon - line) : 0;
    char *value;

    if (memchr(line, '\0', length))
        return;
    /* Folded over lines (RFC 9112, 5.2): what was kept is not all of the value. */
    if (response->is_kept && length > 0 && (line[0] == ' ' || line[0] == '\t'))
        response->flaw = "with a header folded over several lines";
    response->is_kept = false;
    for (size_t i = 0; name > 0 && i < sizeof headers / sizeof *headers; i++) {
        if (strlen(headers[i].name) != name ||
            strncasecmp(headers[i].name, line, name) != 0)
            continue;
        response->is_kept = true;
        value = strndup(colon + 1, length - name - 1);
        if (value)
            headers[i].keep(response, hc_text_trim(value));
        else
            response->flaw = "with a header that memory is too short for";
        free(value);
    }
}

void hc_hub_response_body(struct hc_hub_response *response, const char *bytes,
                          size_t count)
{
    json_t *root = response->error_message[0] ? NULL : json_loadb(bytes, count, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "error"));

    if (message)
        response_keep_message(response, message);
    json_decref(root);
}
