/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer that is not sent yet: a status, headers and a body, which is a text or a part
 * of a blob. Used by one thread at a time.
 */
#ifndef HC_SUPPORT_HUB_ANSWER_H
#define HC_SUPPORT_HUB_ANSWER_H

#include "base/auto.h"

#include <stddef.h>
#include <stdint.h>

struct hub_blob;

enum { HUB_HEADERS_MAX = 24 };

struct hub_answer {
    unsigned status;
    struct {
        char *name;
        char *value;
    } headers[HUB_HEADERS_MAX];
    size_t header_count;
    char *text;
    const struct hub_blob *blob; /* borrowed; NULL: the body is `text` */
    uint64_t offset;             /* of the body in the blob */
    uint64_t length;             /* of the body */
};

/* Sets a header, in place of an earlier value. */
void hub_answer_set(struct hub_answer *answer, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void hub_answer_unset(struct hub_answer *answer, const char *name);

/* Sets status and body, takes `text`, and keeps the headers. */
void hub_answer_text(struct hub_answer *answer, unsigned status, char *text);

/* The same with JSON; adds a weak ETag, as the Hub does. */
void hub_answer_json(struct hub_answer *answer, unsigned status, char *text);

/* A redirect, with a short body as the Hub's have. */
void hub_answer_redirect(struct hub_answer *answer, unsigned status,
                         const char *location);

/* The whole blob, or the part that the Range header `range` (NULL: none) names. */
void hub_answer_blob(struct hub_answer *answer, const struct hub_blob *blob,
                     const char *range);

void hub_answer_clear(struct hub_answer *answer);
HC_DEFINE_AUTO_VALUE(hub_answer, hub_answer_clear)

#endif
