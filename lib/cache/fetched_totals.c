/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read from the volume goes into a table (fetched_table.h). A record is known by
 * its inode: one that replaces another is a new file. A directory that has not changed
 * since it was read is not read again, unless it changed so shortly before that it might
 * have changed again within the same tick of the clock.
 *
 * One thread refreshes; others that want it wait for it. The lock is not held while the
 * volume is looked at.
 */
#include "fetched_totals.h"

#include "fetched_table.h"

#include <base/directory.h>
#include <base/error.h>
#include <base/file.h>
#include <base/hash.h>
#include <base/size.h>
#include <base/text.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum {
    WAIT_MS = 250,
    SETTLED_MS = 10 * 1000 /* longer than any tick, and than clocks should differ */
};

struct fetched_folder {
    char name[HC_REPO_FOLDER_MAX + 1];
    struct timespec changed; /* when it was read last */
    bool is_settled;
    uint32_t number;
    uint32_t reading;
    uint32_t refresh; /* that has seen it last */
};

struct hc_fetched_totals {
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool is_used; /* a refresh has begun */
        bool is_refreshing;
        bool is_dated; /* the next refresh has to look, whatever its age */
        int64_t refreshed_ms;
        uint32_t refresh;

        struct hc_fetched_table table;

        struct fetched_folder *folders; /* sorted by name */
        size_t folder_count;
        uint32_t last_folder; /* the highest number so far */
    } shared;
};

struct hc_fetched_reservation {
    struct hc_fetched_totals *totals;
    size_t count;
    uint32_t entries[]; /* each once for each want that it stands for */
};

/* ---- folders -------------------------------------------------------------------------
 */

static int folder_compare(const void *name, const void *folder)
{
    return strcmp(name, ((const struct fetched_folder *)folder)->name);
}

/* With the lock held; a new one when there is none. NULL when memory is short. */
static struct fetched_folder *folder_find(struct hc_fetched_totals *totals,
                                          const char *name)
{
    struct fetched_folder *folders = totals->shared.folders, *grown;
    size_t count = totals->shared.folder_count, at = 0;
    struct fetched_folder *folder =
        count > 0 ? bsearch(name, folders, count, sizeof *folders, folder_compare) : NULL;

    if (folder)
        return folder;
    grown = reallocarray(folders, count + 1, sizeof *folders);
    if (!grown)
        return NULL;
    totals->shared.folders = folders = grown;
    while (at < count && strcmp(folders[at].name, name) < 0)
        at++;
    memmove(&folders[at + 1], &folders[at], (count - at) * sizeof *folders);
    folders[at] = (struct fetched_folder){.number = ++totals->shared.last_folder};
    (void)hc_format(folders[at].name, sizeof folders[at].name, "%s", name);
    totals->shared.folder_count++;
    return &folders[at];
}

/* Whether it has to be read; then `*folder` and `*reading` are its number and that of the
 * reading. */
static bool folder_begin_reading(struct hc_fetched_totals *totals, const char *name,
                                 const struct stat *status, uint32_t *number,
                                 uint32_t *reading)
{
    struct fetched_folder *folder;
    HC_LOCKED(&totals->shared.lock);

    folder = folder_find(totals, name);
    if (!folder)
        return false;
    folder->refresh = totals->shared.refresh;
    if (folder->is_settled && folder->changed.tv_sec == status->st_ctim.tv_sec &&
        folder->changed.tv_nsec == status->st_ctim.tv_nsec)
        return false;
    folder->changed = status->st_ctim;
    folder->is_settled = false;
    *number = folder->number;
    *reading = ++folder->reading;
    return true;
}

static void folder_end_reading(struct hc_fetched_totals *totals, const char *name,
                               int64_t now_ms)
{
    struct fetched_folder *folder;
    HC_LOCKED(&totals->shared.lock);

    folder = folder_find(totals, name);
    if (folder)
        folder->is_settled = now_ms - hc_file_time_ms(&folder->changed) > SETTLED_MS;
}

/* Whether the record with this inode is known; then it is seen. */
static bool entry_see(struct hc_fetched_totals *totals, const struct hc_keyed_hash *key,
                      uint64_t inode, uint32_t reading)
{
    uint32_t i;
    HC_LOCKED(&totals->shared.lock);

    i = hc_fetched_table_find(&totals->shared.table, key);
    if (i == 0 || totals->shared.table.entries[i].inode != inode)
        return false;
    totals->shared.table.entries[i].reading = reading;
    return true;
}

/* A malformed record counts for no caller, and nothing: it is not read again. */
static void folder_read_record(const struct hc_cache *cache,
                               const struct hc_blob_id *blob,
                               const struct hc_keyed_hash *key, uint32_t folder,
                               uint32_t reading)
{
    struct hc_fetched_totals *totals = hc_cache_fetched_totals(cache);
    HC_AUTO_VALUE(hc_fetched) fetched = {0};
    struct hc_fetched_entry *entry;
    struct hc_fetched_record record;
    struct hc_error unused;

    if (hc_fetched_read(cache, blob, &fetched, &unused) < 0 || fetched.inode == 0)
        return;

    HC_LOCKED(&totals->shared.lock);

    record.total = fetched.rule
                       ? hc_fetched_table_find_total(&totals->shared.table,
                                                     &fetched.identity, fetched.rule)
                       : 0;
    record.bytes = fetched.bytes;
    record.inode = fetched.inode;
    entry = hc_fetched_table_record(&totals->shared.table, key, &record);
    if (entry) {
        entry->folder = folder;
        entry->reading = reading;
    }
}

/* -1: a part of it cannot be read, and the cancellation. */
static int folder_read(const struct hc_cache *cache, const char *name,
                       const struct stat *status, struct hc_cancellation *cancellation,
                       struct hc_error *err)
{
    struct hc_fetched_totals *totals = hc_cache_fetched_totals(cache);
    HC_AUTO_VALUE(hc_directory_walk) walk = {0};
    uint32_t number = 0, reading = 0;
    int64_t now_ms = hc_epoch_ms();

    if (!folder_begin_reading(totals, name, status, &number, &reading))
        return 0;
    walk = hc_fetched_walk_etags(cache, name);
    while (hc_directory_walk_next(&walk)) {
        const struct hc_blob_id blob = {name, walk.name};
        const struct hc_keyed_hash key = hc_fetched_key(&blob);

        if (!entry_see(totals, &key, walk.inode, reading))
            folder_read_record(cache, &blob, &key, number, reading);
        if (hc_cancellation_check(cancellation, err) < 0)
            return -1;
    }
    if (walk.is_incomplete)
        return hc_fail_errno(err, walk.errnum, "read '.hubcache/fetched/%s'", name);
    folder_end_reading(totals, name, now_ms);
    return 0;
}

/* Forgets records that the last reading of their folder has not seen, and folders that
 * are gone. */
static void totals_forget_unseen(struct hc_fetched_totals *totals)
{
    size_t kept = 0;
    HC_AUTO_FREE uint32_t *readings = NULL;
    HC_LOCKED(&totals->shared.lock);

    readings = calloc((size_t)totals->shared.last_folder + 1, sizeof *readings);
    if (!readings)
        return; /* the next refresh does it */
    for (size_t i = 0; i < totals->shared.folder_count; i++) {
        const struct fetched_folder *folder = &totals->shared.folders[i];

        if (folder->refresh != totals->shared.refresh)
            continue;
        readings[folder->number] = folder->reading;
        totals->shared.folders[kept++] = *folder;
    }
    totals->shared.folder_count = kept;
    for (uint32_t i = 1; i < totals->shared.table.entry_count; i++) {
        const struct hc_fetched_entry *entry = &totals->shared.table.entries[i];

        if (entry->inode != 0 && entry->reading != readings[entry->folder])
            hc_fetched_table_forget(&totals->shared.table, i);
    }
}

/* --- refreshing ------------------------------------------------------------------------
 */

static int totals_read(const struct hc_cache *cache, struct hc_cancellation *cancellation,
                       struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_fetched_walk_folders(cache);
    struct stat status;

    while (hc_directory_walk_next(&walk)) {
        if (fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            folder_read(cache, walk.name, &status, cancellation, err) < 0)
            return -1;
    }
    if (walk.is_incomplete)
        return hc_fail_errno(err, walk.errnum, "read '.hubcache/fetched'");
    totals_forget_unseen(hc_cache_fetched_totals(cache));
    return 0;
}

/* 1: this thread refreshes; 0: that has begun after `since_ms`, and ended; -1. */
static int totals_begin_refresh(struct hc_fetched_totals *totals, int64_t since_ms,
                                struct hc_cancellation *cancellation,
                                struct hc_error *err)
{
    HC_LOCKED(&totals->shared.lock);

    while (totals->shared.is_refreshing) {
        if (hc_cancellation_check(cancellation, err) < 0)
            return -1;
        hc_condition_wait(&totals->shared.changed, &totals->shared.lock, WAIT_MS);
    }
    if (totals->shared.is_used && !totals->shared.is_dated &&
        totals->shared.refreshed_ms > since_ms)
        return 0;
    totals->shared.is_used = true;
    totals->shared.is_refreshing = true;
    totals->shared.is_dated = false;
    totals->shared.refresh++;
    return 1;
}

static void totals_end_refresh(struct hc_fetched_totals *totals, int64_t began_ms,
                               bool is_whole)
{
    HC_LOCKED(&totals->shared.lock);

    totals->shared.is_refreshing = false;
    totals->shared.refreshed_ms = began_ms;
    if (!is_whole)
        totals->shared.is_dated = true;
    (void)pthread_cond_broadcast(&totals->shared.changed);
}

int hc_fetched_totals_refresh(const struct hc_cache *cache, int64_t max_age_ms,
                              struct hc_cancellation *cancellation, struct hc_error *err)
{
    struct hc_fetched_totals *totals = hc_cache_fetched_totals(cache);
    int64_t since_ms = hc_monotonic_ms() - max_age_ms;
    int result = totals_begin_refresh(totals, since_ms, cancellation, err);
    int64_t began_ms = hc_monotonic_ms();

    if (result <= 0)
        return result;
    result = totals_read(cache, cancellation, err);
    totals_end_refresh(totals, began_ms, result == 0);
    return result;
}

void hc_fetched_totals_list(const struct hc_cache *cache, hc_fetched_total_fn fn,
                            void *ctx)
{
    struct hc_fetched_totals *totals = hc_cache_fetched_totals(cache);
    HC_LOCKED(&totals->shared.lock);

    for (uint32_t i = 0; i < totals->shared.table.total_count; i++) {
        const struct hc_caller_total *total = &totals->shared.table.totals[i];
        struct hc_identity identity;
        const struct hc_fetched_total listed = {
            .identity = hc_fetched_table_identity(total, &identity),
            .rule = total->rule ? total->rule : "",
            .bytes = total->bytes,
            .blobs = total->blobs,
            .reserved_bytes = total->reserved_bytes,
        };

        if (total->blobs > 0 || total->reserved_bytes > 0)
            fn(ctx, &listed);
    }
}

/* ---- reservations, with the lock held -------------------------------------------------
 */

static uint64_t totals_used(const struct hc_fetched_totals *totals,
                            const struct hc_fetched_request *request)
{
    uint64_t used = 0;

    for (uint32_t i = 1; i < totals->shared.table.total_count; i++) {
        const struct hc_caller_total *total = &totals->shared.table.totals[i];
        struct hc_identity identity;

        if ((total->bytes > 0 || total->reserved_bytes > 0) &&
            request->counts(request->ctx, hc_fetched_table_identity(total, &identity)))
            used = hc_size_add(used, hc_size_add(total->bytes, total->reserved_bytes));
    }
    return used;
}

/* Adds the bytes to `*needed` if they did not count before. 0 when memory is short. */
static uint32_t entry_reserve(struct hc_fetched_totals *totals,
                              const struct hc_blob_id *blob, uint64_t bytes,
                              uint32_t total, uint64_t *needed)
{
    const struct hc_keyed_hash key = hc_fetched_key(blob);
    uint32_t i = hc_fetched_table_find(&totals->shared.table, &key);
    struct hc_fetched_entry *entry;

    if (i == 0) {
        i = hc_fetched_table_add(&totals->shared.table, &key);
        if (i == 0)
            return 0;
        entry = &totals->shared.table.entries[i];
        entry->bytes = bytes;
        entry->total = total;
        hc_fetched_table_count(&totals->shared.table, entry, true);
        *needed = hc_size_add(*needed, bytes);
    }
    totals->shared.table.entries[i].reservations++;
    return i;
}

static void reservation_release(struct hc_fetched_reservation *reservation)
{
    struct hc_fetched_totals *totals = reservation->totals;

    for (size_t n = 0; n < reservation->count; n++) {
        uint32_t i = reservation->entries[n];
        struct hc_fetched_entry *entry = &totals->shared.table.entries[i];

        if (--entry->reservations > 0 || entry->inode != 0)
            continue;
        hc_fetched_table_count(&totals->shared.table, entry, false);
        hc_fetched_table_remove(&totals->shared.table, i);
        totals->shared.is_dated = true; /* another process may have fetched it */
    }
}

static int reservation_fill(struct hc_fetched_reservation *reservation,
                            const struct hc_fetched_request *request, uint64_t *needed,
                            struct hc_error *err)
{
    struct hc_fetched_totals *totals = reservation->totals;
    uint32_t total =
        hc_fetched_table_find_total(&totals->shared.table, request->identity, "");

    while (reservation->count < request->count) {
        const struct hc_fetched_want *want = &request->wants[reservation->count];
        const struct hc_blob_id blob = {request->folder, want->etag};
        uint32_t i = entry_reserve(totals, &blob, want->bytes, total, needed);

        if (i == 0)
            return hc_fail_memory(err);
        reservation->entries[reservation->count++] = i;
    }
    return 0;
}

int hc_fetched_reserve(const struct hc_cache *cache,
                       const struct hc_fetched_request *request,
                       struct hc_fetched_balance *balance,
                       struct hc_fetched_reservation **reservation, struct hc_error *err)
{
    struct hc_fetched_totals *totals = hc_cache_fetched_totals(cache);
    struct hc_fetched_reservation *made =
        calloc(1, sizeof *made + request->count * sizeof *made->entries);
    int filled;

    if (!made)
        return hc_fail_memory(err);
    *balance = (struct hc_fetched_balance){0};
    made->totals = totals;

    HC_LOCKED(&totals->shared.lock);

    balance->used = totals_used(totals, request);
    filled = reservation_fill(made, request, &balance->needed, err);
    if (filled == 0 && (balance->needed == 0 ||
                        hc_size_add(balance->used, balance->needed) <= request->limit)) {
        *reservation = made;
        return 1;
    }
    reservation_release(made);
    free(made);
    return filled;
}

void hc_fetched_reservation_drop(struct hc_fetched_reservation *reservation)
{
    if (!reservation)
        return;
    {
        HC_LOCKED(&reservation->totals->shared.lock);

        reservation_release(reservation);
    }
    free(reservation);
}

/* -- what this process writes -----------------------------------------------------------
 */

void hc_fetched_totals_add(struct hc_fetched_totals *totals,
                           const struct hc_blob_request *request, uint64_t bytes,
                           uint64_t inode)
{
    const struct hc_keyed_hash key = hc_fetched_key(&request->blob);
    struct fetched_folder *folder;
    struct hc_fetched_entry *entry;
    struct hc_fetched_record record = {.bytes = bytes, .inode = inode};
    HC_LOCKED(&totals->shared.lock);

    if (!totals->shared.is_used)
        return;
    record.total = hc_fetched_table_find_total(&totals->shared.table, request->identity,
                                               request->rule ? request->rule : "");
    folder = folder_find(totals, request->blob.folder);
    entry = folder ? hc_fetched_table_record(&totals->shared.table, &key, &record) : NULL;
    if (!entry)
        return;
    folder->refresh = totals->shared.refresh;
    entry->folder = folder->number;
    entry->reading = folder->reading;
}

void hc_fetched_totals_remove(struct hc_fetched_totals *totals,
                              const struct hc_blob_id *blob)
{
    const struct hc_keyed_hash key = hc_fetched_key(blob);
    uint32_t i;
    HC_LOCKED(&totals->shared.lock);

    i = hc_fetched_table_find(&totals->shared.table, &key);
    if (i != 0 && totals->shared.table.entries[i].inode != 0)
        hc_fetched_table_forget(&totals->shared.table, i);
}

struct hc_fetched_totals *hc_fetched_totals_new(struct hc_error *err)
{
    HC_AUTO(hc_fetched_totals) *totals = calloc(1, sizeof *totals);

    if (!totals) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&totals->shared.lock, NULL);
    hc_condition_init(&totals->shared.changed);
    return hc_fetched_table_init(&totals->shared.table, err) == 0 ? hc_take(&totals)
                                                                  : NULL;
}

void hc_fetched_totals_free(struct hc_fetched_totals *totals)
{
    if (!totals)
        return;
    hc_fetched_table_clear(&totals->shared.table);
    free(totals->shared.folders);
    (void)pthread_cond_destroy(&totals->shared.changed);
    (void)pthread_mutex_destroy(&totals->shared.lock);
    free(totals);
}
