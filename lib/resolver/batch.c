/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch has a few tasks in the pool of download threads that all batches of the process
 * share. A task takes the next entry off the batch's list and fetches it; then it goes
 * back into the pool's queue, so that batches take turns file by file. A task is idle
 * (queued), busy with one entry, or ended: when the list is empty, or the batch has
 * failed.
 *
 * The thread that called hc_batch_fetch() waits for the tasks. Four times a second it
 * reports progress and passes its caller's cancellation and deadline on to them. The
 * tasks wait on a cancellation of the batch's own, so that the first failure can end the
 * others; tasks that are queued then are withdrawn from the pool.
 *
 * A fetch never waits for one that is queued: when two batches want the same blob, the
 * one that runs its transfer has a thread. A large blob takes, beside its task's thread,
 * one for each of its connections, and these are few in all (transfer/budget.h).
 *
 * Before the first byte, space for all entries is reserved on the volume, and in the
 * caller's quota.
 */
#include "batch.h"

#include <base/cancellation.h>
#include <base/hash.h>
#include <base/size.h>
#include <cache/fetched_totals.h>
#include <cache/pointer.h>
#include <claim/claim.h>
#include <claim/reservation.h>
#include <store/duplicate.h>

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>

enum { TICK_MS = 250 };

struct batch_download;

struct batch_worker {
    struct hc_task task;
    struct batch_download *download;
    /* Under the download's lock: */
    const struct hc_entry *entry; /* NULL: idle or ended */
    uint64_t received;            /* of its bytes, from the network, when last measured */
    unsigned retries;             /* of its requests, when last measured */
};

struct batch_download {
    const struct hc_batch *batch;
    struct hc_cancellation *cancellation; /* the batch's own */
    struct hc_reservation *reservation;
    struct hc_fetched_reservation *quota_reservation;
    uint64_t *reserved_bytes; /* of each entry, when not all of its size; else NULL */
    struct batch_worker workers[HC_BATCH_WIDTH_MAX];
    size_t worker_count;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        size_t next;           /* the first entry that no worker has taken */
        size_t done;           /* files that are there */
        size_t active_workers; /* that have not ended */
        uint64_t done_bytes;
        uint64_t fetched_bytes;
        uint64_t received_bytes; /* over the network, for us or for another process */
        unsigned retries;        /* of entries that are over */
        bool has_failed;
        struct hc_error error; /* of the first failure */
    } shared;
};

/* ---- the rate ---------------------------------------------------------------------- */

/* A rate over less time says nothing. Samples are taken four times a second. */
enum { RATE_MIN_MS = 500, RATE_APART_MS = 200 };

static void rate_add_sample(struct hc_rate *rate, int64_t now_ms, uint64_t bytes)
{
    unsigned newest = (rate->count - 1) % HC_RATE_SAMPLES;
    unsigned next = rate->count % HC_RATE_SAMPLES;

    if (rate->count > 0 && now_ms - rate->at_ms[newest] < RATE_APART_MS)
        return;
    rate->at_ms[next] = now_ms;
    rate->bytes[next] = bytes;
    rate->count++;
}

uint64_t hc_rate_add(struct hc_rate *rate, int64_t now_ms, uint64_t bytes)
{
    unsigned oldest;
    int64_t elapsed;

    rate_add_sample(rate, now_ms, bytes);
    oldest = rate->count < HC_RATE_SAMPLES ? 0 : rate->count % HC_RATE_SAMPLES;
    elapsed = now_ms - rate->at_ms[oldest];
    if (elapsed < RATE_MIN_MS || bytes < rate->bytes[oldest])
        return 0;
    bytes -= rate->bytes[oldest];
    if (bytes <= UINT64_MAX / 1000)
        return bytes * 1000 / (uint64_t)elapsed;
    bytes /= (uint64_t)elapsed; /* a claim of another process may say any number */
    return bytes > UINT64_MAX / 1000 ? UINT64_MAX : bytes * 1000;
}

/* ---- the space estimate ---------------------------------------------------------------
 *
 * The sizes of all files are quickly added up, and mostly fit. Only when they do not, a
 * closer look says which bytes need not come: those of the same blob in another entry, of
 * a blob that is there already, of an earlier transfer, and of another repo.
 */

static int entry_compare_etags(const void *a, const void *b, void *ctx)
{
    const struct hc_entry *const *entries = ctx;

    return strcmp(hc_entry_etag(entries[*(const size_t *)a]),
                  hc_entry_etag(entries[*(const size_t *)b]));
}

/* The bytes of an entry that have to come. */
static uint64_t entry_estimate_bytes(const struct hc_resolution *resolution,
                                     const struct hc_entry *entry)
{
    const struct hc_cache *cache = resolution->resolver->cache;
    const struct hc_blob_id blob = {resolution->repo.folder, hc_entry_etag(entry)};
    uint64_t size = hc_entry_size(entry), cached_size, arrived_bytes;
    struct hc_error unused;
    char duplicate[PATH_MAX];

    if (resolution->options->force_download || !blob.etag[0])
        return size;
    if ((hc_blob_find(cache, &blob, &cached_size, &unused) == 1 && cached_size == size) ||
        hc_duplicate_find(cache, &blob, size, duplicate))
        return 0;
    arrived_bytes = hc_claim_arrived_bytes(cache, &blob);
    return arrived_bytes < size ? size - arrived_bytes : 0;
}

/* Fills the reserved bytes of each entry, and adds them up. `order` is room for as many
 * numbers as there are entries. */
static uint64_t batch_estimate_closely(const struct batch_download *download,
                                       size_t *order)
{
    const struct hc_batch *batch = download->batch;
    const struct hc_entry **entries = batch->entries;
    const char *before = "";
    uint64_t bytes = 0;

    for (size_t i = 0; i < batch->count; i++)
        order[i] = i;
    qsort_r(order, batch->count, sizeof *order, entry_compare_etags, (void *)entries);
    for (size_t i = 0; i < batch->count; i++) {
        const struct hc_entry *entry = entries[order[i]];
        const char *etag = hc_entry_etag(entry);
        bool is_same = etag[0] && strcmp(etag, before) == 0;

        before = etag;
        download->reserved_bytes[order[i]] =
            is_same ? 0 : entry_estimate_bytes(batch->resolution, entry);
        bytes = hc_size_add(bytes, download->reserved_bytes[order[i]]);
    }
    return bytes;
}

/* NO_SPACE when the volume has too little; else the space stays reserved while the batch
 * runs. */
static int batch_reserve(struct batch_download *download, struct hc_error *err)
{
    const struct hc_batch *batch = download->batch;
    const struct hc_cache *cache = batch->resolution->resolver->cache;
    const struct hc_repo *repo = &batch->resolution->repo;
    HC_AUTO_FREE size_t *order = NULL;
    uint64_t bytes = 0;
    int reserved;

    assert(batch->count > 0);
    for (size_t i = 0; i < batch->count; i++)
        bytes = hc_size_add(bytes, hc_entry_size(batch->entries[i]));
    reserved = hc_reservation_try(cache, repo, bytes, &download->reservation, err);
    if (reserved != 0)
        return reserved < 0 ? -1 : 0;
    order = calloc(batch->count, sizeof *order);
    download->reserved_bytes = calloc(batch->count, sizeof *download->reserved_bytes);
    if (!order || !download->reserved_bytes)
        return hc_fail_memory(err);
    bytes = batch_estimate_closely(download, order);
    if (hc_reservation_make(cache, repo, bytes, batch->resolution->cancellation,
                            &download->reservation, err) == 0)
        return 0;
    return hc_context(err, "%zu files of %s '%s'", batch->count,
                      hc_repo_type_name(repo->type), repo->id);
}

/* ---- one entry, on a download thread ----------------------------------------------- */

static struct hc_transfer_progress entry_progress(const struct batch_download *download,
                                                  const struct hc_entry *entry)
{
    const struct hc_resolution *resolution = download->batch->resolution;
    const struct hc_blob_id blob = {resolution->repo.folder, hc_entry_etag(entry)};

    return hc_transfers_progress(resolution->resolver->transfers, &blob);
}

static uint64_t progress_received_bytes(const struct hc_transfer_progress *progress)
{
    return progress->bytes > progress->reused_bytes
               ? progress->bytes - progress->reused_bytes
               : 0;
}

/* Under the lock: so many bytes of the worker's entry have been received by now. Fewer
 * than before when another process has begun it anew. */
static void worker_add_received(struct batch_worker *worker, uint64_t bytes)
{
    if (bytes > worker->received)
        worker->download->shared.received_bytes += bytes - worker->received;
    worker->received = bytes;
}

/* The next entry; NULL when there is none, or the batch has failed. What was received for
 * another caller before does not count. */
static const struct hc_entry *worker_begin_entry(struct batch_worker *worker)
{
    struct batch_download *download = worker->download;
    const struct hc_entry *entry;
    struct hc_transfer_progress progress;
    size_t i;

    {
        HC_LOCKED(&download->shared.lock);

        if (download->shared.has_failed ||
            download->shared.next == download->batch->count)
            return NULL;
        i = download->shared.next++;
    }
    entry = download->batch->entries[i];
    progress = entry_progress(download, entry);
    {
        HC_LOCKED(&download->shared.lock);

        worker->entry = entry;
        worker->received = progress_received_bytes(&progress);
    }
    hc_reservation_use(download->reservation, download->reserved_bytes
                                                  ? download->reserved_bytes[i]
                                                  : hc_entry_size(entry));
    return entry;
}

/* `error` is NULL when the entry's file is there. */
static void worker_end_entry(struct batch_worker *worker,
                             const struct hc_blob_result *result,
                             const struct hc_error *error)
{
    struct batch_download *download = worker->download;

    HC_LOCKED(&download->shared.lock);

    if (!error) {
        download->shared.done++;
        download->shared.done_bytes =
            hc_size_add(download->shared.done_bytes, hc_entry_size(worker->entry));
        download->shared.fetched_bytes += result->fetched_bytes;
        worker_add_received(worker, result->fetched_bytes);
    } else if (!download->shared.has_failed) {
        download->shared.error = *error;
        download->shared.has_failed = true;
        (void)pthread_cond_signal(&download->shared.changed);
    }
    download->shared.retries += result->retries;
    worker->retries = 0;
    worker->entry = NULL;
}

/* One entry. True: the task has not ended, and is queued again. */
static bool batch_task_run(struct hc_task *task)
{
    struct batch_worker *worker = (struct batch_worker *)task;
    struct batch_download *download = worker->download;
    const struct hc_resolution *resolution = download->batch->resolution;
    struct hc_hub_credentials credentials = resolution->credentials;
    const struct hc_entry *entry = worker_begin_entry(worker);
    struct hc_blob_result result = {0};
    struct hc_error err;
    int fetched;

    credentials.cancellation = download->cancellation;
    if (entry) {
        fetched =
            hc_resolution_fetch_entry(resolution, entry, &credentials, &result, &err);
        worker_end_entry(worker, &result, fetched < 0 ? &err : NULL);
        if (fetched < 0)
            hc_cancellation_cancel(download->cancellation);
    }

    HC_LOCKED(&download->shared.lock);

    if (!download->shared.has_failed && download->shared.next < download->batch->count)
        return true;
    download->shared.active_workers--;
    (void)pthread_cond_signal(&download->shared.changed);
    return false;
}

_Static_assert(offsetof(struct batch_worker, task) == 0, "batch_task_run() casts to it");

/* ---- progress, on the thread that waits -------------------------------------------- */

/* Adds one entry that is being fetched. The worker may be at another one by now. */
static void worker_measure(struct batch_worker *worker, const struct hc_entry *entry,
                           struct hc_progress *progress)
{
    struct batch_download *download = worker->download;
    const struct hc_transfer_progress measured = entry_progress(download, entry);

    progress->bytes_done = hc_size_add(progress->bytes_done, measured.bytes);
    progress->waiting_count += measured.is_remote;

    HC_LOCKED(&download->shared.lock);

    if (worker->entry != entry)
        return;
    worker_add_received(worker, progress_received_bytes(&measured));
    if (worker->retries < measured.retries)
        worker->retries = measured.retries;
}

/* Fills what changes; the names in `active` are borrowed from the tree. */
static void batch_measure(struct batch_download *download, struct hc_progress *progress,
                          const char **active)
{
    const struct hc_entry *entries[HC_BATCH_WIDTH_MAX];
    const size_t count = download->worker_count;

    *progress = download->batch->before;
    progress->active_files = active;
    {
        HC_LOCKED(&download->shared.lock);

        progress->files_done += (unsigned)download->shared.done;
        progress->bytes_done =
            hc_size_add(progress->bytes_done, download->shared.done_bytes);
        for (size_t i = 0; i < count; i++)
            entries[i] = download->workers[i].entry;
    }
    for (size_t i = 0; i < count; i++) {
        if (!entries[i])
            continue;
        active[progress->active_count++] = entries[i]->path;
        worker_measure(&download->workers[i], entries[i], progress);
    }
    if (progress->bytes_done > progress->bytes_total)
        progress->bytes_done =
            progress->bytes_total; /* one was counted twice at its end */
}

static void batch_report_progress(struct batch_download *download, struct hc_rate *rate)
{
    const char *active[HC_BATCH_WIDTH_MAX];
    struct hc_progress progress;
    uint64_t received_bytes;

    if (!download->batch->progress)
        return;
    batch_measure(download, &progress, active);
    { /* what only grows, once all entries are measured */
        HC_LOCKED(&download->shared.lock);

        received_bytes = download->shared.received_bytes;
        progress.retries = download->shared.retries;
        for (size_t i = 0; i < download->worker_count; i++)
            progress.retries += download->workers[i].retries;
    }
    progress.bytes_per_second = hc_rate_add(rate, hc_monotonic_ms(), received_bytes);
    download->batch->progress(download->batch->progress_ctx, &progress);
}

/* ---- starting, waiting, ending ----------------------------------------------------- */

/* The caller's deadline may have been extended, or its call cancelled. */
static void batch_propagate_cancellation(const struct batch_download *download)
{
    struct hc_cancellation *caller = download->batch->resolution->cancellation;
    int64_t left_ms = hc_cancellation_remaining_ms(caller);

    if (hc_cancellation_is_set(caller))
        hc_cancellation_cancel(download->cancellation);
    else
        hc_cancellation_extend(download->cancellation, left_ms == HC_NO_DEADLINE
                                                           ? left_ms
                                                           : hc_monotonic_ms() + left_ms);
}

/* Takes tasks without a thread out of the pool, once nothing is to be done any more. One
 * that is just being queued again is taken out the next time. */
static void batch_withdraw_idle(struct batch_download *download)
{
    struct hc_workers *pool = download->batch->resolution->resolver->download_workers;
    size_t withdrawn = 0;

    {
        HC_LOCKED(&download->shared.lock);

        if (!download->shared.has_failed &&
            !hc_cancellation_is_set(download->cancellation))
            return;
    }
    for (size_t i = 0; i < download->worker_count; i++)
        withdrawn += hc_workers_withdraw(pool, &download->workers[i].task);

    HC_LOCKED(&download->shared.lock);

    download->shared.active_workers -= withdrawn;
}

/* True when every task has ended; waits a tick at most. */
static bool batch_wait_tick(struct batch_download *download)
{
    HC_LOCKED(&download->shared.lock);

    if (download->shared.active_workers > 0)
        hc_condition_wait(&download->shared.changed, &download->shared.lock, TICK_MS);
    return download->shared.active_workers == 0;
}

/* How many files are fetched at a time. */
static size_t batch_width(const struct hc_batch *batch)
{
    const struct hc_settings *settings = &batch->resolution->resolver->settings;
    size_t width = settings->snapshot_workers;

    if (width == 0)
        width = settings->connections > 0 ? settings->connections : 1;
    if (width > HC_BATCH_WIDTH_MAX)
        width = HC_BATCH_WIDTH_MAX;
    if (batch->resolution->options->is_background && width > HC_BATCH_BACKGROUND_WIDTH)
        width = HC_BATCH_BACKGROUND_WIDTH;
    return width < batch->count ? width : batch->count;
}

/* Puts the tasks into the pool; fewer have to do when its queue is full. */
static int batch_start(struct batch_download *download, struct hc_error *err)
{
    const struct hc_resolution *resolution = download->batch->resolution;
    const char *folder = resolution->repo.folder;
    size_t width = batch_width(download->batch);

    download->shared.active_workers = width;
    while (download->worker_count < width) {
        struct batch_worker *worker = &download->workers[download->worker_count];

        worker->download = download;
        worker->task = (struct hc_task){
            .run = batch_task_run,
            .caller = resolution->options->caller,
            .repo = hc_hash_bytes(HC_HASH_START, folder, strlen(folder)),
            .batch = (uint64_t)(uintptr_t)download,
        };
        if (hc_workers_submit(resolution->resolver->download_workers, &worker->task,
                              err) < 0)
            break;
        download->worker_count++;
    }

    HC_LOCKED(&download->shared.lock);

    download->shared.active_workers -= width - download->worker_count;
    return download->worker_count > 0 ? 0 : -1;
}

/* After all tasks have ended. */
static int batch_finish(const struct batch_download *download, uint64_t *fetched_bytes,
                        struct hc_error *err)
{
    const struct hc_batch *batch = download->batch;
    const struct hc_resolution *resolution = batch->resolution;
    const struct hc_repo_file snapshot = {&resolution->repo, resolution->commit, NULL};

    *fetched_bytes = download->shared.fetched_bytes;
    if (hc_cancellation_check(resolution->cancellation, err) < 0)
        return -1;
    if (download->shared.has_failed) {
        *err = download->shared.error;
        return -1;
    }
    if (download->shared.done < batch->count)
        return hc_fail(err, HC_INTERNAL, "a worker was lost");
    return hc_pointer_sync(resolution->resolver->cache, &snapshot, err);
}

static int batch_run(struct batch_download *download, struct hc_error *err)
{
    struct hc_rate rate = {0};

    if (batch_start(download, err) < 0)
        return -1;
    do {
        batch_propagate_cancellation(download);
        batch_withdraw_idle(download);
        batch_report_progress(download, &rate);
    } while (!batch_wait_tick(download));
    batch_report_progress(download, &rate);
    return 0;
}

static void batch_download_clear(struct batch_download *download)
{
    (void)pthread_cond_destroy(&download->shared.changed);
    (void)pthread_mutex_destroy(&download->shared.lock);
    hc_reservation_drop(download->reservation);
    hc_fetched_reservation_drop(download->quota_reservation);
    hc_cancellation_free(download->cancellation);
    free(download->reserved_bytes);
}

HC_DEFINE_AUTO_VALUE(batch_download, batch_download_clear)

int hc_batch_fetch(const struct hc_batch *batch, uint64_t *fetched_bytes,
                   struct hc_error *err)
{
    int64_t left_ms = hc_cancellation_remaining_ms(batch->resolution->cancellation);
    HC_AUTO_VALUE(batch_download)
    download = {
        .batch = batch,
        .cancellation = hc_cancellation_new(
            left_ms == HC_NO_DEADLINE ? left_ms : hc_monotonic_ms() + left_ms),
    };

    (void)pthread_mutex_init(&download.shared.lock, NULL);
    hc_condition_init(&download.shared.changed);
    if (!download.cancellation)
        return hc_fail_memory(err);
    if (hc_resolution_reserve_entries(batch->resolution,
                                      (const struct hc_entry *const *)batch->entries,
                                      batch->count, &download.quota_reservation,
                                      err) < 0 ||
        batch_reserve(&download, err) < 0 || batch_run(&download, err) < 0)
        return -1;
    return batch_finish(&download, fetched_bytes, err);
}
