/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trees/<commit>.json of a repo's folder: the listing of a commit on the volume, read
 * through the listings in memory (tree_cache.h). Callable from any thread.
 */
#ifndef HC_CACHE_TREE_FILE_H
#define HC_CACHE_TREE_FILE_H

#include "cache.h"

#include <repo/tree.h>

/* 1 and a sorted tree (caller frees); 0 when absent, unreadable, corrupt or of another
 * format. */
int hc_tree_load(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree **tree, struct hc_error *err);

/* Publishes it, and lets others of this process have it from memory. */
int hc_tree_save(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree *tree, struct hc_error *err);

/* Removes a listing that proved wrong, from disk and memory. */
void hc_tree_drop(const struct hc_cache *cache, const struct hc_repo *repo,
                  const char *commit);

/*
 * Names that the commit's listing must have, as the Hub said beside the commit: kept in
 * memory, as long as there is room, until the listing was held against them.
 */
void hc_tree_expect_names(const struct hc_cache *cache, const struct hc_repo *repo,
                          const char *commit, struct hc_tree *names);

/* NULL: none are known. The caller frees. */
struct hc_tree *hc_tree_expected_names(const struct hc_cache *cache,
                                       const struct hc_repo *repo, const char *commit);

#endif
