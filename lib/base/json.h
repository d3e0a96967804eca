/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON that is too large to be held as a whole: its arrays and objects are walked member
 * by member, and each member is a value of jansson's while it is looked at. The text is
 * in memory, or a file that is read in pieces. For one thread; bytes may be hostile.
 *
 *     hc_json_from_text(&json, bytes, count);
 *     if (!hc_json_enter(&json, '['))
 *         …                                       it is no array
 *     while ((more = hc_json_next(&json)) > 0)
 *         value = hc_json_value(&json);           NULL: malformed
 *     if (more < 0 || !hc_json_is_done(&json))
 *         …                                       malformed
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
    char close;      /* what ends that */
    int fd;          /* -1: the text is in memory */
    char *window;    /* the part of the file that `bytes` is */
    bool has_failed; /* reading the file did */
};

/* `bytes` is borrowed. */
void hc_json_from_text(struct hc_json *json, const char *bytes, size_t count);

/* From where `fd` is; it is borrowed. */
int hc_json_from_file(struct hc_json *json, int fd, struct hc_error *err);

void hc_json_clear(struct hc_json *json);
HC_DEFINE_AUTO_VALUE(hc_json, hc_json_clear)

/* Whether an array ('[') or object ('{') begins here; it is walked from then on. */
bool hc_json_enter(struct hc_json *json, char open);

/*
 * 1 when another member follows, 0 when the array or object ends here, -1 when neither.
 * After the end of an inner one, `open` of the outer one says which is walked on.
 */
int hc_json_next(struct hc_json *json);
void hc_json_resume(struct hc_json *json, char open);

/* The key of an object's member, and its colon; the caller frees. NULL: malformed. */
char *hc_json_key(struct hc_json *json);

/* Any value; the caller releases it. NULL: malformed, or too large. */
json_t *hc_json_value(struct hc_json *json);

/* Whether nothing but white space is left. */
bool hc_json_is_done(struct hc_json *json);

static inline void hc_json_release(json_t **value)
{
    json_decref(*value);
}

#define HC_AUTO_JSON __attribute__((cleanup(hc_json_release))) json_t

#endif
