/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room doubles, so that adding costs a copy now and then only.
 */
#include "body.h"

#include <base/error.h>

#include <stdlib.h>
#include <string.h>

int hc_body_add(struct hc_body *body, const void *bytes, size_t count,
                struct hc_error *err)
{
    size_t needed = body->used + count + 1;

    if (needed > body->room) {
        size_t room = needed > body->room * 2 ? needed : body->room * 2;
        char *grown = realloc(body->bytes, room);

        if (!grown)
            return hc_fail_memory(err);
        body->bytes = grown;
        body->room = room;
    }
    memcpy(body->bytes + body->used, bytes, count);
    body->used += count;
    body->bytes[body->used] = '\0';
    return 0;
}

void hc_body_clear(struct hc_body *body)
{
    free(body->bytes);
    *body = (struct hc_body){0};
}
