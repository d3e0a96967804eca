/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A warm-up has the paths of the answer, or the directory of a snapshot with patterns.
 * Its states:
 *
 *     asked for   by an answer. An equal one that waits, runs, or has ended less than
 *                 QUIET_MS ago takes its place: many callers ask for the same files
 *     waiting     in the queue of the pool. One that finds the queue full is left out
 *     listing     a thread walks the snapshot's directory
 *     reading     smallest file first, as many as fit into half of the available memory
 *     ended
 *
 * A blob that another thread reads ahead just now, for another snapshot, is passed over.
 */
#include "warm_up.h"

#include "resolver.h"

#include <base/available_memory.h>
#include <base/hash.h>
#include <base/read_ahead.h>
#include <cache/memo.h>
#include <policy/patterns.h>

#include <string.h>
#include <sys/stat.h>

enum {
    THREADS = 2, /* a file is read by one: two chunks of it are on their way */
    QUEUE = 256,
    SLOTS = 256,
    QUIET_MS = 10 * 1000
};

/* A warm-up that waits or runs, or has ended; one takes the slot of another. */
struct warm_up_slot {
    uint64_t key;
    int64_t quiet_until_ms; /* of the monotonic clock; INT64_MAX: it has not ended */
};

/* A file that a thread reads. */
struct warm_up_blob {
    dev_t device;
    ino_t inode; /* 0: none */
};

struct hc_warm_ups {
    const struct hc_resolver *resolver;
    struct hc_workers *workers;
    atomic_bool stop;
    atomic_uint_least64_t warmed, left;
    struct {
        pthread_mutex_t lock;
        struct warm_up_slot slots[SLOTS];
        struct warm_up_blob blobs[THREADS];
    } shared;
};

struct warm_up {
    struct hc_task task; /* first: the task is cast to it */
    struct hc_warm_ups *warm_ups;
    uint64_t key;
    char *directory;             /* NULL: `names` are paths of files */
    struct hc_strings names;     /* or allow_patterns */
    struct hc_strings ignore;    /* ignore_patterns */
    struct hc_decision decision; /* which files of the directory the caller may have */
};

/* Owns the paths of the files. */
struct warm_up_list {
    struct hc_read_ahead_file *files;
    struct hc_strings paths;
    size_t count, capacity;
};

static void warm_up_free(struct warm_up *warm_up)
{
    if (!warm_up)
        return;
    free(warm_up->directory);
    hc_strings_clear(&warm_up->names);
    hc_strings_clear(&warm_up->ignore);
    hc_decision_clear(&warm_up->decision);
    free(warm_up);
}

HC_DEFINE_AUTO(warm_up, warm_up_free)

static void warm_up_list_clear(struct warm_up_list *list)
{
    free(list->files);
    hc_strings_clear(&list->paths);
}

HC_DEFINE_AUTO_VALUE(warm_up_list, warm_up_list_clear)

/* ---- which warm-ups there are ------------------------------------------------------ */

/* False: an equal one takes its place. */
static bool warm_ups_admit(struct hc_warm_ups *warm_ups, uint64_t key)
{
    struct warm_up_slot *slot = &warm_ups->shared.slots[key % SLOTS];
    HC_LOCKED(&warm_ups->shared.lock);

    if (slot->key == key && hc_monotonic_ms() < slot->quiet_until_ms)
        return false;
    *slot = (struct warm_up_slot){key, INT64_MAX};
    return true;
}

static void warm_ups_forget(struct hc_warm_ups *warm_ups, uint64_t key, int64_t quiet_ms)
{
    struct warm_up_slot *slot = &warm_ups->shared.slots[key % SLOTS];
    HC_LOCKED(&warm_ups->shared.lock);

    if (slot->key == key)
        slot->quiet_until_ms = hc_monotonic_ms() + quiet_ms;
}

/* NULL: another thread reads the file. */
static struct warm_up_blob *blob_begin(struct hc_warm_ups *warm_ups,
                                       const struct stat *status)
{
    struct warm_up_blob *mine = NULL;
    HC_LOCKED(&warm_ups->shared.lock);

    for (size_t i = 0; i < THREADS; i++) {
        struct warm_up_blob *blob = &warm_ups->shared.blobs[i];

        if (blob->inode == status->st_ino && blob->device == status->st_dev)
            return NULL;
        if (blob->inode == 0)
            mine = blob;
    }
    if (mine)
        *mine = (struct warm_up_blob){status->st_dev, status->st_ino};
    return mine;
}

static void blob_end(struct hc_warm_ups *warm_ups, struct warm_up_blob *blob)
{
    HC_LOCKED(&warm_ups->shared.lock);

    blob->inode = 0;
}

/* ---- reading ----------------------------------------------------------------------- */

static void file_read_ahead(struct hc_warm_ups *warm_ups, const char *path)
{
    HC_AUTO_CLOSE int fd = -1;
    struct warm_up_blob *blob;
    struct stat status;
    struct hc_error ignored;

    if (hc_resolver_open_file(warm_ups->resolver, path, &fd, &ignored) != 1 ||
        fstat(fd, &status) < 0)
        return;
    blob = blob_begin(warm_ups, &status);
    if (!blob)
        return;
    atomic_fetch_add(&warm_ups->warmed, hc_read_ahead(fd, &warm_ups->stop));
    blob_end(warm_ups, blob);
}

/* ---- listing ----------------------------------------------------------------------- */

static int list_add(struct warm_up_list *list, const char *path, uint64_t size,
                    struct hc_error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 16;
        struct hc_read_ahead_file *grown =
            reallocarray(list->files, capacity, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        list->files = grown;
        list->capacity = capacity;
    }
    if (hc_strings_add(&list->paths, path, err) < 0)
        return -1;
    list->files[list->count] =
        (struct hc_read_ahead_file){list->paths.items[list->count], size};
    list->count++;
    return 0;
}

/* What the patterns select, as it is on the volume now. */
static int list_snapshot(const struct warm_up *warm_up, struct warm_up_list *list,
                         struct hc_error *err)
{
    const struct hc_snapshot_request request = {.list_files = true};
    const struct hc_patterns patterns = {(const char *const *)warm_up->names.items,
                                         warm_up->names.count,
                                         (const char *const *)warm_up->ignore.items,
                                         warm_up->ignore.count};
    HC_AUTO(hc_filter) *filter = hc_filter_new(&patterns, NULL, err);
    const struct hc_local_selection selection = {&request, filter, &warm_up->decision};
    struct hc_snapshot snapshot;
    int result = 0;

    if (!filter || hc_local_snapshot(warm_up->directory, &selection, &snapshot, err) < 0)
        return -1;
    for (size_t i = 0; result == 0 && i < snapshot.listed; i++)
        result =
            list_add(list, snapshot.files[i].path, snapshot.files[i].size_bytes, err);
    hc_snapshot_clear(&snapshot);
    return result;
}

static int list_files(const struct warm_up *warm_up, struct warm_up_list *list,
                      struct hc_error *err)
{
    struct stat status;

    for (size_t i = 0; i < warm_up->names.count; i++) {
        const char *path = warm_up->names.items[i];

        if (stat(path, &status) == 0 &&
            list_add(list, path, (uint64_t)status.st_size, err) < 0)
            return -1;
    }
    return 0;
}

static void warm_up_read(const struct warm_up *warm_up)
{
    struct hc_warm_ups *warm_ups = warm_up->warm_ups;
    HC_AUTO_VALUE(warm_up_list) list = {0};
    struct hc_error ignored;
    size_t chosen;

    if (atomic_load(&warm_ups->stop) ||
        (warm_up->directory ? list_snapshot(warm_up, &list, &ignored)
                            : list_files(warm_up, &list, &ignored)) < 0 ||
        !list.files)
        return;
    chosen = hc_read_ahead_choose(list.files, list.count, hc_available_memory(""));
    for (size_t i = 0; i < chosen && !atomic_load(&warm_ups->stop); i++)
        file_read_ahead(warm_ups, list.files[i].path);
    for (size_t i = chosen; i < list.count; i++)
        atomic_fetch_add(&warm_ups->left, list.files[i].size);
}

static bool warm_up_run(struct hc_task *task)
{
    HC_AUTO(warm_up) *warm_up = (struct warm_up *)task;

    warm_up_read(warm_up);
    warm_ups_forget(warm_up->warm_ups, warm_up->key, QUIET_MS);
    return false;
}

/* ---- asking for one ---------------------------------------------------------------- */

static struct warm_up *warm_up_new(struct hc_warm_ups *warm_ups,
                                   const struct hc_fetch_options *options, uint64_t key)
{
    struct warm_up *warm_up = calloc(1, sizeof *warm_up);

    if (!warm_up)
        return NULL;
    warm_up->task.run = warm_up_run;
    warm_up->task.caller = options->caller;
    warm_up->task.repo = key;
    warm_up->warm_ups = warm_ups;
    warm_up->key = key;
    return warm_up;
}

/* `is_whole` false: memory was short, and the next answer asks again. */
static void warm_up_submit(struct warm_up *made, bool is_whole)
{
    HC_AUTO(warm_up) *warm_up = made;
    struct hc_error ignored;

    if (is_whole &&
        hc_workers_submit(warm_up->warm_ups->workers, &warm_up->task, &ignored) == 0) {
        (void)hc_take(&warm_up); /* the task frees itself */
        return;
    }
    warm_ups_forget(warm_up->warm_ups, warm_up->key, 0);
}

static uint64_t key_add(uint64_t key, const char *text)
{
    return hc_hash_bytes(key, text, strlen(text) + 1);
}

void hc_warm_up_files(struct hc_warm_ups *warm_ups,
                      const struct hc_fetch_options *options, const struct hc_file *files,
                      size_t count)
{
    uint64_t key = HC_HASH_START;
    struct hc_error ignored;
    struct warm_up *warm_up;
    bool is_whole = true;

    for (size_t i = 0; i < count; i++)
        key = key_add(key, files[i].path);
    if (count == 0 || !warm_ups_admit(warm_ups, key))
        return;
    warm_up = warm_up_new(warm_ups, options, key);
    if (!warm_up) {
        warm_ups_forget(warm_ups, key, 0);
        return;
    }
    for (size_t i = 0; is_whole && i < count; i++)
        is_whole = hc_strings_add(&warm_up->names, files[i].path, &ignored) == 0;
    warm_up_submit(warm_up, is_whole);
}

void hc_warm_up_snapshot(struct hc_warm_ups *warm_ups,
                         const struct hc_fetch_options *options,
                         const struct hc_snapshot *snapshot,
                         const struct hc_warm_selection *selection)
{
    const struct hc_patterns *patterns = selection->patterns;
    uint64_t key = key_add(HC_HASH_START, snapshot->path);
    char decision_key[HC_MEMO_PATH_MAX + 1];
    struct hc_error ignored;
    struct warm_up *warm_up;

    for (size_t i = 0; i < patterns->allow_count; i++)
        key = key_add(key_add(key, "+"), patterns->allow[i]);
    for (size_t i = 0; i < patterns->ignore_count; i++)
        key = key_add(key_add(key, "-"), patterns->ignore[i]);
    if (hc_decision_format_key(selection->decision, decision_key, sizeof decision_key) >=
        0)
        key = key_add(key_add(key, "!"), decision_key);
    if (!warm_ups_admit(warm_ups, key))
        return;
    warm_up = warm_up_new(warm_ups, options, key);
    if (!warm_up) {
        warm_ups_forget(warm_ups, key, 0);
        return;
    }
    warm_up->directory = hc_text_copy(snapshot->path, &ignored);
    warm_up_submit(warm_up,
                   warm_up->directory &&
                       hc_decision_copy(&warm_up->decision, selection->decision,
                                        &ignored) == 0 &&
                       hc_strings_add_all(&warm_up->names, patterns->allow,
                                          patterns->allow_count, &ignored) == 0 &&
                       hc_strings_add_all(&warm_up->ignore, patterns->ignore,
                                          patterns->ignore_count, &ignored) == 0);
}

/* ---- opening and closing ----------------------------------------------------------- */

struct hc_warm_ups *hc_warm_ups_open(const struct hc_resolver *resolver,
                                     struct hc_error *err)
{
    HC_AUTO(hc_warm_ups) *warm_ups = calloc(1, sizeof *warm_ups);

    if (!warm_ups) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&warm_ups->shared.lock, NULL);
    warm_ups->resolver = resolver;
    warm_ups->workers = hc_workers_open(THREADS, QUEUE, err);
    return warm_ups->workers ? hc_take(&warm_ups) : NULL;
}

void hc_warm_ups_close(struct hc_warm_ups *warm_ups)
{
    if (!warm_ups)
        return;
    atomic_store(&warm_ups->stop, true);
    hc_workers_close(warm_ups->workers);
    (void)pthread_mutex_destroy(&warm_ups->shared.lock);
    free(warm_ups);
}

void hc_warm_ups_count(const struct hc_warm_ups *warm_ups, uint64_t *warmed,
                       uint64_t *left)
{
    *warmed = atomic_load(&warm_ups->warmed);
    *left = atomic_load(&warm_ups->left);
}
