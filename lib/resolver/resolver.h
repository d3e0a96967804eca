/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every resolution works with: the opened resolver, and the subject of one request,
 * validated. The files beside this one know the order of the steps and nothing of how any
 * of them is done:
 *
 *     local.c     a directory under a local root wins
 *     hint.c      what the cache has instead of what it has not
 *     subject.c   what is asked for, and what the disk says its revision means
 *     resolution.c  what is asked of the Hub, and when an older answer has to do
 *     revision.c  what the Hub says it means, and what is in that commit
 *     file.c      one file; the hit path
 *     files.c     several files of one commit
 *     snapshot.c  all files of a commit, proved complete
 *     batch.c     bytes for many files at a time, with progress
 *     needs.c     room for them, before the first byte
 *     answer.c    filling and clearing answers
 */
#ifndef HC_RESOLVER_RESOLVER_H
#define HC_RESOLVER_RESOLVER_H

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>
#include <base/workers.h>
#include <cache/cache.h>
#include <cache/pointer.h>
#include <hub/hub.h>
#include <hubcache/resolver.h>
#include <policy/policy.h>
#include <policy/token.h>
#include <repo/tree.h>
#include <transfer/transfer.h>

#include <stdatomic.h>

struct hc_filter;
struct hc_shared_queries;
struct hc_hub_resolution;

struct hc_resolver {
    struct hc_settings settings;
    struct hc_policy policy;
    struct hc_cache *cache;
    struct hc_hub *hub;
    struct hc_transfers *transfers;
    struct hc_shared_queries *questions; /* about revisions and trees */
    struct hc_workers *download_workers; /* threads for the files of all batches */
    atomic_int_least64_t markers_swept_ms;
    atomic_bool had_token_file; /* the token file has held one */
    hc_stale_fn stale_watcher;
    void *stale_ctx;
};

/* What a request is about. Strings are the request's. */
struct hc_resolution {
    struct hc_resolver *resolver;
    const struct hc_fetch_options *options;
    const char *revision; /* never NULL */
    bool is_commit;       /* the revision is one */
    bool may_ask_hub;     /* the Hub may be asked */
    struct hc_repo repo;
};

/* Refuses bad ids, revisions and options before any I/O. */
int hc_resolution_init(struct hc_resolution *resolution, struct hc_resolver *resolver,
                       const struct hc_target *target,
                       const struct hc_fetch_options *options, struct hc_error *err);

/* Milliseconds since the epoch, by which refs are fresh or not. */
int64_t hc_resolution_now_ms(void);

/* What the disk says a revision means. */
struct hc_local_ref {
    char commit[HC_COMMIT_SIZE]; /* "" when it says nothing */
    bool is_usable; /* the Hub need not be asked (fresh enough) or must not be */
};

int hc_resolution_read_ref(const struct hc_resolution *resolution,
                           struct hc_local_ref *local_ref, struct hc_error *err);

/* NOT_CACHED for `what` ("'config.json'", "a snapshot"), saying why and the way out. */
int hc_resolution_fail_not_cached(const struct hc_resolution *resolution,
                                  const char *path, struct hc_error *err);

/*
 * Fetches the bytes of a file and makes its pointer; `result` as of hc_transfers_fetch.
 * With an empty etag, the Hub is asked for etag and size first.
 * A volume that refuses is told together with what was to be kept on it.
 */
int hc_resolution_fetch_blob(const struct hc_resolution *resolution,
                             const struct hc_blob_request *request,
                             const struct hc_hub_credentials *credentials,
                             struct hc_blob_result *result, struct hc_error *err);

/* ---- local.c: 1 and the directory's real path, 0 when the id names none. */
int hc_local_find(const struct hc_resolver *resolver, const char *id, char dir[PATH_MAX]);
int hc_local_file(const char *dir, const char *path, struct hc_file *file,
                  struct hc_error *err);
int hc_local_snapshot(const char *dir, const struct hc_snapshot_request *request,
                      struct hc_filter *filter, struct hc_snapshot *snapshot,
                      struct hc_error *err);

/* ---- file.c, shared with files.c */

/* One file of one commit, from the disk: 1 found, 0 not there, -1 (ENTRY_NOT_FOUND:
 * marked). */
int hc_resolution_find_file(const struct hc_resolution *resolution, const char *commit,
                            const char *path, struct hc_file *file, struct hc_error *err);

/* ---- revision.c */

/* A way to ask the Hub what a revision means: 0, and no commit when it did not tell. */
struct hc_revision_query {
    int (*ask)(void *ctx, struct hc_revision *answer, struct hc_error *err);
    void *ctx;
};

/* Asks `ask`, unless another caller just does, or the disk knows by now. Not for those
 * who force a download. */
int hc_resolution_query_revision(struct hc_hub_resolution *hub_resolution,
                                 const struct hc_revision_query *ask,
                                 struct hc_revision *answer, struct hc_error *err);

/*
 * Which commit the revision means now, and the tree of that commit: both from disk where it
 * is good for that, else from the Hub, and the tree is kept. NULL on failure.
 */
struct hc_tree *hc_resolution_get_tree(struct hc_hub_resolution *hub_resolution,
                                       char commit[HC_COMMIT_SIZE], struct hc_error *err);

/* ---- answer.c */
int hc_resolved_file_init(const struct hc_resolver *resolver, const char *cache_path,
                          const char *path, struct hc_file *file, struct hc_error *err);
int hc_resolved_files_add(struct hc_file **items, size_t *count, struct hc_file *file,
                          struct hc_error *err);

#endif
