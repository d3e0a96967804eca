/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims first, then partial files: a partial file that an abandoned claim names is no
 * transfer, however young it is, for its owner has ended. A claim that is made between
 * the two looks may be missed; its blob is protected by its lock.
 */
#include "fetching.h"

#include "claim_record.h"

#include <base/directory.h>
#include <base/file.h>
#include <cache/blob_lock.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { DIGITS = 8 /* of a partial file's name */ };

static const char suffix[] = ".incomplete";

bool hc_partial_parse(const char *name, char etag[HC_ETAG_MAX + 1])
{
    size_t length = strlen(name);

    if (!hc_text_ends(name, suffix))
        return false;
    length -= sizeof suffix - 1;
    if (length > DIGITS + 1 && name[length - DIGITS - 1] == '.' &&
        strspn(name + length - DIGITS, "0123456789abcdef") >= DIGITS)
        length -= DIGITS + 1;
    if (length == 0 || length > HC_ETAG_MAX)
        return false;
    memcpy(etag, name, length);
    etag[length] = '\0';
    return hc_etag_is_valid(etag);
}

static bool strings_have(const struct hc_strings *list, const char *text)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], text) == 0)
            return true;
    }
    return false;
}

/* What is known of a repo while its claims and partial files are read. */
struct fetching_scan {
    struct hc_fetching *fetching;
    const struct hc_cache *cache;
    const struct hc_repo *repo;
    int64_t now_ms;
    struct hc_strings abandoned; /* names of partial files */
};

/* The name of a superseded claim is no etag that a blob has; adding it does no harm. */
static int scan_add_claim(struct fetching_scan *scan,
                          const struct hc_claim_record *record, const char *etag,
                          struct hc_error *err)
{
    if (hc_claim_record_is_abandoned(record, scan->now_ms))
        return hc_strings_add(&scan->abandoned, record->partial, err);
    if (hc_claim_record_is_reservation(record)) {
        scan->fetching->has_reservation |= !record->is_waiting;
        return 0;
    }
    if (hc_strings_add(&scan->fetching->etags, etag, err) < 0)
        return -1;
    return hc_strings_add(&scan->fetching->partials, record->partial, err);
}

static int scan_fail(const struct hc_directory_walk *walk, const char *path,
                     struct hc_error *err)
{
    return hc_fail_errno(err, walk->errnum ? walk->errnum : EIO, "read '%s'", path);
}

static int scan_claims(struct fetching_scan *scan, struct hc_error *err)
{
    int root = hc_cache_fd(scan->cache);
    char folder[PATH_MAX], path[2 * PATH_MAX];
    struct hc_claim_record record;

    (void)hc_format(folder, sizeof folder, ".hubcache/transfers/%s", scan->repo->folder);

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(root, folder, 0);

    while (hc_directory_walk_next(&walk)) {
        if (!S_ISREG(walk.type) ||
            hc_format(path, PATH_MAX, "%s/%s", folder, walk.name) < 0 ||
            hc_claim_record_read(root, path, &record) != 1)
            continue;
        if (scan_add_claim(scan, &record, walk.name, err) < 0)
            return -1;
    }
    return walk.is_incomplete ? scan_fail(&walk, folder, err) : 0;
}

static bool partial_is_young(const struct fetching_scan *scan,
                             const struct hc_directory_walk *walk)
{
    struct stat status;
    int64_t age_ms;

    if (fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    age_ms = scan->now_ms - hc_file_changed_ms(&status);
    return age_ms < HC_FETCHING_YOUNG_MS && age_ms > -HC_PARTIAL_KEEP_MS;
}

static int scan_add_partial(struct fetching_scan *scan,
                            const struct hc_directory_walk *walk, struct hc_error *err)
{
    char etag[HC_ETAG_MAX + 1];
    const struct hc_blob_id blob = {scan->repo->folder, etag};

    if (!S_ISREG(walk->type) || !hc_partial_parse(walk->name, etag) ||
        strings_have(&scan->fetching->partials, walk->name) ||
        strings_have(&scan->abandoned, walk->name))
        return 0;
    if (!partial_is_young(scan, walk) && !hc_blob_lock_is_held(scan->cache, &blob))
        return 0;
    scan->fetching->has_foreign = true;
    if (hc_strings_add(&scan->fetching->etags, etag, err) < 0)
        return -1;
    return hc_strings_add(&scan->fetching->partials, walk->name, err);
}

static int scan_partials(struct fetching_scan *scan, struct hc_error *err)
{
    HC_AUTO_CLOSE int repo =
        hc_directory_open(hc_cache_fd(scan->cache), scan->repo->folder);
    HC_AUTO_VALUE(hc_directory_walk) walk = {.dir = -1};

    if (repo < 0)
        return errno == ENOENT
                   ? 0
                   : hc_fail_errno(err, errno, "open '%s'", scan->repo->folder);
    walk = hc_directory_walk(repo, "blobs", 0);
    while (hc_directory_walk_next(&walk)) {
        if (scan_add_partial(scan, &walk, err) < 0)
            return -1;
    }
    return walk.is_incomplete ? scan_fail(&walk, scan->repo->folder, err) : 0;
}

int hc_fetching_read(struct hc_fetching *fetching, const struct hc_cache *cache,
                     const struct hc_repo *repo, int64_t now_ms, struct hc_error *err)
{
    struct fetching_scan scan = {.fetching = fetching,
                                 .cache = cache,
                                 .repo = repo,
                                 .now_ms = now_ms};
    int result = scan_claims(&scan, err);

    if (result == 0)
        result = scan_partials(&scan, err);
    hc_strings_clear(&scan.abandoned);
    return result;
}

void hc_fetching_clear(struct hc_fetching *fetching)
{
    hc_strings_clear(&fetching->etags);
    hc_strings_clear(&fetching->partials);
    *fetching = (struct hc_fetching){0};
}

bool hc_fetching_is_any(const struct hc_fetching *fetching)
{
    return fetching->etags.count > 0 || fetching->has_reservation;
}

bool hc_fetching_has(const struct hc_fetching *fetching, const char *etag)
{
    return strings_have(&fetching->etags, etag);
}
