/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/trash/<repo folder>/<8 hex>/: what one removal has taken out of a repo, by
 * rename, until it is removed for good. A reader sees a snapshot whole or not at all, and
 * one that has a file open keeps it. As long as the process of the removal lives, the
 * directory gets a heartbeat. A removal that dies leaves its trash, and this says
 * what is to be done still (removal.h): snapshots whose blobs may be unused now, and
 * blobs that go unless a new pointer leads to them.
 *
 *     snapshots/<commit>/…   the pointers of a revision
 *     files/<number>         other pointers, or plain files in their places
 *     blobs/<etag>           blobs, or symlinks into the shared store (§1.9)
 *     refs/<commit>/<ref>    refs that named a revision (taken_refs.h)
 *     other/…                all else
 *
 * A trash belongs to one thread.
 */
#ifndef HC_MAINTENANCE_TRASH_H
#define HC_MAINTENANCE_TRASH_H

#include <base/directory.h>
#include <cache/cache.h>

#include <stdint.h>

enum {
    HC_TRASH_EXPIRY_MS = 10 * 60 * 1000, /* of a removal that died */
    HC_TRASH_STALE_MS = 10 * 1000        /* the same while a download is short of room */
};

struct hc_trash;

/* Makes a trash of its own, and keeps it alive. */
struct hc_trash *hc_trash_new(const struct hc_cache *cache, const struct hc_repo *repo,
                              struct hc_error *err);

/* Opens that of another removal by its name; NULL when it is gone or no directory. */
struct hc_trash *hc_trash_open(const struct hc_cache *cache, const struct hc_repo *repo,
                               const char *name, struct hc_error *err);

/* It does not expire from now on until it is closed. */
void hc_trash_keep_alive(struct hc_trash *trash, const struct hc_cache *cache);

/* What is in the trash stays. NULL is fine. */
void hc_trash_close(struct hc_trash *trash);
HC_DEFINE_AUTO(hc_trash, hc_trash_close)

/* 1: moved; 0: it was not there; -1. `dir` and `name` are where it is, `kind` and `as`
 * where it goes: "blobs", "<etag>". */
int hc_trash_take(struct hc_trash *trash, int dir, const char *name, const char *kind,
                  const char *as, struct hc_error *err);

/* Moves it back, unless that name has been taken since: 1; 0: it was taken; -1. */
int hc_trash_give_back(struct hc_trash *trash, const char *kind, const char *as, int dir,
                       const char *name, struct hc_error *err);

/* All that is below "snapshots", "blobs", … */
struct hc_directory_walk hc_trash_walk(const struct hc_trash *trash, const char *kind);

/* Removes all of it, and its directory. What refuses stays for the next sweep. */
void hc_trash_empty(struct hc_trash *trash);

/*
 * The repos that have trash, and the names of the trash of one; whether one was last
 * changed more than `age_ms` before `now_ms`. As hc_walk_repos and hc_walk_blobs.
 */
struct hc_directory_walk hc_trash_walk_repos(const struct hc_cache *cache);
struct hc_directory_walk hc_trash_walk_names(const struct hc_cache *cache,
                                             const struct hc_repo *repo);
bool hc_trash_is_expired(const struct hc_directory_walk *walk, int64_t now_ms,
                         int64_t age_ms);

#endif
