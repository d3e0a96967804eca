/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listing of a commit: every file with its size and hashes, sorted by path. On disk
 * it is trees/<commit>.json in the reference client's format, byte for byte (§1.1):
 * written with the umask rather than 0600, and read whichever client wrote it.
 *
 * A listing holds what the Hub listed, also what cannot be used: a path that would be
 * unsafe on disk, without which completeness would be judged wrongly, and hashes that are
 * none, as the reference client keeps them. A file whose hash is unusable has no etag:
 * the Hub has to be asked for it. A Xet hash that is none is left out, and so is one of a
 * file without an etag, for the reference client takes it to mean that both are right.
 *
 * Callers of one process share a listing (tree_cache.h), and do not change it.
 */
#ifndef HC_REPO_TREE_H
#define HC_REPO_TREE_H

#include <base/auto.h>
#include <base/error.h>

#include <stdatomic.h>
#include <stdint.h>

struct hc_text_chunk;

/* A cache of trees, as a tree that it shares knows it. */
struct hc_tree_observer {
    void (*share_released)(
        struct hc_tree_observer *observer); /* called after a share was given up */
};

struct hc_entry {
    const char *path;
    const char *blob_id;    /* git's id as listed; of the pointer file when LFS */
    const char *lfs_sha256; /* as listed; NULL for a git file */
    const char *xet_hash;   /* NULL when the Hub gave none */
    uint64_t size;
    uint64_t lfs_size; /* with lfs_sha256 */
    bool is_safe;      /* set by hc_tree_add: the path may name a file */
    bool has_etag;     /* that too: the hash that counts is one */
};

struct hc_tree {
    struct hc_entry *entries;
    size_t count;
    size_t capacity;
    struct hc_text_chunk *chunks;              /* the entries' texts */
    size_t text_bytes;                         /* of the chunks */
    atomic_uint other_owners;                  /* owners beside the first */
    struct hc_tree_observer *_Atomic observer; /* the cache that shares it, or did */
    bool is_of_mirror; /* a mirror says so, not the Hub itself: for this
                                    answer only */
};

enum {
    HC_TREE_ENTRIES_MAX = 1000000,
    HC_TREE_PATH_MAX = 16384,             /* bytes; a safe one has HC_FILENAME_MAX */
    HC_TREE_BYTES_MAX = 512 * 1024 * 1024 /* of its JSON */
};

struct hc_tree *hc_tree_new(struct hc_error *err);
void hc_tree_free(struct hc_tree *tree);
HC_DEFINE_AUTO(hc_tree, hc_tree_free)

/* One more owner of a tree that is not changed any more; each frees it. NULL stays NULL.
 */
struct hc_tree *hc_tree_share(struct hc_tree *tree);

/* Gives up a share as hc_tree_free does, without telling the keeper; for the keeper. */
void hc_tree_unshare(struct hc_tree *tree);

/* Bytes of memory that it takes. */
size_t hc_tree_memory_bytes(const struct hc_tree *tree);

/* Appends a copy. BAD_HUB_REPLY without a path or blob_id, and beyond the limits. */
int hc_tree_add(struct hc_tree *tree, const struct hc_entry *entry, struct hc_error *err);

/* The same with a path alone, for lists of names. */
int hc_tree_add_path(struct hc_tree *tree, const char *path, struct hc_error *err);

/* Sorts by path, for lists of names. */
void hc_tree_sort(struct hc_tree *tree);

/*
 * Sorts by path (bytes, as Python sorts str of UTF-8) and drops repeated entries; call
 * once after the last add. BAD_HUB_REPLY when it contradicts itself: a path with two
 * meanings, or a file where another entry needs a directory.
 */
int hc_tree_finish(struct hc_tree *tree, struct hc_error *err);

/* NULL when the commit has no such file. Borrowed. */
const struct hc_entry *hc_tree_find(const struct hc_tree *tree, const char *path);

/* Whether an entry is below the directory `path`. */
bool hc_tree_has_directory(const struct hc_tree *tree, const char *path);

/* Whether both list the same. */
bool hc_tree_equals(const struct hc_tree *a, const struct hc_tree *b);

/* The blob's name: the SHA-256 of an LFS file, else git's id; "" when that is no hash.
 * Borrowed. */
const char *hc_entry_etag(const struct hc_entry *entry);

/* The file's size: lfs_size of an LFS file, else size. */
uint64_t hc_entry_size(const struct hc_entry *entry);

/* The parser behind hc_tree_load, for the fuzzer: NULL when `json` is no valid listing.
 */
struct hc_tree *hc_tree_parse_json(const char *json, size_t size);

#endif
