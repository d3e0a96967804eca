/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table: header name to the member it fills. Values that do not fit or are not what
 * they should be count as absent, so that whoever needs them says so.
 */
#include "reply.h"

#include <base/error.h>
#include <base/text.h>

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { RETRY_AFTER_MAX_S = 86400 };

/* Decimal digits at `text`; the first byte after them, NULL when there are none or too
 * many. */
static const char *take_number(const char *text, uint64_t *number)
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
static bool parse_size(const char *text, uint64_t *size)
{
    const char *end = take_number(text, size);

    return end && *end == '\0' && *size <= INT64_MAX;
}

/* "bytes 100-199/1000" */
static void parse_range(struct hc_reply *reply, const char *value)
{
    uint64_t start, last, total;
    const char *next = hc_text_starts(value, "bytes ") ? value + 6 : NULL;

    next = next ? take_number(next, &start) : NULL;
    next = next && *next == '-' ? take_number(next + 1, &last) : NULL;
    next = next && *next == '/' ? take_number(next + 1, &total) : NULL;
    if (!next || *next || start > last || last >= total)
        return;
    reply->has_range = true;
    reply->range_start = start;
    reply->range_total = total;
}

static unsigned seconds_to_ms(uint64_t seconds)
{
    return (unsigned)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

/* Seconds, or a date. */
static void parse_retry_after(struct hc_reply *reply, const char *value)
{
    uint64_t seconds;
    time_t now, then;

    if (parse_size(value, &seconds)) {
        reply->retry_after_ms = seconds_to_ms(seconds);
        return;
    }
    now = time(NULL);
    then = curl_getdate(value, NULL);
    if (then > now)
        reply->retry_after_ms = seconds_to_ms((uint64_t)(then - now));
}

/* The number of `;<name>=55` among the parameters between `text` and `end`. */
static bool find_parameter(const char *text, const char *end, char name, uint64_t *number)
{
    for (const char *next = text; next < end; next++) {
        if (*next != ';')
            continue;
        while (next[1] == ' ')
            next++;
        if (next[1] == name && next[2] == '=')
            return take_number(next + 3, number) != NULL;
    }
    return false;
}

/*
 * `"api";r=0;t=55, "pages";r=3;t=10`: whatever is used up has to be waited for. Retry-After
 * wins when both are there.
 */
static void parse_rate_limit(struct hc_reply *reply, const char *value)
{
    uint64_t longest = 0;

    while (*value) {
        const char *end = strchrnul(value, ',');
        uint64_t remaining, seconds;

        if (find_parameter(value, end, 'r', &remaining) && remaining == 0 &&
            find_parameter(value, end, 't', &seconds) && seconds > longest)
            longest = seconds;
        value = *end ? end + 1 : end;
    }
    if (reply->retry_after_ms == 0)
        reply->retry_after_ms = seconds_to_ms(longest);
}

/* Whether the parameters between `text` and `end` say rel="next". */
static bool is_next(const char *text, const char *end)
{
    const char *rel = strcasestr(text, "rel=");

    if (!rel || rel >= end)
        return false;
    rel += 4;
    if (*rel == '"')
        rel++;
    return strncasecmp(rel, "next", 4) == 0 &&
           !strchr("abcdefghijklmnopqrstuvwxyz-", rel[4]);
}

/* <url>; rel="next", <url>; rel="xet-auth" */
static void parse_link(struct hc_reply *reply, const char *value)
{
    const char *open = strchr(value, '<');

    while (open) {
        const char *close = strchr(open, '>');
        const char *following = close ? strchr(close, '<') : NULL;
        const char *end = following ? following : value + strlen(value);

        if (!close)
            return;
        if (is_next(close, end))
            (void)hc_format(reply->next_page, sizeof reply->next_page, "%.*s",
                            (int)(close - open - 1), open + 1);
        open = following;
    }
}

static void parse_commit(struct hc_reply *reply, const char *value)
{
    reply->has_bad_commit = !hc_commit_is_valid(value);
    (void)hc_format(reply->commit, sizeof reply->commit, "%s",
                    reply->has_bad_commit ? "" : value);
}

/* Text of the Hub's that ends up in messages: whatever cannot be shown becomes "?". */
static void keep_message(struct hc_reply *reply, const char *value)
{
    bool is_utf8;

    (void)snprintf(reply->error_message, sizeof reply->error_message, "%s", value);
    is_utf8 = hc_text_is_utf8(reply->error_message);
    for (char *c = reply->error_message; *c; c++) {
        unsigned char byte = (unsigned char)*c;

        if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !is_utf8))
            *c = '?';
    }
}

static void keep_request_id(struct hc_reply *reply, const char *value)
{
    if (!reply->request_id[0] && hc_text_is_utf8(value) && hc_text_is_printable(value))
        (void)hc_format(reply->request_id, sizeof reply->request_id, "%s", value);
}

static void keep_length(struct hc_reply *reply, const char *value)
{
    reply->has_length = parse_size(value, &reply->content_length);
}

static void keep_linked_size(struct hc_reply *reply, const char *value)
{
    reply->has_linked_size = parse_size(value, &reply->linked_size);
}

static void keep_etag(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->etag, sizeof reply->etag, "%s", value);
}

static void keep_linked_etag(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->linked_etag, sizeof reply->linked_etag, "%s", value);
}

static void keep_location(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->location, sizeof reply->location, "%s", value);
}

static void keep_code(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->error_code, sizeof reply->error_code, "%s", value);
}

static const struct {
    const char *name;
    void (*keep)(struct hc_reply *reply, const char *value);
} headers[] = {
    {"Content-Length", keep_length},
    {"Content-Range", parse_range},
    {"ETag", keep_etag},
    {"Link", parse_link},
    {"Location", keep_location},
    {"RateLimit", parse_rate_limit},
    {"Retry-After", parse_retry_after},
    {"X-Amz-Cf-Id", keep_request_id},
    {"X-Amzn-Trace-Id", keep_request_id},
    {"X-Error-Code", keep_code},
    {"X-Error-Message", keep_message},
    {"X-Linked-Etag", keep_linked_etag},
    {"X-Linked-Size", keep_linked_size},
    {"X-Repo-Commit", parse_commit},
    {"X-Request-Id", keep_request_id},
};

void hc_reply_header(struct hc_reply *reply, const char *line, size_t length)
{
    char text[HC_HEADER_MAX];
    char *value;

    if (length >= sizeof text || memchr(line, '\0', length))
        return;
    memcpy(text, line, length);
    text[length] = '\0';
    value = strchr(text, ':');
    if (!value)
        return;
    *value++ = '\0';
    (void)hc_text_trim(value);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        if (strcasecmp(headers[i].name, text) == 0)
            headers[i].keep(reply, value);
    }
}

void hc_reply_body(struct hc_reply *reply, const char *bytes, size_t count)
{
    json_t *root = reply->error_message[0] ? NULL : json_loadb(bytes, count, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "error"));

    if (message)
        keep_message(reply, message);
    json_decref(root);
}
