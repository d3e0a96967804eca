/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process file is one line, "<added> <removed> <total> <added by all> <removed by all>
 * <hash>": the counters of the process, which only grow, the occupancy as the process
 * knew it last (HC_SIZE_UNKNOWN: not), the sums of the counters that it included then,
 * and a hash of the five, by which a reader finds that it has read half of a write. A
 * process that takes the total over adds what its own sums have more: what has come or
 * gone since. Processes that have been gone for HC_OCCUPANCY_KEEP_MS are in no sum. The
 * file is written through its descriptor when a mebibyte has come or gone, and by the
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
    NUMBERS = 5, /* of a line, and their hash */
    LINE_SIZE = (NUMBERS + 1) * 21 + 1,
    WRITE_BYTES = 1024 * 1024,
    TOUCH_BEATS = 60,
    PROCESSES_MAX = 4096
};

static const int64_t FORGET_MS = INT64_C(24) * 3600 * 1000;

static const char folder_path[] = ".hubcache/occupancy";

/* What the cache takes, and the sums of the counters that are part of it. */
struct known_total {
    uint64_t bytes; /* or HC_SIZE_UNKNOWN */
    uint64_t added, removed;
};

/* What a process has counted. */
struct process_counts {
    char name[NAME_SIZE];
    uint64_t added, removed;
    struct known_total total;
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
        struct known_total total; /* as it was found last */
    } shared;
};

uint64_t hc_occupancy_of_file(const struct stat *status)
{
    return status->st_nlink > 1 ? 0 : (uint64_t)status->st_blocks * BLOCK_SIZE;
}

/* ---- the file of this process ------------------------------------------------------ */

static uint64_t line_hash(const uint64_t numbers[NUMBERS])
{
    return hc_hash_bytes(HC_HASH_START, numbers, NUMBERS * sizeof *numbers);
}

static int line_format(char line[LINE_SIZE], const uint64_t numbers[NUMBERS])
{
    int length = 0;

    for (size_t i = 0; i < NUMBERS; i++)
        length += hc_format(line + length, LINE_SIZE - (size_t)length, "%020" PRIu64 " ",
                            numbers[i]);
    return length + hc_format(line + length, LINE_SIZE - (size_t)length,
                              "%020" PRIu64 "\n", line_hash(numbers));
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

static struct known_total occupancy_total(struct hc_occupancy *occupancy)
{
    HC_LOCKED(&occupancy->shared.lock);

    return occupancy->shared.total;
}

/* With the lock of the file held. */
static void occupancy_write_file(struct hc_occupancy *occupancy,
                                 const struct known_total *total)
{
    uint64_t added = atomic_load(&occupancy->added);
    uint64_t removed = atomic_load(&occupancy->removed);
    const uint64_t numbers[NUMBERS] = {added, removed, total->bytes, total->added,
                                       total->removed};
    char line[LINE_SIZE];
    int length = line_format(line, numbers);

    occupancy_open_file(occupancy);
    if (occupancy->file.fd < 0 ||
        pwrite(occupancy->file.fd, line, (size_t)length, 0) != length)
        return;
    (void)futimens(occupancy->file.fd, NULL);
    occupancy->file.written_added = added;
    occupancy->file.written_removed = removed;
    occupancy->file.written_total = total->bytes;
    occupancy->file.quiet_beats = 0;
}

static void occupancy_on_heartbeat(struct hc_heartbeat *heartbeat)
{
    struct hc_occupancy *occupancy =
        (struct hc_occupancy *)((char *)heartbeat -
                                offsetof(struct hc_occupancy, heartbeat));
    const struct known_total total = occupancy_total(occupancy);
    HC_LOCKED(&occupancy->file.lock);

    if (occupancy->file.written_added != atomic_load(&occupancy->added) ||
        occupancy->file.written_removed != atomic_load(&occupancy->removed) ||
        occupancy->file.written_total != total.bytes ||
        ++occupancy->file.quiet_beats >= TOUCH_BEATS)
        occupancy_write_file(occupancy, &total);
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
    const struct known_total total = occupancy_total(occupancy);

    if (occupancy_must_start(occupancy))
        hc_heartbeats_start(hc_cache_heartbeats(occupancy->cache), &occupancy->heartbeat);

    HC_LOCKED(&occupancy->file.lock);

    if (atomic_load(&occupancy->added) - occupancy->file.written_added >= WRITE_BYTES ||
        atomic_load(&occupancy->removed) - occupancy->file.written_removed >= WRITE_BYTES)
        occupancy_write_file(occupancy, &total);
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
    uint64_t numbers[NUMBERS + 1];
    char *end = NULL;

    for (size_t i = 0; i <= NUMBERS; i++) {
        numbers[i] = strtoull(text, &end, 10);
        if (end == text)
            return false;
        text = end;
    }
    counts->added = numbers[0];
    counts->removed = numbers[1];
    counts->total = (struct known_total){numbers[2], numbers[3], numbers[4]};
    return numbers[NUMBERS] == line_hash(numbers);
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

/* With the lock held: the sums of the counters of all but those long gone. */
static struct known_total table_sum(const struct hc_occupancy *occupancy)
{
    int64_t then_ms = hc_epoch_ms() - HC_OCCUPANCY_KEEP_MS;
    struct known_total sum = {0};

    for (size_t i = 0; i < occupancy->shared.count; i++) {
        const struct process_counts *counts = &occupancy->shared.table[i];

        if (counts->changed_ms > then_ms) {
            sum.added += counts->added;
            sum.removed += counts->removed;
        }
    }
    return sum;
}

/* With the lock held. */
static void occupancy_note_total(struct hc_occupancy *occupancy)
{
    int64_t bytes = occupancy->shared.bytes;

    occupancy->shared.total = table_sum(occupancy);
    occupancy->shared.total.bytes = bytes > 0 ? (uint64_t)bytes : 0;
    atomic_store(&occupancy->total, occupancy->shared.total.bytes);
}

/* Takes over what another process knew, and adds what has come and gone since. Counters
 * only grow: sums that are less do not include the same processes. */
static void occupancy_adopt(struct hc_occupancy *occupancy,
                            const struct known_total *total)
{
    struct known_total now;
    HC_LOCKED(&occupancy->shared.lock);

    now = table_sum(occupancy);
    if (occupancy->shared.is_known || total->bytes == HC_SIZE_UNKNOWN ||
        now.added < total->added || now.removed < total->removed)
        return;
    occupancy->shared.bytes = (int64_t)(total->bytes + (now.added - total->added)) -
                              (int64_t)(now.removed - total->removed);
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
    struct process_counts newest = {.total.bytes = HC_SIZE_UNKNOWN}, counts;

    while (hc_directory_walk_next(&walk)) {
        if (!S_ISREG(walk.type) || strcmp(walk.name, occupancy->name) == 0 ||
            !counts_read(walk.dir, walk.name, &counts))
            continue;
        table_merge(occupancy, &counts);
        if (counts.total.bytes != HC_SIZE_UNKNOWN &&
            (newest.total.bytes == HC_SIZE_UNKNOWN ||
             counts.changed_ms > newest.changed_ms))
            newest = counts;
    }
    occupancy_merge_own(occupancy);
    occupancy_adopt(occupancy, &newest.total);
}

int hc_occupancy_find(void *ctx, uint64_t *bytes)
{
    struct hc_occupancy *occupancy = ctx;

    occupancy_refresh(occupancy);
    HC_LOCKED(&occupancy->shared.lock);

    if (!occupancy->shared.is_known)
        return 0;
    occupancy_note_total(occupancy);
    *bytes = occupancy->shared.total.bytes;
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
        occupancy_note_total(occupancy);
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
    occupancy->shared.total.bytes = HC_SIZE_UNKNOWN;
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
