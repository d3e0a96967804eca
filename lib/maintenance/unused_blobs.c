/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps, each of which leaves the cache right when the process dies after it:
 *
 *   1. which blobs do the pointers in the trash lead to, and not those of the repo?
 *   2. move each to the trash, with its lock held
 *   3. LINK_MS later: which blobs do the repo's pointers lead to now? move those back
 *   4. remove payloads of the shared store without a symlink
 *
 * Many blobs take long: as soon as what is known of the repo's pointers is older than
 * USED_AGE_MS, step 3 is done in between, so that a pointer which a process has just made
 * dangles for a moment at most, and mostly never. It may take a fifth of the time.
 *
 * The reference client looks whether a blob is there, waits for its lock, and makes the
 * pointer, without another look: its pointer comes a few calls after its look. If it has
 * looked before step 2, its pointer is there LINK_MS later, unless it was stopped in
 * between; then the pointer dangles until hubcache resolves the file again, or a prune.
 *
 * A process that finds the trash of an interrupted removal does the same again.
 */
#include "unused_blobs.h"

#include "pointed_blobs.h"
#include "shared_store.h"

#include <base/cancellation.h>
#include <cache/blob_lock.h>
#include <cache/fetched.h>
#include <claim/claim_record.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { USED_AGE_MS = 100, USED_SHARE = 4, LINK_MS = 20 };

/* Blobs that pointers of the repo lead to. */
struct used_blobs {
    struct hc_pointed_blobs blobs;
    int64_t until_ms; /* of the monotonic clock: from then on they are too old */
    bool has_moved;   /* a blob to the trash */
};

static int repo_open_directory(const struct hc_unused_blobs *blobs, const char *name)
{
    HC_AUTO_CLOSE int repo =
        hc_directory_open(hc_cache_fd(blobs->cache), blobs->repo->folder);

    return repo < 0 ? -1 : hc_directory_open(repo, name);
}

static void blob_note(const struct hc_unused_blobs *blobs, const char *etag,
                      const struct hc_hold *hold)
{
    if (blobs->note)
        blobs->note(blobs->ctx, etag, hold);
}

/* ---- the repo's pointers ----------------------------------------------------------- */

/* A repo without snapshots has no pointers. */
static int pointed_read_repo(const struct hc_unused_blobs *blobs,
                             struct hc_pointed_blobs *pointed, struct hc_error *err)
{
    HC_AUTO_CLOSE int snapshots = repo_open_directory(blobs, "snapshots");
    struct hc_directory_walk walk;

    if (snapshots < 0)
        return errno == ENOENT ? 0
                               : hc_fail_errno(err, errno, "open the snapshots of '%s'",
                                               blobs->repo->id);
    walk = hc_directory_walk(snapshots, ".", HC_DEPTH_MAX);
    return hc_pointed_blobs_read(pointed, &walk, err);
}

static int pointed_read_trash(const struct hc_unused_blobs *blobs,
                              struct hc_pointed_blobs *pointed, struct hc_error *err)
{
    struct hc_directory_walk walk = hc_trash_walk(blobs->trash, "snapshots");

    for (size_t i = 0; blobs->also && i < blobs->also->count; i++) {
        if (hc_pointed_blobs_add_etag(pointed, blobs->also->items[i], err) < 0)
            return -1;
    }
    if (hc_pointed_blobs_read(pointed, &walk, err) < 0)
        return -1;
    walk = hc_trash_walk(blobs->trash, "files");
    return hc_pointed_blobs_read(pointed, &walk, err);
}

/* ---- one blob ---------------------------------------------------------------------- */

/* Where locks exclude no process, the claim says that the blob is being fetched. */
static bool blob_is_claimed(const struct hc_unused_blobs *blobs,
                            const struct hc_blob_id *blob)
{
    struct hc_claim_record record;

    return hc_claim_record_find(hc_cache_fd(blobs->cache), blob, &record) == 1 &&
           !hc_claim_record_is_abandoned(&record, blobs->now_ms);
}

static struct hc_hold hold_by_use(void)
{
    return (struct hc_hold){
        .by = HC_HELD_BY_TRANSFER,
        .detail = "a blob of it is in use: a client fetches it, or links to it"};
}

/* With the lock held. The lock's file is removed with the blob. `dir` is that of the
 * blobs. */
static struct hc_hold blob_take_locked(const struct hc_unused_blobs *blobs, int dir,
                                       const char *etag, struct hc_blob_lock *lock)
{
    const struct hc_blob_id blob = {blobs->repo->folder, etag};
    struct hc_error err;

    if (hc_trash_take(blobs->trash, dir, etag, "blobs", etag, &err) < 0)
        return hc_hold_of_failure(&err);
    hc_fetched_remove(blobs->cache, &blob);
    hc_blob_lock_replace(lock);
    return (struct hc_hold){0};
}

static struct hc_hold blob_take(const struct hc_unused_blobs *blobs, int dir,
                                const char *etag)
{
    const struct hc_blob_id blob = {blobs->repo->folder, etag};
    struct hc_error err;
    HC_AUTO(hc_blob_lock) *lock = hc_blob_lock_new(blobs->cache, &blob, &err);
    int locked = lock ? hc_blob_lock_try(lock, &err) : -1;

    if (locked < 0)
        return hc_hold_of_failure(&err);
    if (locked == 0 || blob_is_claimed(blobs, &blob))
        return hold_by_use();
    return blob_take_locked(blobs, dir, etag, lock);
}

/* ---- all of them ------------------------------------------------------------------- */

/* Another process has stored a blob of that name, or else this one is moved back. One
 * that cannot be moved back waits in the trash. */
static void blob_give_back(const struct hc_unused_blobs *blobs, const char *etag,
                           const struct hc_hold *hold)
{
    HC_AUTO_CLOSE int dir = repo_open_directory(blobs, "blobs");
    struct hc_hold failed;
    struct hc_error err;
    int given =
        dir < 0 ? hc_fail_errno(&err, errno, "open the blobs of '%s'", blobs->repo->id)
                : hc_trash_give_back(blobs->trash, "blobs", etag, dir, etag, &err);

    if (given < 0)
        failed = hc_hold_of_failure(&err);
    blob_note(blobs, etag, given < 0 ? &failed : hold);
}

static void blobs_give_back(const struct hc_unused_blobs *blobs,
                            const struct hc_pointed_blobs *used,
                            const struct hc_hold *hold)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk(blobs->trash, "blobs");

    while (hc_directory_walk_next(&walk)) {
        if (hc_pointed_blobs_have(used, walk.name))
            blob_give_back(blobs, walk.name, hold);
    }
}

/* Reads the repo's pointers, and moves back what they lead to. */
static int used_read(const struct hc_unused_blobs *blobs, struct used_blobs *used,
                     struct hc_error *err)
{
    int64_t began_ms = hc_monotonic_ms(), took_ms;
    const struct hc_hold hold = hold_by_use();

    hc_pointed_blobs_clear(&used->blobs);
    if (pointed_read_repo(blobs, &used->blobs, err) < 0)
        return -1;
    blobs_give_back(blobs, &used->blobs, &hold);
    took_ms = hc_monotonic_ms() - began_ms;
    used->until_ms =
        began_ms + took_ms +
        (took_ms * USED_SHARE > USED_AGE_MS ? took_ms * USED_SHARE : USED_AGE_MS);
    return 0;
}

/* Ends early when the pointers cannot be read any more. */
static void blobs_take_unused(const struct hc_unused_blobs *blobs, int dir,
                              const struct hc_pointed_blobs *led, struct used_blobs *used)
{
    for (size_t i = 0; i < led->count; i++) {
        const char *etag = led->items[i].etag;
        struct hc_hold hold;
        struct hc_error unused;

        if (i > 0 && strcmp(etag, led->items[i - 1].etag) == 0)
            continue;
        if (hc_monotonic_ms() >= used->until_ms && used_read(blobs, used, &unused) < 0)
            return;
        hold = hc_pointed_blobs_have(&used->blobs, etag) ? hold_by_use()
                                                         : blob_take(blobs, dir, etag);
        used->has_moved = used->has_moved || hold.by == HC_HELD_BY_NONE;
        if (hold.by != HC_HELD_BY_NONE)
            blob_note(blobs, etag, &hold);
    }
}

static void blobs_note_taken(const struct hc_unused_blobs *blobs)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_trash_walk(blobs->trash, "blobs");
    char hash[HC_PAYLOAD_HASH_SIZE];
    struct hc_error err;

    while (hc_directory_walk_next(&walk)) {
        struct hc_hold hold = {0};

        if (S_ISLNK(walk.type) && hc_payload_read_link(walk.dir, walk.name, hash) &&
            hc_payload_remove_unused(blobs->cache, hash, &err) < 0)
            hold = hc_hold_of_failure(&err);
        blob_note(blobs, walk.name, &hold);
    }
}

int hc_unused_blobs_take(const struct hc_unused_blobs *blobs, struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = repo_open_directory(blobs, "blobs");
    HC_AUTO_VALUE(hc_pointed_blobs) led = {0};
    struct used_blobs used = {0};
    struct hc_error failure;

    if (dir < 0 && errno != ENOENT)
        return hc_fail_errno(err, errno, "open the blobs of '%s'", blobs->repo->id);
    if (pointed_read_trash(blobs, &led, err) < 0)
        return -1;
    if (used_read(blobs, &used, err) < 0) {
        hc_pointed_blobs_clear(&used.blobs);
        return -1;
    }
    if (dir >= 0) /* without it there is none */
        blobs_take_unused(blobs, dir, &led, &used);
    if (used.has_moved)
        (void)hc_cancellation_sleep(NULL, LINK_MS, &failure);
    if (used_read(blobs, &used, &failure) < 0) {
        const struct hc_hold hold = hc_hold_of_failure(&failure);

        blobs_give_back(blobs, &led, &hold); /* any may be used */
    }
    hc_pointed_blobs_clear(&used.blobs);
    blobs_note_taken(blobs);
    return 0;
}
