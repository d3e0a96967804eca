/* SPDX-License-Identifier: Apache-2.0 */
/* What is free is what was there before and is not afterwards. */
#include "orphans.h"

#include "leftovers.h"
#include "trash.h"
#include "unused_blobs.h"

#include <base/size.h>
#include <cache/occupancy.h>

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static int orphan_collect(void *ctx, const struct hc_leftover *leftover,
                          struct hc_error *err)
{
    return leftover->kind == HC_ORPHAN_BLOB ? hc_strings_add(ctx, leftover->name, err)
                                            : 0;
}

static uint64_t orphans_find_room(const struct hc_cache *cache,
                                  const struct hc_repo *repo,
                                  const struct hc_strings *etags)
{
    char path[PATH_MAX];
    struct stat status;
    uint64_t room = 0;

    for (size_t i = 0; i < etags->count; i++) {
        if (hc_format(path, sizeof path, "%s/blobs/%s", repo->folder, etags->items[i]) >
                0 &&
            fstatat(hc_cache_fd(cache), path, &status, AT_SYMLINK_NOFOLLOW) == 0)
            room = hc_size_add(room, hc_occupancy_of_file(&status));
    }
    return room;
}

static void orphans_note(void *ctx, const char *etag, const struct hc_hold *hold)
{
    bool *has_failed = ctx;

    (void)etag;
    *has_failed = *has_failed || hold->by == HC_HELD_BY_FAILURE;
}

/* A blob that cannot be moved back waits in the trash for the next sweep. */
static void orphans_take(const struct hc_unused_blobs *blobs)
{
    struct hc_unused_blobs taken = *blobs;
    bool has_failed = false;
    struct hc_error unused;
    HC_AUTO(hc_trash) *trash = hc_trash_new(blobs->cache, blobs->repo, &unused);

    taken.trash = trash;
    taken.note = orphans_note;
    taken.ctx = &has_failed;
    if (!trash)
        return;
    (void)hc_unused_blobs_take(&taken, &unused);
    if (!has_failed)
        hc_trash_empty(trash);
}

uint64_t hc_orphans_remove(const struct hc_cache *cache, const struct hc_repo *repo,
                           int64_t now_ms, struct hc_cancellation *cancellation)
{
    HC_AUTO_VALUE(hc_strings) etags = {0};
    const struct hc_leftovers search = {.cache = cache,
                                        .now_ms = now_ms,
                                        .age_ms = HC_ORPHAN_AGE_MS,
                                        .found = orphan_collect,
                                        .ctx = &etags,
                                        .cancellation = cancellation};
    const struct hc_unused_blobs blobs = {.cache = cache,
                                          .repo = repo,
                                          .now_ms = now_ms,
                                          .also = &etags};
    struct hc_error unused;
    uint64_t before, after;

    if (hc_leftovers_find(&search, repo, &unused) < 0 || etags.count == 0)
        return 0;
    before = orphans_find_room(cache, repo, &etags);
    orphans_take(&blobs);
    after = orphans_find_room(cache, repo, &etags);
    if (after >= before)
        return 0;
    hc_occupancy_remove(hc_cache_occupancy(cache), before - after);
    return before - after;
}
