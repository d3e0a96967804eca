/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room doubles, so that adding costs a copy now and then only.
 */
#include "buffer.h"

#include <base/error.h>

#include <stdlib.h>
#include <string.h>

int hc_buffer_add(struct hc_buffer *buffer, const void *bytes, size_t count,
                  struct hc_error *err)
{
    size_t needed = buffer->used + count + 1;

    if (needed > buffer->capacity) {
        size_t capacity = needed > buffer->capacity * 2 ? needed : buffer->capacity * 2;
        char *grown = realloc(buffer->bytes, capacity);

        if (!grown)
            return hc_fail_memory(err);
        buffer->bytes = grown;
        buffer->capacity = capacity;
    }
    memcpy(buffer->bytes + buffer->used, bytes, count);
    buffer->used += count;
    buffer->bytes[buffer->used] = '\0';
    return 0;
}

void hc_buffer_clear(struct hc_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct hc_buffer){0};
}
