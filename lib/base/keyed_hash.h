/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text as the key of a table that lives as long as the process: a hash under a key that
 * the process draws at random. Tables with such keys hold no secret, and no caller can
 * choose a text whose key is that of another one. A value, copyable; any thread.
 */
#ifndef HC_BASE_KEYED_HASH_H
#define HC_BASE_KEYED_HASH_H

#include <stdbool.h>

enum { HC_KEYED_HASH_SIZE = 16 };

/* All zero: of no text. */
struct hc_keyed_hash {
    unsigned char bytes[HC_KEYED_HASH_SIZE];
};

/* NULL and "" have the key of no text. When memory is short, a key that no text has. */
struct hc_keyed_hash hc_keyed_hash_of(const char *text);

bool hc_keyed_hash_equals(const struct hc_keyed_hash *key,
                          const struct hc_keyed_hash *other);

#endif
