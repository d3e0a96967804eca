/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/transfers/<repo folder>/<etag>, two directories deep.
 */
#include "claims.h"

#include <base/directory.h>
#include <base/size.h>
#include <base/text.h>

#include <string.h>

static const char transfers_path[] = ".hubcache/transfers";

struct visit {
    int root;
    void (*call)(void *ctx, const struct hc_claims_entry *entry);
    void *ctx;
};

static void visit_folder(const struct visit *visit, int transfers, const char *folder)
{
    HC_AUTO_CLOSEDIR DIR *dir = hc_directory_stream(transfers, folder);
    struct hc_claims_entry entry = {.folder = folder};
    char path[PATH_MAX];

    if (!dir)
        return;
    for (entry.etag = hc_directory_next(dir); entry.etag;
         entry.etag = hc_directory_next(dir)) {
        entry.path = path;
        if (hc_format(path, sizeof path, "%s/%s/%s", transfers_path, folder, entry.etag) >
                0 &&
            hc_claim_record_read(visit->root, path, &entry.record) == 1)
            visit->call(visit->ctx, &entry);
    }
}

void hc_claims_each(const struct hc_cache *cache,
                    void (*visit)(void *ctx, const struct hc_claims_entry *entry),
                    void *ctx)
{
    const struct visit how = {.root = hc_cache_fd(cache), .call = visit, .ctx = ctx};
    HC_AUTO_CLOSEDIR DIR *dir = hc_directory_stream(how.root, transfers_path);
    int transfers = dir ? dirfd(dir) : -1;

    if (transfers < 0)
        return;
    for (const char *folder = hc_directory_next(dir); folder;
         folder = hc_directory_next(dir))
        visit_folder(&how, transfers, folder);
}

enum { SUFFIX = sizeof ".01234567.incomplete" - 1 };

struct reservation {
    const char *folder;
    const struct hc_claim_record *ours;
    int64_t now_ms;
    uint64_t bytes;
};

static bool is_earlier(const struct hc_claim_record *a, const struct hc_claim_record *b)
{
    if (a->began_us != b->began_us)
        return a->began_us < b->began_us;
    return strcmp(a->partial, b->partial) < 0;
}

/* "<etag>.<8 hex>.incomplete", both. */
static bool is_of_the_same_blob(const char *a, const char *b)
{
    size_t length = strlen(a);

    return length > SUFFIX && strlen(b) == length && memcmp(a, b, length - SUFFIX) == 0;
}

/* One of the two will be the other's, in part at least: a snapshot's file, or the blob of
 * somebody whom we followed. */
static bool is_for_the_same(const struct reservation *reservation,
                            const struct hc_claims_entry *entry)
{
    const struct hc_claim_record *theirs = &entry->record, *ours = reservation->ours;

    return strcmp(entry->folder, reservation->folder) == 0 &&
           (hc_claim_record_is_reservation(theirs) ||
            hc_claim_record_is_reservation(ours) ||
            is_of_the_same_blob(theirs->partial, ours->partial));
}

static void add_need(void *ctx, const struct hc_claims_entry *entry)
{
    struct reservation *reservation = ctx;
    const struct hc_claim_record *record = &entry->record;

    if (!is_for_the_same(reservation, entry) &&
        !hc_claim_record_is_abandoned(record, reservation->now_ms) &&
        is_earlier(record, reservation->ours) && record->size > record->bytes)
        reservation->bytes =
            hc_size_add(reservation->bytes, record->size - record->bytes);
}

uint64_t hc_claims_needs(const struct hc_cache *cache, const char *folder,
                         const struct hc_claim_record *ours, int64_t now_ms)
{
    struct reservation reservation = {.folder = folder, .ours = ours, .now_ms = now_ms};

    hc_claims_each(cache, add_need, &reservation);
    return reservation.bytes;
}
