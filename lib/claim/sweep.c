/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sweep believes nothing it reads: it opens directories without following symlinks
 * and removes only names of the shape "<etag>.<8 hex>.incomplete" beside the etag's own
 * blob.
 */
#include "claim.h"

#include "claims.h"
#include "partial.h"
#include <cache/blob_lock.h>

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { SUPERSEDED_SUFFIX = 9 /* ".<8 hex>" */ };

struct sweep {
    const struct hc_cache *cache;
    int64_t now_ms;
    unsigned removed;
};

static bool sweep_blob_exists(int root, const struct hc_claims_entry *entry)
{
    char path[PATH_MAX];
    struct stat status;

    return hc_format(path, sizeof path, "%s/blobs/%s", entry->blob.folder,
                     entry->blob.etag) > 0 &&
           fstatat(root, path, &status, 0) == 0;
}

/* Whether somebody may still want what has arrived. */
static bool sweep_partial_is_useful(const struct sweep *sweep,
                                    const struct hc_claims_entry *entry)
{
    int root = hc_cache_fd(sweep->cache);
    const struct hc_claim_record *record = &entry->record;

    return hc_claim_record_is_worth_keeping(record, sweep->now_ms) &&
           !sweep_blob_exists(root, entry) &&
           (hc_partial_exists(root, entry->blob.folder, record->partial) ||
            (hc_partial_is_of(record->previous, entry->blob.etag) &&
             hc_partial_exists(root, entry->blob.folder, record->previous)));
}

static unsigned sweep_remove_partial(int root, const struct hc_claims_entry *entry,
                                     const char *name)
{
    return hc_partial_is_of(name, entry->blob.etag) &&
                   hc_partial_remove(root, entry->blob.folder, name)
               ? 1
               : 0;
}

/*
 * A claim that was taken over lies beside its successor as "<etag>.<8 hex>" (takeover.h):
 * then `etag` is that of its blob, and nobody will go on with what it has.
 */
static bool claim_is_superseded(const struct hc_claims_entry *entry,
                                char etag[NAME_MAX + 1])
{
    size_t length = strlen(entry->blob.etag);

    if (length <= SUPERSEDED_SUFFIX || length > NAME_MAX)
        return false;
    memcpy(etag, entry->blob.etag, length - SUPERSEDED_SUFFIX);
    etag[length - SUPERSEDED_SUFFIX] = '\0';
    return hc_partial_is_of(entry->record.partial, etag) &&
           hc_text_starts(entry->record.partial, entry->blob.etag);
}

/* Whether the claim in the blob's place names the file too: it follows the tomb's. */
static bool superseded_has_successor(int root, const struct hc_claims_entry *superseded)
{
    const char *file = superseded->record.partial;
    struct hc_claim_record successor;

    return hc_claim_record_find(root, &superseded->blob, &successor) == 1 &&
           (strcmp(successor.partial, file) == 0 ||
            strcmp(successor.previous, file) == 0);
}

static void sweep_remove_claim(struct sweep *sweep, const struct hc_claims_entry *entry)
{
    int root = hc_cache_fd(sweep->cache);

    sweep->removed += sweep_remove_partial(root, entry, entry->record.partial);
    sweep->removed += sweep_remove_partial(root, entry, entry->record.previous);
    (void)unlinkat(root, entry->path, 0);
}

/* Of a claim in its blob's place. With the lock, no process puts another one there
 * meanwhile. */
static void sweep_blob_claim(struct sweep *sweep, struct hc_claims_entry *entry)
{
    HC_AUTO(hc_blob_lock) *lock = NULL;
    struct hc_claim_record *record = &entry->record;
    struct hc_error unused;

    if (sweep_partial_is_useful(sweep, entry) ||
        hc_blob_lock_is_held(sweep->cache, &entry->blob))
        return;
    lock = hc_blob_lock_new(sweep->cache, &entry->blob, &unused);
    if (lock && hc_blob_lock_try(lock, &unused) == 1 &&
        hc_claim_record_read(hc_cache_fd(sweep->cache), entry->path, record) == 1 &&
        hc_claim_record_is_abandoned(record, sweep->now_ms))
        sweep_remove_claim(sweep, entry);
}

static void sweep_superseded(struct sweep *sweep,
                             const struct hc_claims_entry *superseded)
{
    int root = hc_cache_fd(sweep->cache);

    if (superseded_has_successor(root, superseded))
        (void)unlinkat(root, superseded->path, 0);
    else
        sweep_remove_claim(sweep, superseded);
}

static void sweep_claim(void *ctx, const struct hc_claims_entry *found)
{
    struct sweep *sweep = ctx;
    struct hc_claims_entry entry = *found;
    char etag[NAME_MAX + 1];

    if (!hc_claim_record_is_abandoned(&entry.record, sweep->now_ms))
        return;
    if (hc_claim_record_is_reservation(&entry.record)) {
        (void)unlinkat(hc_cache_fd(sweep->cache), entry.path, 0);
    } else if (claim_is_superseded(found, etag)) {
        entry.blob.etag = etag;
        sweep_superseded(sweep, &entry);
    } else if (hc_partial_is_of(entry.record.partial, entry.blob.etag)) {
        sweep_blob_claim(sweep, &entry);
    }
}

/* Of a clock that was set back by a day, a file is no older than one of today's. */
static bool private_file_is_old(const struct stat *status, int64_t now_ms)
{
    int64_t age_ms = now_ms - hc_file_changed_ms(status);

    return age_ms > HC_HEARTBEAT_TIMEOUT_MS || age_ms < -HC_PARTIAL_KEEP_MS;
}

/* A directory is of something that was moved out of the way. */
static unsigned sweep_private_files(int root, int64_t now_ms)
{
    HC_AUTO_CLOSEDIR DIR *dir = hc_directory_stream(root, ".hubcache/tmp");
    int tmp = dir ? dirfd(dir) : -1;
    unsigned removed = 0;
    struct stat status;

    if (tmp < 0)
        return 0;
    for (const char *name = hc_directory_next(dir); name; name = hc_directory_next(dir)) {
        if (fstatat(tmp, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            private_file_is_old(&status, now_ms) &&
            unlinkat(tmp, name, S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0) == 0)
            removed++;
    }
    return removed;
}

/* The directories of repos of which nobody fetches anything. */
static void sweep_empty_folders(int root)
{
    HC_AUTO_CLOSEDIR DIR *dir = hc_directory_stream(root, ".hubcache/transfers");
    int transfers = dir ? dirfd(dir) : -1;

    if (transfers < 0)
        return;
    for (const char *name = hc_directory_next(dir); name; name = hc_directory_next(dir))
        (void)unlinkat(transfers, name, AT_REMOVEDIR);
}

int64_t hc_volume_now_ms(const struct hc_cache *cache)
{
    int root = hc_cache_fd(cache);
    HC_AUTO_CLOSE int fd = -1;
    char private[PATH_MAX];
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) == 0 &&
        hc_file_mkparents(root, private, &unused) == 0)
        fd = hc_file_create(root, private, O_WRONLY);
    if (fd >= 0)
        (void)unlinkat(root, private, 0);
    return hc_volume_written_ms(fd);
}

unsigned hc_claim_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    struct sweep sweep = {.cache = cache, .now_ms = now_ms};

    hc_claims_each(cache, sweep_claim, &sweep);
    sweep_empty_folders(hc_cache_fd(cache));
    return sweep.removed + sweep_private_files(hc_cache_fd(cache), now_ms);
}
