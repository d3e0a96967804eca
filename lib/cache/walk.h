/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a cache: its repos, and the blobs, snapshots, refs and files of one. For
 * sweeps, the search for duplicates, eviction and listings; a lookup by name needs none
 * of it. A walk reads directories only, returns only names that the cache itself could
 * have written, and passes over all else that other clients and people put there.
 *
 * A walk of base/directory.h: it follows no symlink, the repo's folder included, and what
 * is created or removed meanwhile may be missed or returned.
 *
 *     HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(cache);
 *     struct hc_repo repo;
 *
 *     while (hc_walk_next_repo(&walk, &repo))
 *         puts(repo.id);
 */
#ifndef HC_CACHE_WALK_H
#define HC_CACHE_WALK_H

#include "cache.h"

#include <base/directory.h>

struct hc_directory_walk hc_walk_repos(const struct hc_cache *cache);
bool hc_walk_next_repo(struct hc_directory_walk *walk, struct hc_repo *repo);

/* The others are continued with hc_directory_walk_next. `path` is the etag of a blob, be
 * it a file or a symlink into the store that clients share between repos; … */
struct hc_directory_walk hc_walk_blobs(const struct hc_cache *cache,
                                       const struct hc_repo *repo);

/* … the name of a partial file, of this program or of another client; … */
struct hc_directory_walk hc_walk_partials(const struct hc_cache *cache,
                                          const struct hc_repo *repo);

/* … the commit of a snapshot; … */
struct hc_directory_walk hc_walk_snapshots(const struct hc_cache *cache,
                                           const struct hc_repo *repo);

/* … the revision of a ref; … */
struct hc_directory_walk hc_walk_refs(const struct hc_cache *cache,
                                      const struct hc_repo *repo);

/* … the path within the repo of a snapshot's file: a pointer, dangling or not, or a
 * plain file where there were no symlinks. */
struct hc_directory_walk hc_walk_files(const struct hc_cache *cache,
                                       const struct hc_repo *repo, const char *commit);

#endif
