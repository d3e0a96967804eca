/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/kept/<repo folder>/<revision>: the roll-out of a revision that is kept: what
 * the Hub said last that it means, and since when the cache is behind that. Written by
 * the replica that asked the Hub, at the file's mtime, so that the others need not ask;
 * beside it, "<revision>.lock" is locked (flock(2)) by the replica that fetches what is
 * missing. Git allows no revision that ends in ".lock". Where flock does nothing, several
 * replicas fetch, each blob once (claim/claim.h). Callable from any thread.
 */
#ifndef HC_CACHE_ROLL_OUT_H
#define HC_CACHE_ROLL_OUT_H

#include "cache.h"

#include <stdint.h>

enum { HC_ROLL_OUT_MESSAGE_SIZE = 512 };

/* Times are milliseconds since the epoch by the volume's clock; 0: never. */
struct hc_roll_out {
    char commit[HC_COMMIT_SIZE]; /* that the Hub named last; "": none yet */
    int64_t heard_ms;            /* when it did */
    int64_t asked_ms;            /* when it was asked, also in vain; not written */
    int64_t behind_since_ms;     /* that commit is not whole, or the ref names another */
    enum hc_reason reason;       /* of the last failure; HC_OK: it went well */
    char message[HC_ROLL_OUT_MESSAGE_SIZE];
};

/* 1; 0: there is none, or it makes no sense. */
int hc_roll_out_find(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *revision, struct hc_roll_out *found);

/* Sets `asked_ms` to now. */
int hc_roll_out_write(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *revision, const struct hc_roll_out *roll_out,
                      struct hc_error *err);

/* True: this process fetches; closing `*fd`, unless it is -1, ends that. False: another
 * one does. */
bool hc_roll_out_lock(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *revision, int *fd);

/* Whether a revision of the repo is being rolled out to that commit, or will be: the Hub
 * has been asked about it within a day. True also when that cannot be read. */
bool hc_roll_out_is_to(const struct hc_cache *cache, const struct hc_repo *repo,
                       const char *commit, int64_t now_ms);

/* Removes what is a month old: of revisions that are not kept any more. */
void hc_roll_out_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
