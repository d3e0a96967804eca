/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listing of a commit: every file with its size and hashes, sorted by path. On disk
 * it is trees/<commit>.json in the reference client's format, byte for byte (§1.1):
 * written with the umask rather than 0600, and read whoever wrote it.
 */
#ifndef HC_CACHE_TREE_H
#define HC_CACHE_TREE_H

#include "cache.h"

#include <stdatomic.h>
#include <stdint.h>

struct hc_entry {
    char *path;
    uint64_t size;
    uint64_t lfs_size;   /* with lfs_sha256 */
    char blob_id[41];    /* git's id; of the pointer file when the file is LFS */
    char lfs_sha256[65]; /* "" for a git file */
    char xet_hash[65];   /* "" when the Hub gave none */
};

struct hc_tree {
    struct hc_entry *entries;
    size_t count;
    size_t room;
    atomic_uint sharers; /* owners beside the first */
    bool is_of_mirror;   /* a mirror says so, not the Hub itself: for this answer only */
};

enum {
    HC_TREE_ENTRIES_MAX = 1000000,
    HC_TREE_BYTES_MAX = 512 * 1024 * 1024 /* of its JSON */
};

struct hc_tree *hc_tree_new(struct hc_error *err);
void hc_tree_free(struct hc_tree *tree);
HC_DEFINE_AUTO(hc_tree, hc_tree_free)

/* One more owner of a tree that nobody changes any more; each frees it. NULL stays NULL.
 */
struct hc_tree *hc_tree_share(struct hc_tree *tree);

/* Appends a copy. BAD_HUB_REPLY for an unsafe path or a hash that is none. */
int hc_tree_add(struct hc_tree *tree, const struct hc_entry *entry, struct hc_error *err);

/* Sorts by path (bytes, as Python sorts str of UTF-8); call once after the last add. */
void hc_tree_sort(struct hc_tree *tree);

/* NULL when the commit has no such file. Borrowed. */
const struct hc_entry *hc_tree_find(const struct hc_tree *tree, const char *path);

/* The blob's name: the SHA-256 of an LFS file, else git's id. Borrowed. */
const char *hc_entry_etag(const struct hc_entry *entry);

/* The file's size: lfs_size of an LFS file, else size. */
uint64_t hc_entry_size(const struct hc_entry *entry);

/* 1 and a sorted tree (caller frees); 0 when absent, unreadable, corrupt or of another
 * format. */
int hc_tree_load(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree **tree, struct hc_error *err);

int hc_tree_save(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, const struct hc_tree *tree, struct hc_error *err);

/* The parser behind hc_tree_load, for the fuzzer: NULL when `json` is no valid listing.
 */
struct hc_tree *hc_tree_parse(const char *json, size_t size);

#endif
