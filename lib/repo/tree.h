/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The listing of a commit: every file with its size and hashes, sorted by path; and its
 * JSON, in the reference client's format of trees/<commit>.json, byte for byte (§1.1).
 *
 * A listing holds all that the Hub listed, unusable entries too: without a path that
 * would be unsafe on disk, completeness would be judged wrongly, and a malformed hash is
 * kept as the reference client keeps it. A file whose hash is unusable has no etag: the
 * Hub has to be asked for it. A malformed Xet hash is left out, and so is that of a file
 * without an etag, for the reference client takes a Xet hash to mean that both are right.
 *
 * A listing is built by one thread: new, add …, finish. After that it does not change,
 * and any thread may read and share it.
 */
#ifndef HC_REPO_TREE_H
#define HC_REPO_TREE_H

#include <base/auto.h>
#include <base/error.h>

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

struct hc_json;
struct hc_text_chunk;

/* A cache of listings that wants to know when one of them is no longer used elsewhere. */
struct hc_tree_observer {
    void (*share_released)(struct hc_tree_observer *observer); /* by any thread */
};

struct hc_entry {
    const char *path;
    const char *blob_id;    /* git's id as listed; of the pointer file when LFS */
    const char *lfs_sha256; /* as listed; NULL for a git file */
    const char *xet_hash;   /* NULL when the Hub gave none */
    uint64_t size;
    uint64_t lfs_size; /* with lfs_sha256 */
    bool is_safe;      /* set by hc_tree_add: the path may name a file */
    bool has_etag;     /* set by hc_tree_add: the hash that counts is well-formed */
};

struct hc_tree {
    struct hc_entry *entries;
    size_t count;
    size_t capacity;
    struct hc_text_chunk *chunks;              /* the entries' texts */
    size_t text_bytes;                         /* of the chunks */
    atomic_uint other_owners;                  /* owners beside the first */
    struct hc_tree_observer *_Atomic observer; /* NULL: no cache has shared it */
    bool is_of_mirror; /* a mirror lists it, not the Hub: for this answer only */
};

enum {
    HC_TREE_ENTRIES_MAX = 1000000,
    HC_TREE_PATH_MAX = 16384,             /* bytes; a safe one has HC_FILENAME_MAX */
    HC_TREE_BYTES_MAX = 512 * 1024 * 1024 /* of its JSON */
};

struct hc_tree *hc_tree_new(struct hc_error *err);
void hc_tree_free(struct hc_tree *tree);
HC_DEFINE_AUTO(hc_tree, hc_tree_free)

/* Adds an owner to a finished tree; each owner frees it. NULL stays NULL. */
struct hc_tree *hc_tree_share(struct hc_tree *tree);

/* Gives up a share as hc_tree_free does, without telling the observer: for the
 * observer. */
void hc_tree_unshare(struct hc_tree *tree);

/* Bytes of memory that the tree takes. */
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

/* Writes the JSON to a stream; ferror(3) tells whether all of it was written. */
void hc_tree_write_json(const struct hc_tree *tree, FILE *out);

/* Reads the JSON; NULL when any part of it is no valid listing. */
struct hc_tree *hc_tree_read_json(struct hc_json *json);

#endif
