/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trees/<commit>.json of a repo's folder, the listing of a commit, and the listings in
 * memory, one for all callers of the process that work with a commit. The file on the
 * volume stays the truth: a stat(2) tells whether it is still the one that was read.
 * Threads that need a file which another thread is reading wait for it. Callable from any
 * thread.
 *
 * Memory keeps to a budget of bytes: the listing used longest ago goes first. One that a
 * caller still uses stays, for dropping it would free nothing.
 */
#ifndef HC_CACHE_TREE_CACHE_H
#define HC_CACHE_TREE_CACHE_H

#include "cache.h"

#include <base/cancellation.h>
#include <repo/tree.h>

enum { HC_TREE_CACHE_COUNT_MAX = 1024 /* listings */ };

struct hc_tree_cache *hc_tree_cache_new(size_t budget, struct hc_error *err);

/* No caller may use a tree of it any more. */
void hc_tree_cache_free(struct hc_tree_cache *cache);
HC_DEFINE_AUTO(hc_tree_cache, hc_tree_cache_free)

/* Bytes; 0 keeps what is in use, and nothing else. */
void hc_tree_cache_set_budget(struct hc_tree_cache *cache, size_t budget);

/* Bytes of the listings in memory, in use or not. */
size_t hc_tree_cache_bytes(struct hc_tree_cache *cache);

/* 1 and a finished tree, which the caller frees; 0 when absent, unreadable, corrupt or of
 * another format; -1 also as the cancellation says, which may be NULL, while another
 * thread reads the file. */
int hc_tree_load(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_cancellation *cancellation,
                 struct hc_tree **tree, struct hc_error *err);

/* The listing as it was loaded or saved last, without a look at the volume; NULL: memory
 * does not have it. The caller frees. */
struct hc_tree *hc_tree_recall(const struct hc_cache *cache, const struct hc_repo *repo,
                               const char *commit);

/* 1 and a finished tree, which the caller frees; 0 as above. For a reader of all listings
 * of a cache: it is not kept in memory, where it would take the place of one in use. */
int hc_tree_read(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree **tree, struct hc_error *err);

/* Writes the file and keeps a share of `tree` for other callers. */
int hc_tree_save(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree *tree, struct hc_error *err);

/* Removes a listing that proved wrong, from disk and memory. */
void hc_tree_drop(const struct hc_cache *cache, const struct hc_repo *repo,
                  const char *commit);

/* For a snapshot of which files were removed: what was said of it counts no more. The
 * listing stays. */
void hc_tree_end_term(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit);

/* Until this process saves or drops the listing; its version is another one then. */
struct hc_memo_term hc_tree_term(const struct hc_cache *cache, const struct hc_repo *repo,
                                 const char *commit);

/*
 * Names that the commit's listing must have, as the Hub said together with the commit:
 * kept in memory within the budget, until the listing was compared with them. NULL
 * forgets them.
 */
void hc_tree_expect_names(const struct hc_cache *cache, const struct hc_repo *repo,
                          const char *commit, struct hc_tree *names);

/* NULL: none are known. The caller frees. */
struct hc_tree *hc_tree_expected_names(const struct hc_cache *cache,
                                       const struct hc_repo *repo, const char *commit);

#endif
