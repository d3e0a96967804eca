/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/fetched/<repo folder>/<etag>: the record of a blob that hubcache has fetched.
 * Its text is JSON: the caller, how that one proved its identity, its groups, the rule of
 * the policy that allowed the download, the bytes, and when. Usage and quotas are counted
 * by it.
 *
 * The transfer writes the record before the blob gets its name, and whatever removes the
 * blob removes the record after it, both with the blob's lock held: so a blob of hubcache
 * has a record after a crash, too. Records of blobs that other clients have removed are
 * swept. A record is advice: without one a blob counts for no caller. Callable from any
 * thread.
 */
#ifndef HC_CACHE_FETCHED_H
#define HC_CACHE_FETCHED_H

#include "cache.h"

#include <base/directory.h>
#include <base/json.h>
#include <hubcache/resolver.h>

#include <stdint.h>

enum {
    HC_FETCHED_GROUPS_MAX = 32,         /* groups of a caller that a record has */
    HC_FETCHED_SIZE_MAX = 32 * 1024,    /* bytes of its text */
    HC_FETCHED_ORPHAN_MS = 3600 * 1000, /* how old one without a blob may be */
};

/* What a record says, with "" and 0 for what it does not say. */
struct hc_fetched {
    struct hc_identity identity; /* an anonymous caller has the kind "" and the name "" */
    const char *rule;            /* "": the policy's default, or there was no policy */
    uint64_t bytes;
    int64_t fetched_ms; /* since the epoch */
    uint64_t inode;     /* of the record's file, also of a malformed one; 0: none */
    const char *groups[HC_FETCHED_GROUPS_MAX];
    json_t *object; /* has the texts */
};

/* Writes or replaces the record of the request's blob, for its identity and rule. */
int hc_fetched_write(const struct hc_cache *cache, const struct hc_blob_request *request,
                     uint64_t bytes, struct hc_error *err);

/* 1; 0 there is none, or it is malformed; -1. The caller clears `fetched` in every case,
 * and does not copy it. */
int hc_fetched_read(const struct hc_cache *cache, const struct hc_blob_id *blob,
                    struct hc_fetched *fetched, struct hc_error *err);
void hc_fetched_clear(struct hc_fetched *fetched);
HC_DEFINE_AUTO_VALUE(hc_fetched, hc_fetched_clear)

/* After the blob was removed, with its lock held. */
void hc_fetched_remove(const struct hc_cache *cache, const struct hc_blob_id *blob);

/*
 * Removes records without a blob that are older than HC_FETCHED_ORPHAN_MS, or dated that
 * much later than now, and directories that are empty. Where pointers are plain files,
 * the blobs are not under their names: there, those of repos that are gone. `now_ms` is
 * hc_volume_now_ms(). Returns how many records.
 */
unsigned hc_fetched_sweep(const struct hc_cache *cache, int64_t now_ms);

/* The folders of repos that have records, and then the etags of one's; to be continued
 * with hc_directory_walk_next(), whose `name` it is. */
struct hc_directory_walk hc_fetched_walk_folders(const struct hc_cache *cache);
struct hc_directory_walk hc_fetched_walk_etags(const struct hc_cache *cache,
                                               const char *folder);

#endif
