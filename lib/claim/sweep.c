/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nothing that is read is trusted: directories are opened without following symlinks, and
 * only files called "<etag>.<8 hex>.incomplete" are removed, beside the blob of the etag
 * that the claim's own name has.
 *
 * A blob's claim is removed with the blob's lock held, and after it has been read again:
 * between the first look and the lock, another process may have taken it over. Superseded
 * claims and reservations need no lock: they are their owner's alone, and it is gone.
 */
#include "sweep.h"

#include "claim_record.h"
#include "partial.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/text.h>
#include <cache/blob_lock.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { SUPERSEDED_SUFFIX = 9 /* ".<8 hex>" */, BLOCK_SIZE = 512 /* of st_blocks */ };

struct sweep {
    const struct hc_cache *cache;
    int64_t now_ms;
    int64_t keep_ms;    /* how old a partial file may be and stay for a resume */
    const char *folder; /* of a repo whose partial files stay as usual; or NULL */
    uint64_t freed;     /* bytes of partial files, so far */
    uint64_t wanted;    /* the sweep ends when so many are free */
    unsigned removed;   /* files, claims not counted */
};

static void sweep_partial(struct sweep *sweep, const struct hc_claim_listing *claim,
                          const char *etag, const char *name)
{
    int root = hc_cache_fd(sweep->cache);
    struct stat status = {0};
    char path[PATH_MAX];

    if (!hc_partial_is_of(name, etag))
        return;
    if (hc_format(path, sizeof path, "%s/blobs/%s", claim->blob.folder, name) > 0)
        (void)fstatat(root, path, &status, AT_SYMLINK_NOFOLLOW);
    if (!hc_partial_remove(root, claim->blob.folder, name))
        return;
    sweep->removed++;
    if (status.st_nlink == 1) /* a second name, of another repo's blob, keeps the bytes */
        sweep->freed += (uint64_t)status.st_blocks * BLOCK_SIZE;
}

static void sweep_remove_claim(struct sweep *sweep, const struct hc_claim_listing *claim,
                               const char *etag)
{
    sweep_partial(sweep, claim, etag, claim->record.partial);
    sweep_partial(sweep, claim, etag, claim->record.previous);
    (void)unlinkat(hc_cache_fd(sweep->cache), claim->path, 0);
}

static bool blob_is_complete(int root, const struct hc_claim_listing *claim)
{
    char path[PATH_MAX];
    struct stat status;

    return hc_format(path, sizeof path, "%s/blobs/%s", claim->blob.folder,
                     claim->blob.etag) > 0 &&
           fstatat(root, path, &status, 0) == 0;
}

/* Whether a later transfer of the blob could resume the partial file. */
static bool partial_is_kept(const struct sweep *sweep,
                            const struct hc_claim_listing *claim)
{
    int root = hc_cache_fd(sweep->cache);
    const struct hc_claim_record *record = &claim->record;
    bool is_spared = sweep->folder && strcmp(sweep->folder, claim->blob.folder) == 0;
    int64_t keep_ms = is_spared ? HC_PARTIAL_KEEP_MS : sweep->keep_ms;

    return hc_claim_record_is_worth_keeping(record, keep_ms, sweep->now_ms) &&
           !blob_is_complete(root, claim) &&
           (hc_partial_exists(root, claim->blob.folder, record->partial) ||
            (hc_partial_is_of(record->previous, claim->blob.etag) &&
             hc_partial_exists(root, claim->blob.folder, record->previous)));
}

static void sweep_blob_claim(struct sweep *sweep, struct hc_claim_listing *claim)
{
    HC_AUTO(hc_blob_lock) *lock = NULL;
    struct hc_claim_record *record = &claim->record;
    struct hc_error unused;

    if (partial_is_kept(sweep, claim) || hc_blob_lock_is_held(sweep->cache, &claim->blob))
        return;
    lock = hc_blob_lock_new(sweep->cache, &claim->blob, &unused);
    if (lock && hc_blob_lock_try(lock, &unused) == 1 &&
        hc_claim_record_read(hc_cache_fd(sweep->cache), claim->path, record) == 1 &&
        hc_claim_record_is_abandoned(record, sweep->now_ms))
        sweep_remove_claim(sweep, claim, claim->blob.etag);
}

/* Whether its name is "<etag>.<8 hex>", with the digits of its partial file; then `etag`
 * is that of the blob. */
static bool claim_is_superseded(const struct hc_claim_listing *claim,
                                char etag[NAME_MAX + 1])
{
    size_t length = strlen(claim->blob.etag);

    if (length <= SUPERSEDED_SUFFIX || length > NAME_MAX)
        return false;
    memcpy(etag, claim->blob.etag, length - SUPERSEDED_SUFFIX);
    etag[length - SUPERSEDED_SUFFIX] = '\0';
    return hc_partial_is_of(claim->record.partial, etag) &&
           hc_text_starts(claim->record.partial, claim->blob.etag);
}

/* Its partial file stays when the blob's claim names it too: that of a successor which
 * has not come to rename it, or of the owner itself, when the successor died before its
 * rename. */
static void sweep_superseded(struct sweep *sweep, const struct hc_claim_listing *claim,
                             const char *etag)
{
    int root = hc_cache_fd(sweep->cache);
    const struct hc_blob_id blob = {claim->blob.folder, etag};
    const char *partial = claim->record.partial;
    struct hc_claim_record current;

    if (hc_claim_record_find(root, &blob, &current) == 1 &&
        (strcmp(current.partial, partial) == 0 || strcmp(current.previous, partial) == 0))
        (void)unlinkat(root, claim->path, 0);
    else
        sweep_remove_claim(sweep, claim, etag);
}

static void sweep_claim(struct sweep *sweep, struct hc_claim_listing *claim)
{
    char etag[NAME_MAX + 1];

    if (!hc_claim_record_is_abandoned(&claim->record, sweep->now_ms))
        return;
    if (hc_claim_record_is_reservation(&claim->record))
        (void)unlinkat(hc_cache_fd(sweep->cache), claim->path, 0);
    else if (claim_is_superseded(claim, etag))
        sweep_superseded(sweep, claim, etag);
    else if (hc_partial_is_of(claim->record.partial, claim->blob.etag))
        sweep_blob_claim(sweep, claim);
}

static void sweep_claims(struct sweep *sweep)
{
    HC_AUTO_VALUE(hc_claim_listing) claim = hc_claim_listing_open(sweep->cache);

    while (sweep->freed < sweep->wanted && hc_claim_listing_next(&claim))
        sweep_claim(sweep, &claim);
}

/* A file from before the clock was set back by a day or more may be as old as any. */
static bool private_file_is_old(const struct stat *status, int64_t now_ms)
{
    int64_t age_ms = now_ms - hc_file_changed_ms(status);

    return age_ms > HC_HEARTBEAT_TIMEOUT_MS || age_ms < -HC_PARTIAL_KEEP_MS;
}

/* A directory there was moved out of a file's way, and goes when it is empty. */
static unsigned sweep_private_files(int root, int64_t now_ms)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, ".hubcache/tmp", 0);
    unsigned removed = 0;
    struct stat status;

    while (hc_directory_walk_next(&walk)) {
        if (walk.name[0] != '.' && /* ".nfs…" is an open file of another client */
            fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            private_file_is_old(&status, now_ms) &&
            unlinkat(walk.dir, walk.name, S_ISDIR(walk.type) ? AT_REMOVEDIR : 0) == 0)
            removed++;
    }
    return removed;
}

/* The directories of repos of which nothing is fetched; rmdir(2) refuses the others. */
static void sweep_empty_folders(int root)
{
    const char *path = ".hubcache/transfers";
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, path, 0);

    while (hc_directory_walk_next(&walk))
        (void)unlinkat(walk.dir, walk.name, AT_REMOVEDIR);
}

unsigned hc_claim_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    struct sweep sweep = {.cache = cache,
                          .now_ms = now_ms,
                          .keep_ms = HC_PARTIAL_KEEP_MS,
                          .wanted = UINT64_MAX};

    sweep_claims(&sweep);
    sweep_empty_folders(hc_cache_fd(cache));
    return sweep.removed + sweep_private_files(hc_cache_fd(cache), now_ms);
}

/* First what a sweep would remove anyway, then partial files of more than an hour, then
 * all. (A file of just now may be dated after `now_ms`: -1 keeps none of them either.) */
uint64_t hc_claim_reclaim(void *cache, const struct hc_space_request *request,
                          uint64_t bytes, struct hc_space_held *held)
{
    static const int64_t keep_ms[] = {HC_PARTIAL_KEEP_MS, INT64_C(3600) * 1000, -1};
    struct sweep sweep = {.cache = cache,
                          .now_ms = hc_volume_now_ms(cache),
                          .folder = request->folder,
                          .wanted = bytes};

    (void)held;
    for (size_t i = 0; i < sizeof keep_ms / sizeof *keep_ms; i++) {
        sweep.keep_ms = keep_ms[i];
        sweep_claims(&sweep);
    }
    return sweep.freed;
}
