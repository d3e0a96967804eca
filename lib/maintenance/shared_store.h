/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store of blobs that newer clients share between repos (§1.9): <cache root>/blobs,
 * if its marker says so. A payload is a file there; blobs/<etag> of each repo that has it
 * is a symlink to it; its manifest has a line for each of these. The clients trust no
 * line, and neither is one trusted here: it counts when the symlink that it names leads
 * to the payload. What cannot be read keeps a payload. Callable from any thread.
 */
#ifndef HC_MAINTENANCE_SHARED_STORE_H
#define HC_MAINTENANCE_SHARED_STORE_H

#include <base/directory.h>
#include <cache/cache.h>

#include <stdbool.h>
#include <stdint.h>

struct stat;

enum { HC_PAYLOAD_HASH_SIZE = 65 /* 64 hexadecimal digits and a NUL */ };

/* Whether the target of a repo's blob leads to a payload: "../../blobs/<2 hex>/<64
 * hex>". */
bool hc_payload_parse_link(const char *target, char hash[HC_PAYLOAD_HASH_SIZE]);

/* The same of a symlink. */
bool hc_payload_read_link(int dir, const char *name, char hash[HC_PAYLOAD_HASH_SIZE]);

/* How many symlinks of repos lead to it, as its manifest has them, and its status; -1: it
 * is not known, and the payload stays. */
int64_t hc_payload_count_links(const struct hc_cache *cache, const char *hash,
                               struct stat *status);

/* Calls `user` for each of these symlinks. -1: the manifest cannot be read, or `user`
 * failed. */
typedef int (*hc_payload_link_fn)(void *ctx, const struct hc_blob_id *blob,
                                  struct hc_error *err);
int hc_payload_each_link(const struct hc_cache *cache, const char *hash,
                         hc_payload_link_fn user, void *ctx, struct hc_error *err);

/* What `run` returns, which is called with the lock of the payload; 0: a client has the
 * lock. */
int hc_payload_with_lock(const struct hc_cache *cache, const char *hash,
                         int (*run)(void *ctx, const char *hash, struct hc_error *err),
                         void *ctx, struct hc_error *err);

/* Removes a payload and its manifest when no symlink leads to it. 1: removed; 0: kept, or
 * not there; -1. Never waits. */
int hc_payload_remove_unused(const struct hc_cache *cache, const char *hash,
                             struct hc_error *err);

/* Each payload of the store: `next` says the hash. Nothing without the marker. */
struct hc_directory_walk hc_payload_walk(const struct hc_cache *cache);
bool hc_payload_walk_next(struct hc_directory_walk *walk,
                          char hash[HC_PAYLOAD_HASH_SIZE]);

#endif
