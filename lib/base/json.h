/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reader of JSON that is too large to be held as a whole, such as the listing of a repo
 * with a million files: arrays and objects are read member by member, and each member is
 * a value of jansson's. The text is in memory, or a file that is read in pieces.
 *
 * hc_json_enter() begins an array or object, hc_json_next() says whether another member
 * follows, hc_json_value() reads it (in an object after hc_json_key()), and
 * hc_json_is_done() says at the end whether nothing but white space is left. The bytes
 * may be hostile. A reader belongs to one thread.
 */
#ifndef HC_BASE_JSON_H
#define HC_BASE_JSON_H

#include "auto.h"
#include "error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* Bytes of one value in a file; one in memory may be larger. */
enum { HC_JSON_VALUE_MAX = 256 * 1024 };

struct hc_json {
    const char *bytes;
    size_t count;
    size_t at;
    bool is_first;   /* no member of the innermost array or object was read yet */
    char close;      /* the bracket or brace that ends it */
    int fd;          /* -1: the text is in memory */
    char *window;    /* the part of the file that `bytes` is */
    bool has_failed; /* the file could not be read */
};

/* Reads `count` bytes, which are borrowed. */
void hc_json_from_text(struct hc_json *json, const char *bytes, size_t count);

/* Reads a file from its current position on; `fd` is borrowed. */
int hc_json_from_file(struct hc_json *json, int fd, struct hc_error *err);

void hc_json_clear(struct hc_json *json);
HC_DEFINE_AUTO_VALUE(hc_json, hc_json_clear)

/* Whether an array ('[') or object ('{') begins here; its members are read from then
 * on. */
bool hc_json_enter(struct hc_json *json, char open);

/* 1 when another member follows, 0 when the array or object ends here, -1: malformed. */
int hc_json_next(struct hc_json *json);

/* After the end of an inner array or object: the outer one, which begins with `open`, is
 * read on. */
void hc_json_resume(struct hc_json *json, char open);

/* Reads the key of a member and its colon; the caller frees. NULL: malformed. */
char *hc_json_key(struct hc_json *json);

/* Reads a value of any kind; the caller releases it. NULL: malformed, or too large. */
json_t *hc_json_value(struct hc_json *json);

/* Whether nothing but white space is left. */
bool hc_json_is_done(struct hc_json *json);

static inline void hc_json_release(json_t **value)
{
    json_decref(*value);
}

#define HC_AUTO_JSON __attribute__((cleanup(hc_json_release))) json_t

#endif
