/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest of a file that arrives in messages. After hc_hasher_start() a thread of its
 * own computes it, so that a message is hashed while the next one is received: hashing
 * alone takes a core more than half of its time. One thread calls these functions.
 */
#ifndef HC_CLIENT_HASHER_H
#define HC_CLIENT_HASHER_H

#include "base/auto.h"
#include "base/hash.h"

#include <stddef.h>
#include <stdint.h>

struct hc_hasher;

/* `size` is the length of the whole file. NULL on failure. */
struct hc_hasher *hc_hasher_new(enum hc_digest_kind kind, uint64_t size,
                                struct hc_error *err);

/* NULL is fine. */
void hc_hasher_free(struct hc_hasher *hasher);
HC_DEFINE_AUTO(hc_hasher, hc_hasher_free)

/* Starts the thread, once. Without one, hc_hasher_begin() hashes. */
void hc_hasher_start(struct hc_hasher *hasher);

/*
 * Before a batch: waits until the one before the last one is hashed. A failure is that of
 * an earlier batch.
 */
int hc_hasher_next(struct hc_hasher *hasher, struct hc_error *err);

/*
 * Adds bytes to the batch. They must stay as they are until the second hc_hasher_next()
 * after this batch's own has returned, or hc_hasher_settle() has.
 */
int hc_hasher_add(struct hc_hasher *hasher, const void *bytes, size_t count,
                  struct hc_error *err);

/* Hashes the batch; does not wait for the thread. */
void hc_hasher_begin(struct hc_hasher *hasher);

/* Waits until all batches are hashed. */
void hc_hasher_settle(struct hc_hasher *hasher);

/* As hc_digest_finish(). */
int hc_hasher_finish(struct hc_hasher *hasher, char hex[HC_DIGEST_HEX_MAX + 1],
                     struct hc_error *err);

#endif
