/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cache root, opened. Everything in cache/ works with paths relative to its
 * descriptor; such a path is what the API calls `cache_path`. Callable from any thread.
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
struct hc_free_space;
struct hc_heartbeats;
struct hc_memo;
struct hc_tree_cache;

/*
 * Opens `dir`, making it when it is not there; its symlinks are resolved once, here, so
 * that returned paths are real. Reads or makes .hubcache/cache-id. A volume that cannot
 * be written to is fine.
 */
struct hc_cache *hc_cache_open(const char *dir, bool no_symlinks, struct hc_error *err);
void hc_cache_close(struct hc_cache *cache);
HC_DEFINE_AUTO(hc_cache, hc_cache_close)

/* Absolute, no symlinks, no trailing slash. Borrowed. */
const char *hc_cache_root(const struct hc_cache *cache);

/* A descriptor of the root, for the *at() calls. Borrowed. */
int hc_cache_fd(const struct hc_cache *cache);

/* A UUID, or "" on a volume that was never written to. Borrowed. */
const char *hc_cache_id(const struct hc_cache *cache);

/* What refs and pointers said when they were last read. Borrowed. */
struct hc_memo *hc_cache_memo(const struct hc_cache *cache);

/* Listings in memory; HC_TREE_MEMORY of them unless told otherwise. Borrowed. */
struct hc_tree_cache *hc_cache_trees(const struct hc_cache *cache);

/* What beats for all claims of this process. Borrowed. */
struct hc_heartbeats *hc_cache_heartbeats(const struct hc_cache *cache);

/* The owner of its volume's free space (base/free_space.h). Borrowed. */
struct hc_free_space *hc_cache_free_space(const struct hc_cache *cache);

/* HF_HUB_DISABLE_SYMLINKS: pointers are plain files. */
bool hc_cache_has_no_symlinks(const struct hc_cache *cache);

/* "<folder>/snapshots/<commit>" or, with a path, "<folder>/snapshots/<commit>/<path>". */
int hc_cache_snapshot_path(char out[PATH_MAX], const struct hc_repo *repo,
                           const char *commit, const char *path, struct hc_error *err);

/* "<folder>/blobs/<etag>". */
int hc_cache_blob_path(char out[PATH_MAX], const struct hc_blob_id *blob,
                       struct hc_error *err);

/* A fresh name below .hubcache/tmp, where no client looks; the sweep empties it. */
int hc_cache_private_path(char out[PATH_MAX], struct hc_error *err);

/* hc_file_publish through a private path of this cache. */
int hc_cache_publish(const struct hc_cache *cache, const char *path, const char *content,
                     size_t size, struct hc_error *err);

/* Writes CACHEDIR.TAG (§1.1) when it is not there. Failure is of no interest. */
void hc_cache_write_tag(const struct hc_cache *cache);

#endif
