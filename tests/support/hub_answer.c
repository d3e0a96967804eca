/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer is built header by header; a header that is set twice has the second value.
 * The body is a text that the answer owns, or a range of a blob, which is not copied:
 * hub_send.c reads it piece by piece. Content-Length is left to libmicrohttpd, which
 * makes it of the length of the body.
 */
#include "hub_answer.h"

#include "base/text.h"
#include "hub_abort.h"
#include "hub_blob.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The part of `size` bytes that one "bytes=a-b", "bytes=a-" or "bytes=-n" names. */
struct part {
    uint64_t first;
    uint64_t length; /* 0: it lies outside */
};

/*
 * False for every other form, lists of ranges included: as RFC 9110 (14.2) allows, they
 * are ignored and the whole file is sent.
 */
static bool http_range_parse(const char *range, uint64_t size, struct part *part)
{
    const char *text = range ? range : "";
    bool is_suffix;
    uint64_t from, to = size - 1;
    char *end;

    if (!hc_text_starts(text, "bytes="))
        return false;
    text += strlen("bytes=");
    is_suffix = *text == '-';
    if (!isdigit((unsigned char)text[is_suffix]))
        return false;
    from = strtoull(text + is_suffix, &end, 10);
    if (is_suffix && *end == '\0') {
        part->length = from < size ? from : size;
        part->first = size - part->length;
        return true;
    }
    if (is_suffix || *end++ != '-')
        return false;
    if (isdigit((unsigned char)*end))
        to = strtoull(end, &end, 10);
    part->first = from;
    part->length = from < size && to >= from ? (to < size ? to : size - 1) - from + 1 : 0;
    return *end == '\0';
}

void hub_answer_set(struct hub_answer *answer, const char *name, const char *format, ...)
{
    char *value = NULL;
    va_list args;
    int length;

    va_start(args, format);
    length = vasprintf(&value, format, args);
    va_end(args);
    hub_answer_unset(answer, name);
    if (length < 0 || answer->header_count == HUB_HEADERS_MAX)
        hub_abort("no room for header", name);
    answer->headers[answer->header_count].name = hub_strdup(name);
    answer->headers[answer->header_count].value = value;
    answer->header_count++;
}

void hub_answer_unset(struct hub_answer *answer, const char *name)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        if (strcasecmp(answer->headers[i].name, name) != 0)
            continue;
        free(answer->headers[i].name);
        free(answer->headers[i].value);
        answer->headers[i] = answer->headers[--answer->header_count];
        return;
    }
}

void hub_answer_text(struct hub_answer *answer, unsigned status, char *text)
{
    free(answer->text);
    answer->status = status;
    answer->text = text;
    answer->blob = NULL;
    answer->length = strlen(text);
    hub_answer_set(answer, "Content-Type", "text/plain; charset=utf-8");
}

void hub_answer_json(struct hub_answer *answer, unsigned status, char *text)
{
    char oid[41];

    hub_answer_text(answer, status, text);
    hub_blob_name_text(text, oid);
    hub_answer_set(answer, "Content-Type", "application/json; charset=utf-8");
    hub_answer_set(answer, "ETag", "W/\"%zx-%s\"", strlen(text), oid);
}

void hub_answer_redirect(struct hub_answer *answer, unsigned status, const char *location)
{
    hub_answer_text(answer, status, hub_format("Redirecting to %s", location));
    hub_answer_set(answer, "Location", "%s", location);
}

/* 200 with the whole, 206 with a part, 416 for a part that lies beyond the end. */
void hub_answer_blob(struct hub_answer *answer, const struct hub_blob *blob,
                     const char *range)
{
    struct part part = {0, blob->size};
    bool is_part = http_range_parse(range, blob->size, &part);

    hub_answer_set(answer, "Accept-Ranges", "bytes");
    if (is_part && part.length == 0) {
        hub_answer_text(answer, 416, hub_strdup("Range Not Satisfiable"));
        hub_answer_set(answer, "Content-Range", "bytes */%" PRIu64, blob->size);
        return;
    }
    answer->status = is_part ? 206 : 200;
    answer->blob = blob;
    answer->offset = is_part ? part.first : 0;
    answer->length = is_part ? part.length : blob->size;
    hub_answer_set(answer, "Content-Type", "application/octet-stream");
    if (is_part) {
        hub_answer_set(answer, "Content-Range", "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                       part.first, part.first + part.length - 1, blob->size);
    }
}

void hub_answer_clear(struct hub_answer *answer)
{
    for (size_t i = 0; i < answer->header_count; i++) {
        free(answer->headers[i].name);
        free(answer->headers[i].value);
    }
    free(answer->text);
    *answer = (struct hub_answer){0};
}
