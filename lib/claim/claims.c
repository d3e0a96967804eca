/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/transfers/<repo folder>/<etag>, two directories deep.
 */
#include "claims.h"

#include <base/directory.h>
#include <base/size.h>
#include <base/text.h>

#include <string.h>

static const char claims_path[] = ".hubcache/transfers";

struct visit {
    int root;
    void (*call)(void *ctx, const struct hc_claims_entry *entry);
    void *ctx;
};

static void claims_visit_repo(const struct visit *visit, int transfers,
                              const char *folder)
{
    HC_AUTO_CLOSEDIR DIR *dir = hc_directory_stream(transfers, folder);
    struct hc_claims_entry entry = {.blob.folder = folder};
    char path[PATH_MAX];

    if (!dir)
        return;
    for (entry.blob.etag = hc_directory_next(dir); entry.blob.etag;
         entry.blob.etag = hc_directory_next(dir)) {
        entry.path = path;
        if (hc_format(path, sizeof path, "%s/%s/%s", claims_path, folder,
                      entry.blob.etag) > 0 &&
            hc_claim_record_read(visit->root, path, &entry.record) == 1)
            visit->call(visit->ctx, &entry);
    }
}

void hc_claims_each(const struct hc_cache *cache,
                    void (*visit)(void *ctx, const struct hc_claims_entry *entry),
                    void *ctx)
{
    const struct visit how = {.root = hc_cache_fd(cache), .call = visit, .ctx = ctx};
    HC_AUTO_CLOSEDIR DIR *dir = hc_directory_stream(how.root, claims_path);
    int transfers = dir ? dirfd(dir) : -1;

    if (transfers < 0)
        return;
    for (const char *folder = hc_directory_next(dir); folder;
         folder = hc_directory_next(dir))
        claims_visit_repo(&how, transfers, folder);
}

enum { PARTIAL_SUFFIX = sizeof ".01234567.incomplete" - 1 };

struct earlier_claims {
    const char *folder;
    const struct hc_claim_record *ours;
    int64_t now_ms;
    uint64_t bytes;
};

static bool claim_is_earlier(const struct hc_claim_record *a,
                             const struct hc_claim_record *b)
{
    if (a->began_us != b->began_us)
        return a->began_us < b->began_us;
    return strcmp(a->partial, b->partial) < 0;
}

/* "<etag>.<8 hex>.incomplete", both. */
static bool claim_is_of_same_blob(const char *a, const char *b)
{
    size_t length = strlen(a);

    return length > PARTIAL_SUFFIX && strlen(b) == length &&
           memcmp(a, b, length - PARTIAL_SUFFIX) == 0;
}

/* One of the two will be the other's, in part at least: a snapshot's file, or the blob of
 * somebody whom we followed. */
static bool claim_is_for_same_repo(const struct earlier_claims *earlier_claims,
                                   const struct hc_claims_entry *entry)
{
    const struct hc_claim_record *theirs = &entry->record, *ours = earlier_claims->ours;

    return strcmp(entry->blob.folder, earlier_claims->folder) == 0 &&
           (hc_claim_record_is_reservation(theirs) ||
            hc_claim_record_is_reservation(ours) ||
            claim_is_of_same_blob(theirs->partial, ours->partial));
}

static void add_missing_bytes(void *ctx, const struct hc_claims_entry *entry)
{
    struct earlier_claims *earlier_claims = ctx;
    const struct hc_claim_record *record = &entry->record;

    if (!claim_is_for_same_repo(earlier_claims, entry) &&
        !hc_claim_record_is_abandoned(record, earlier_claims->now_ms) &&
        claim_is_earlier(record, earlier_claims->ours) && record->size > record->bytes)
        earlier_claims->bytes =
            hc_size_add(earlier_claims->bytes, record->size - record->bytes);
}

uint64_t hc_reserved_bytes(const struct hc_cache *cache, const char *folder,
                           const struct hc_claim_record *ours, int64_t now_ms)
{
    struct earlier_claims earlier_claims = {.folder = folder,
                                            .ours = ours,
                                            .now_ms = now_ms};

    hc_claims_each(cache, add_missing_bytes, &earlier_claims);
    return earlier_claims.bytes;
}
