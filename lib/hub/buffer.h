/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that grow, as those of an answer do. Zero-initialise it; always NUL-terminated
 * once something was added. For one thread at a time.
 */
#ifndef HC_HUB_BUFFER_H
#define HC_HUB_BUFFER_H

#include <base/auto.h>

#include <stddef.h>

struct hc_error;

struct hc_buffer {
    char *bytes;
    size_t used;
    size_t capacity;
};

int hc_buffer_add(struct hc_buffer *buffer, const void *bytes, size_t count,
                  struct hc_error *err);
void hc_buffer_clear(struct hc_buffer *buffer);
HC_DEFINE_AUTO_VALUE(hc_buffer, hc_buffer_clear)

#endif
