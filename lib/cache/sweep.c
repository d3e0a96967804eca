/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep believes nothing it reads: it opens directories without following symlinks
 * and removes only names of the shape "<etag>.<8 hex>.incomplete" beside the etag's own
 * blob.
 */
#include "claim.h"

#include "claims.h"
#include "lock.h"
#include "partial.h"

#include <base/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { TOMB_SUFFIX = 9 /* ".<8 hex>" */ };

struct sweep {
    const struct hc_cache *cache;
    int64_t now_ms;
    unsigned removed;
};

static bool is_blob_there(int root, const struct hc_claims_entry *entry)
{
    char path[PATH_MAX];
    struct stat status;

    return hc_format(path, sizeof path, "%s/blobs/%s", entry->folder, entry->etag) > 0 &&
           fstatat(root, path, &status, 0) == 0;
}

/* Whether somebody may still want what has arrived. */
static bool is_of_use(const struct sweep *sweep, const struct hc_claims_entry *entry)
{
    int root = hc_cache_fd(sweep->cache);
    const struct hc_record *record = &entry->record;

    return hc_record_is_worth_keeping(record, sweep->now_ms) &&
           !is_blob_there(root, entry) &&
           (hc_partial_exists(root, entry->folder, record->incomplete) ||
            (hc_partial_is_of(record->previous, entry->etag) &&
             hc_partial_exists(root, entry->folder, record->previous)));
}

static unsigned remove_partial(int root, const struct hc_claims_entry *entry,
                               const char *name)
{
    return hc_partial_is_of(name, entry->etag) &&
                   hc_partial_remove(root, entry->folder, name)
               ? 1
               : 0;
}

/*
 * A claim that was taken over lies beside its successor as "<etag>.<8 hex>" (claim.c):
 * then `etag` is that of its blob, and nobody will go on with what it has.
 */
static bool is_tomb(const struct hc_claims_entry *entry, char etag[NAME_MAX + 1])
{
    size_t length = strlen(entry->etag);

    if (length <= TOMB_SUFFIX || length > NAME_MAX)
        return false;
    memcpy(etag, entry->etag, length - TOMB_SUFFIX);
    etag[length - TOMB_SUFFIX] = '\0';
    return hc_partial_is_of(entry->record.incomplete, etag) &&
           hc_text_starts(entry->record.incomplete, entry->etag);
}

static void sweep_claim(void *ctx, const struct hc_claims_entry *found)
{
    struct sweep *sweep = ctx;
    int root = hc_cache_fd(sweep->cache);
    struct hc_claims_entry entry = *found;
    char etag[NAME_MAX + 1];
    bool is_dead = is_tomb(found, etag);

    if (hc_record_is_reservation(&found->record)) {
        if (hc_record_is_abandoned(&found->record, sweep->now_ms))
            (void)unlinkat(root, found->path, 0);
        return;
    }
    if (is_dead)
        entry.etag = etag;
    if (!hc_record_is_abandoned(&entry.record, sweep->now_ms) ||
        !hc_partial_is_of(entry.record.incomplete, entry.etag) ||
        (!is_dead && (hc_lock_is_held(sweep->cache, entry.folder, entry.etag) ||
                      is_of_use(sweep, &entry))))
        return;
    sweep->removed += remove_partial(root, &entry, entry.record.incomplete);
    sweep->removed += remove_partial(root, &entry, entry.record.previous);
    (void)unlinkat(root, entry.path, 0);
}

static unsigned sweep_private(int root, int64_t now_ms)
{
    HC_AUTO_CLOSEDIR DIR *dir = hc_claims_open_dir(root, ".hubcache/tmp");
    int tmp = dir ? dirfd(dir) : -1;
    unsigned removed = 0;
    struct stat status;

    if (tmp < 0)
        return 0;
    for (const char *name = hc_claims_next_name(dir); name;
         name = hc_claims_next_name(dir)) {
        if (fstatat(tmp, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            now_ms - status.st_mtim.tv_sec * 1000 > HC_CLAIM_STALE_MS &&
            unlinkat(tmp, name, 0) == 0)
            removed++;
    }
    return removed;
}

unsigned hc_claim_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    struct sweep sweep = {.cache = cache, .now_ms = now_ms};

    hc_claims_each(cache, sweep_claim, &sweep);
    return sweep.removed + sweep_private(hc_cache_fd(cache), now_ms);
}
