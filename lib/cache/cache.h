/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache root, opened, and the paths of its layout (§1.1). Everything in cache/ works
 * with paths relative to the root's descriptor; such a path is what the API calls
 * `cache_path`. Callable from any thread.
 *
 * Readers need nothing but the volume: a hit takes no lock and writes at most an atime.
 * What cache/ writes (refs, pointers, markers, listings) it writes to a private path and
 * renames, so that a reader sees the old file or the new one; blobs are store/'s.
 */
#ifndef HC_CACHE_CACHE_H
#define HC_CACHE_CACHE_H

#include <repo/blob_request.h>
#include <repo/name.h>

#include <base/auto.h>
#include <base/error.h>

#include <limits.h>
#include <stdbool.h>

struct hc_cache;
struct hc_fetched_totals;
struct hc_free_space;
struct hc_heartbeats;
struct hc_memo;
struct hc_occupancy;
struct hc_tree_cache;

/*
 * Opens `dir` and creates it when it is not there. Its symlinks are resolved once, here,
 * as the reference client does, so that returned paths have none. Reads or creates
 * .hubcache/cache-id. A read-only volume is fine. NULL: CACHE_IO, CACHE_READ_ONLY or
 * NO_SPACE.
 */
struct hc_cache *hc_cache_open(const char *dir, bool no_symlinks, struct hc_error *err);
void hc_cache_close(struct hc_cache *cache);
HC_DEFINE_AUTO(hc_cache, hc_cache_close)

/*
 * Whether the volume still answers at the path of the root, as a reader needs it; may
 * hang as the volume does. If the volume has been mounted there again, which its cache-id
 * shows, this cache continues on the new mount. -1: CACHE_IO or CACHE_READ_ONLY (no
 * permission), or INTERNAL when this process lacks memory or descriptors to find out.
 */
int hc_cache_check(struct hc_cache *cache, struct hc_error *err);

/* Absolute, no symlinks, no trailing slash. Borrowed. */
const char *hc_cache_root(const struct hc_cache *cache);

/* A descriptor of the root, for openat(2) and its like. Borrowed. */
int hc_cache_fd(const struct hc_cache *cache);

/* A UUID that all processes of the volume agree on, or "" when it is read-only and has
 * none. Borrowed. */
const char *hc_cache_id(const struct hc_cache *cache);

/* What refs and pointers said when this process last read them. Borrowed. */
struct hc_memo *hc_cache_memo(const struct hc_cache *cache);

/* Listings in memory (tree_cache.h); HC_TREE_MEMORY bytes of them unless set otherwise.
 * Borrowed. */
struct hc_tree_cache *hc_cache_trees(const struct hc_cache *cache);

/* The heartbeats of all claims of this process (base/heartbeat.h). Borrowed. */
struct hc_heartbeats *hc_cache_heartbeats(const struct hc_cache *cache);

/* The owner of its volume's free space (base/free_space.h). Borrowed. */
struct hc_free_space *hc_cache_free_space(const struct hc_cache *cache);

/* How many bytes of the volume the cache takes (occupancy.h). Borrowed. */
struct hc_occupancy *hc_cache_occupancy(const struct hc_cache *cache);

/* What callers have had fetched (fetched_totals.h). Borrowed. */
struct hc_fetched_totals *hc_cache_fetched_totals(const struct hc_cache *cache);

/* HF_HUB_DISABLE_SYMLINKS: pointers are plain files. */
bool hc_cache_has_no_symlinks(const struct hc_cache *cache);

/* "<folder>/snapshots/<commit>" or, with a path, "<folder>/snapshots/<commit>/<path>". */
int hc_cache_snapshot_path(char out[PATH_MAX], const struct hc_repo *repo,
                           const char *commit, const char *path, struct hc_error *err);

/* The reverse: the repo of a path below its snapshots/, and what follows that:
 * "<commit>[/<path>]", unchecked. NULL: it is no such path. */
const char *hc_cache_parse_snapshot_path(const char *cache_path, struct hc_repo *repo);

/* "<folder>/blobs/<etag>". */
int hc_cache_blob_path(char out[PATH_MAX], const struct hc_blob_id *blob,
                       struct hc_error *err);

/* A new name below .hubcache/tmp, where no client looks. The sweep removes what a crash
 * leaves there. Creates nothing. */
int hc_cache_private_path(char out[PATH_MAX], struct hc_error *err);

/* hc_file_publish through a private path of this cache. */
int hc_cache_publish(const struct hc_cache *cache, const char *path, const char *content,
                     size_t size, struct hc_error *err);

/* Writes CACHEDIR.TAG (§1.1) when it is not there. As in the reference client, failure
 * is ignored. */
void hc_cache_write_tag(const struct hc_cache *cache);

#endif
