/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process file is one line, "<added> <removed> <total> <hash>": the counters of the
 * process, which only grow, the occupancy as the process knows it (HC_SIZE_UNKNOWN: not),
 * and a hash of the three, by which a reader finds that it has read half of a write. It
 * is written through its descriptor when a mebibyte has come or gone, and by the
 * heartbeat when anything has changed, or has not for a minute: its mtime shows that the
 * process lives.
 *
 * What this process knows of each file, it keeps in a table: the counters that `total`
 * includes. A file that is gone stays in the table until the next scan.
 *
 * Of two locks one guards the table, the other the file. Neither is taken with the other
 * held, and a removal or an addition waits for one small write at most.
 */
#include "occupancy.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/hash.h>
#include <base/heartbeat.h>
#include <base/size.h>
#include <base/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

enum {
    BLOCK_SIZE = 512, /* of st_blocks */
    NAME_SIZE = sizeof "process.01234567",
    LINE_SIZE = 4 * 21 + 1,
    WRITE_BYTES = 1024 * 1024,
    TOUCH_BEATS = 60,
    PROCESSES_MAX = 4096
};

static const int64_t FORGET_MS = INT64_C(24) * 3600 * 1000;

static const char folder_path[] = ".hubcache/occupancy";

/* What a process has counted. */
struct process_counts {
    char name[NAME_SIZE];
    uint64_t added, removed;
    uint64_t total; /* or HC_SIZE_UNKNOWN */
    int64_t changed_ms;
};

struct hc_occupancy {
    struct hc_heartbeat heartbeat;
    const struct hc_cache *cache; /* borrowed */
    char path[PATH_MAX];
    const char *name; /* in `path` */
    atomic_uint_least64_t added, removed, total;
    struct {
        pthread_mutex_t lock;
        int fd; /* -1: none yet */
        uint64_t written_added, written_removed, written_total;
        unsigned quiet_beats;
    } file;
    struct {
        pthread_mutex_t lock;
        struct process_counts *table;
        size_t count, room;
        int64_t bytes;
        bool is_known;
    } shared;
};

uint64_t hc_occupancy_of_file(const struct stat *status)
{
    return status->st_nlink > 1 ? 0 : (uint64_t)status->st_blocks * BLOCK_SIZE;
}

/* ---- the file of this process ------------------------------------------------------ */

static uint64_t line_hash(uint64_t added, uint64_t removed, uint64_t total)
{
    const uint64_t numbers[] = {added, removed, total};

    return hc_hash_bytes(HC_HASH_START, numbers, sizeof numbers);
}

/* A volume that takes no file: the others learn of it at their next scan. */
static void occupancy_open_file(struct hc_occupancy *occupancy)
{
    int root = hc_cache_fd(occupancy->cache);
    struct stat status;
    struct hc_error unused;

    if (occupancy->file.fd >= 0 && fstat(occupancy->file.fd, &status) == 0 &&
        status.st_nlink > 0)
        return;
    hc_auto_close(&occupancy->file.fd);
    occupancy->file.fd = -1;
    if (hc_file_mkparents(root, occupancy->path, &unused) == 0)
        occupancy->file.fd =
            hc_file_open(root, occupancy->path, O_WRONLY | O_CREAT, 0666);
}

/* With the lock of the file held. */
static void occupancy_write_file(struct hc_occupancy *occupancy)
{
    uint64_t added = atomic_load(&occupancy->added);
    uint64_t removed = atomic_load(&occupancy->removed);
    uint64_t total = atomic_load(&occupancy->total);
    char line[LINE_SIZE];
    int length =
        hc_format(line, sizeof line,
                  "%020" PRIu64 " %020" PRIu64 " %020" PRIu64 " %020" PRIu64 "\n", added,
                  removed, total, line_hash(added, removed, total));

    occupancy_open_file(occupancy);
    if (occupancy->file.fd < 0 ||
        pwrite(occupancy->file.fd, line, (size_t)length, 0) != length)
        return;
    (void)futimens(occupancy->file.fd, NULL);
    occupancy->file.written_added = added;
    occupancy->file.written_removed = removed;
    occupancy->file.written_total = total;
    occupancy->file.quiet_beats = 0;
}

static void occupancy_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    struct hc_occupancy *occupancy =
        (struct hc_occupancy *)((char *)heartbeat -
                                offsetof(struct hc_occupancy, heartbeat));
    HC_LOCKED(&occupancy->file.lock);

    if (occupancy->file.written_added != atomic_load(&occupancy->added) ||
        occupancy->file.written_removed != atomic_load(&occupancy->removed) ||
        occupancy->file.written_total != atomic_load(&occupancy->total) ||
        ++occupancy->file.quiet_beats >= TOUCH_BEATS)
        occupancy_write_file(occupancy);
}

/* The first change of a process starts its heartbeat: readers leave no file. */
static bool occupancy_must_start(struct hc_occupancy *occupancy)
{
    HC_LOCKED(&occupancy->file.lock);

    if (occupancy->heartbeat.beat)
        return false;
    occupancy->heartbeat.beat = occupancy_on_heartbeat;
    return true;
}

static void occupancy_publish(struct hc_occupancy *occupancy)
{
    if (occupancy_must_start(occupancy))
        hc_heartbeats_start(hc_cache_heartbeats(occupancy->cache), &occupancy->heartbeat);

    HC_LOCKED(&occupancy->file.lock);

    if (atomic_load(&occupancy->added) - occupancy->file.written_added >= WRITE_BYTES ||
        atomic_load(&occupancy->removed) - occupancy->file.written_removed >= WRITE_BYTES)
        occupancy_write_file(occupancy);
}

void hc_occupancy_add(struct hc_occupancy *occupancy, uint64_t bytes)
{
    (void)atomic_fetch_add(&occupancy->added, bytes);
    occupancy_publish(occupancy);
}

void hc_occupancy_remove(struct hc_occupancy *occupancy, uint64_t bytes)
{
    (void)atomic_fetch_add(&occupancy->removed, bytes);
    occupancy_publish(occupancy);
}

/* ---- the files of all processes ---------------------------------------------------- */

/* False: half of a write was read, or the file is none of ours. */
static bool counts_parse(const char *text, struct process_counts *counts)
{
    uint64_t numbers[4];
    char *end = NULL;

    for (size_t i = 0; i < 4; i++) {
        numbers[i] = strtoull(text, &end, 10);
        if (end == text)
            return false;
        text = end;
    }
    counts->added = numbers[0];
    counts->removed = numbers[1];
    counts->total = numbers[2];
    return numbers[3] == line_hash(numbers[0], numbers[1], numbers[2]);
}

static bool counts_read(int dir, const char *name, struct process_counts *counts)
{
    char text[LINE_SIZE + 1];
    struct stat status;
    struct hc_error unused;

    if (hc_format(counts->name, sizeof counts->name, "%s", name) < 0 ||
        hc_file_read_stat(dir, name, text, sizeof text, &status, &unused) != 1)
        return false;
    counts->changed_ms = hc_file_changed_ms(&status);
    return counts_parse(text, counts);
}

/* The entry of the table with that name; a new one when there is none. NULL: there is no
 * memory, or there are too many. */
static struct process_counts *table_find(struct hc_occupancy *occupancy, const char *name)
{
    struct process_counts *grown, *entry;
    size_t room = occupancy->shared.room ? 2 * occupancy->shared.room : 16;

    for (size_t i = 0; i < occupancy->shared.count; i++) {
        if (strcmp(occupancy->shared.table[i].name, name) == 0)
            return &occupancy->shared.table[i];
    }
    if (occupancy->shared.count == occupancy->shared.room) {
        grown = room > PROCESSES_MAX ? NULL
                                     : reallocarray(occupancy->shared.table, room,
                                                    sizeof *occupancy->shared.table);
        if (!grown)
            return NULL;
        occupancy->shared.table = grown;
        occupancy->shared.room = room;
    }
    entry = &occupancy->shared.table[occupancy->shared.count++];
    *entry = (struct process_counts){0};
    (void)hc_format(entry->name, sizeof entry->name, "%s", name);
    return entry;
}

/* Two threads may have read the file in one order, and come here in the other: what is
 * less than before is older. */
static void table_merge(struct hc_occupancy *occupancy, const struct process_counts *now)
{
    HC_LOCKED(&occupancy->shared.lock);
    struct process_counts *known = table_find(occupancy, now->name);

    if (!known)
        return;
    known->changed_ms = now->changed_ms;
    if (now->added > known->added) {
        occupancy->shared.bytes += (int64_t)(now->added - known->added);
        known->added = now->added;
    }
    if (now->removed > known->removed) {
        occupancy->shared.bytes -= (int64_t)(now->removed - known->removed);
        known->removed = now->removed;
    }
}

/* Takes over what another process knows, as of now. */
static void occupancy_adopt(struct hc_occupancy *occupancy,
                            const struct process_counts *newest)
{
    HC_LOCKED(&occupancy->shared.lock);

    if (occupancy->shared.is_known || newest->total == HC_SIZE_UNKNOWN)
        return;
    occupancy->shared.bytes = (int64_t)newest->total;
    occupancy->shared.is_known = true;
}

static void occupancy_merge_own(struct hc_occupancy *occupancy)
{
    struct process_counts own = {.added = atomic_load(&occupancy->added),
                                 .removed = atomic_load(&occupancy->removed),
                                 .changed_ms = INT64_MAX};

    (void)hc_format(own.name, sizeof own.name, "%s", occupancy->name);
    table_merge(occupancy, &own);
}

static void occupancy_refresh(struct hc_occupancy *occupancy)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(hc_cache_fd(occupancy->cache), folder_path, 0);
    struct process_counts newest = {.total = HC_SIZE_UNKNOWN}, counts;

    while (hc_directory_walk_next(&walk)) {
        if (!S_ISREG(walk.type) || strcmp(walk.name, occupancy->name) == 0 ||
            !counts_read(walk.dir, walk.name, &counts))
            continue;
        table_merge(occupancy, &counts);
        if (counts.total != HC_SIZE_UNKNOWN &&
            (newest.total == HC_SIZE_UNKNOWN || counts.changed_ms > newest.changed_ms))
            newest = counts;
    }
    occupancy_merge_own(occupancy);
    occupancy_adopt(occupancy, &newest);
}

int hc_occupancy_find(void *ctx, uint64_t *bytes)
{
    struct hc_occupancy *occupancy = ctx;

    occupancy_refresh(occupancy);
    HC_LOCKED(&occupancy->shared.lock);

    if (!occupancy->shared.is_known)
        return 0;
    *bytes = occupancy->shared.bytes > 0 ? (uint64_t)occupancy->shared.bytes : 0;
    atomic_store(&occupancy->total, *bytes);
    return 1;
}

bool hc_occupancy_recall(const struct hc_occupancy *occupancy, uint64_t *bytes)
{
    uint64_t total = atomic_load(&occupancy->total);

    *bytes = total == HC_SIZE_UNKNOWN ? 0 : total;
    return total != HC_SIZE_UNKNOWN;
}

/* ---- scans ------------------------------------------------------------------------- */

static uint64_t table_sum_added(struct hc_occupancy *occupancy)
{
    uint64_t added = 0;
    HC_LOCKED(&occupancy->shared.lock);

    for (size_t i = 0; i < occupancy->shared.count; i++)
        added += occupancy->shared.table[i].added;
    return added;
}

struct hc_occupancy_scan hc_occupancy_begin_scan(struct hc_occupancy *occupancy)
{
    occupancy_refresh(occupancy);
    return (struct hc_occupancy_scan){.added = table_sum_added(occupancy)};
}

/* Drops processes that have been gone for a day. */
static void table_forget(struct hc_occupancy *occupancy)
{
    int64_t then_ms = hc_epoch_ms() - FORGET_MS;
    size_t kept = 0;
    HC_LOCKED(&occupancy->shared.lock);

    for (size_t i = 0; i < occupancy->shared.count; i++) {
        if (occupancy->shared.table[i].changed_ms > then_ms)
            occupancy->shared.table[kept++] = occupancy->shared.table[i];
    }
    occupancy->shared.count = kept;
}

void hc_occupancy_end_scan(struct hc_occupancy *occupancy,
                           const struct hc_occupancy_scan *scan, uint64_t bytes)
{
    uint64_t added;

    occupancy_refresh(occupancy);
    added = table_sum_added(occupancy) - scan->added;
    {
        HC_LOCKED(&occupancy->shared.lock);

        occupancy->shared.bytes = (int64_t)hc_size_add(bytes, added);
        occupancy->shared.is_known = true;
        atomic_store(&occupancy->total, (uint64_t)occupancy->shared.bytes);
    }
    table_forget(occupancy);
    occupancy_publish(occupancy);
}

void hc_occupancy_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    (void)hc_directory_remove_older(hc_cache_fd(cache), folder_path,
                                    now_ms - HC_OCCUPANCY_KEEP_MS);
}

/* ---- the whole --------------------------------------------------------------------- */

struct hc_occupancy *hc_occupancy_new(const struct hc_cache *cache, struct hc_error *err)
{
    HC_AUTO(hc_occupancy) *occupancy = calloc(1, sizeof *occupancy);

    if (!occupancy) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    occupancy->cache = cache;
    occupancy->file.fd = -1;
    occupancy->file.written_total = HC_SIZE_UNKNOWN;
    atomic_store(&occupancy->total, HC_SIZE_UNKNOWN);
    (void)pthread_mutex_init(&occupancy->file.lock, NULL);
    (void)pthread_mutex_init(&occupancy->shared.lock, NULL);
    if (hc_file_private_name(occupancy->path, PATH_MAX, ".hubcache/occupancy/process", "",
                             err) < 0)
        return NULL;
    occupancy->name = strrchr(occupancy->path, '/') + 1;
    return hc_take(&occupancy);
}

/* What was counted last is written once more. */
void hc_occupancy_free(struct hc_occupancy *occupancy)
{
    if (!occupancy)
        return;
    if (occupancy->heartbeat.beat) {
        hc_heartbeats_stop(hc_cache_heartbeats(occupancy->cache), &occupancy->heartbeat);
        occupancy_on_heartbeat(&occupancy->heartbeat);
    }
    hc_auto_close(&occupancy->file.fd);
    free(occupancy->shared.table);
    (void)pthread_mutex_destroy(&occupancy->shared.lock);
    (void)pthread_mutex_destroy(&occupancy->file.lock);
    free(occupancy);
}
