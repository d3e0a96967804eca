/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings in memory, one for all callers of the process who work with a commit: the file
 * on the volume stays the truth, and a stat(2) tells whether it is still the one that was
 * read. Callers that need a file which is being read wait for it rather than read it too.
 *
 * It keeps to a budget of bytes: the listing used longest ago goes first. What a caller
 * still uses costs nothing more by being kept, so it goes only when no caller does.
 * Callable from any thread.
 */
#ifndef HC_CACHE_TREE_CACHE_H
#define HC_CACHE_TREE_CACHE_H

#include <base/auto.h>
#include <base/error.h>

#include <stddef.h>
#include <sys/stat.h>

struct hc_tree;
struct hc_tree_cache;

enum { HC_TREE_CACHE_COUNT_MAX = 1024 };

struct hc_tree_cache *hc_tree_cache_new(size_t budget, struct hc_error *err);

/* No caller may use a tree of it any more. */
void hc_tree_cache_free(struct hc_tree_cache *cache);
HC_DEFINE_AUTO(hc_tree_cache, hc_tree_cache_free)

void hc_tree_cache_set_budget(struct hc_tree_cache *cache, size_t budget);

/*
 * 1 and a share of the listing `path` in the state that `status` shows; the caller frees
 * it. 0 when it has to be read: the caller does so, and says hc_tree_cache_end_read in
 * every case, for others wait for that.
 */
int hc_tree_cache_find(struct hc_tree_cache *cache, const char *path,
                       const struct stat *status, struct hc_tree **tree);

/* What was read: it is shared from here on. NULL: nothing of use. */
void hc_tree_cache_end_read(struct hc_tree_cache *cache, const char *path,
                            const struct stat *status, struct hc_tree *tree);

/* What was just written to `path`; or, with NULL, that it is not to be used any more. */
void hc_tree_cache_put(struct hc_tree_cache *cache, const char *path,
                       const struct stat *status, struct hc_tree *tree);

/* A share of what was put to `path`, whatever its state; NULL: nothing is there. */
struct hc_tree *hc_tree_cache_get(struct hc_tree_cache *cache, const char *path);

/* Bytes of the listings that it has, in use or not. */
size_t hc_tree_cache_bytes(struct hc_tree_cache *cache);

#endif
