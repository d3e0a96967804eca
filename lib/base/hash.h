/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three hashes, for three purposes.
 *
 * A digest names bytes, as the Hub does: SHA-256 of the content for LFS files, and git's
 * blob id, SHA-1 of "blob <size>\0<content>", for all others. The length of an etag tells
 * which: 64 or 40 lower-case hexadecimal digits. One digest belongs to one thread.
 *
 * A keyed hash stands for a text in a table that holds no secrets: HMAC-SHA256 under a
 * key that the process draws at random. No caller can choose a text that has the hash of
 * another one. A value, copyable; any thread.
 *
 * hc_hash_bytes() spreads the keys of a table over its buckets, and is good for nothing
 * else.
 */
#ifndef HC_BASE_HASH_H
#define HC_BASE_HASH_H

#include "auto.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HC_DIGEST_HEX_MAX = 64 };

enum hc_digest_kind {
    HC_DIGEST_NONE, /* a mirror's etag that is no hash: only the size can be checked */
    HC_DIGEST_GIT_BLOB,
    HC_DIGEST_SHA256
};

struct hc_digest; /* a hash being computed */

/* What an etag is a hash of. */
enum hc_digest_kind hc_digest_kind_of(const char *etag);

/* Whether an etag is the hash of an empty file. Only such a file has this etag, and only
 * with this etag, or one that is no hash, can a file be empty. */
bool hc_digest_is_of_empty_file(const char *etag);

/* `size` is the length of the whole content; git hashes it before the content. */
struct hc_digest *hc_digest_new(enum hc_digest_kind kind, uint64_t size,
                                struct hc_error *err);
void hc_digest_free(struct hc_digest *digest);
HC_DEFINE_AUTO(hc_digest, hc_digest_free)

int hc_digest_update(struct hc_digest *digest, const void *bytes, size_t count,
                     struct hc_error *err);

/* Writes lower-case hexadecimal digits and a NUL, "" for HC_DIGEST_NONE. No update may
 * follow. */
int hc_digest_finish(struct hc_digest *digest, char hex[HC_DIGEST_HEX_MAX + 1],
                     struct hc_error *err);

enum { HC_KEYED_HASH_SIZE = 16 };

/* All zero: the hash of no text. */
struct hc_keyed_hash {
    unsigned char bytes[HC_KEYED_HASH_SIZE];
};

/* All zero for NULL and "". When memory is short, a random hash that no text has. */
struct hc_keyed_hash hc_keyed_hash_of(const char *text);
struct hc_keyed_hash hc_keyed_hash_of_bytes(const void *bytes, size_t size);

bool hc_keyed_hash_equals(const struct hc_keyed_hash *key,
                          const struct hc_keyed_hash *other);

/* FNV-1a of bytes, continued from `hash`; HC_HASH_START at first. */
#define HC_HASH_START UINT64_C(0xcbf29ce484222325)
uint64_t hc_hash_bytes(uint64_t hash, const void *bytes, size_t size);

#endif
