/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A few tasks take jobs off a list, on the threads that all batches of the process share;
 * a task that has brought a file waits for its next turn, so that the batches take turns
 * file by file. The thread that called waits for them, tells progress four times a second,
 * and passes its caller's going on to them. Tasks wait on a call of their own, so that the
 * first failure can end the others; those that have no thread then are withdrawn.
 *
 * A file never waits for one that is queued: when two batches want the same blob, the one
 * that leads its transfer has a thread. A large blob takes, beside its task's thread, one
 * for each of its connections, and these are few in all (transfer/budget.h).
 */
#include "batch.h"

#include "rate.h"
#include "space_estimate.h"

#include <base/condition.h>
#include <base/size.h>

#include <pthread.h>
#include <string.h>

enum { TICK_MS = 250 };

struct batch_download;

struct batch_worker {
    struct hc_task task;
    struct batch_download *download;
    const struct hc_missing_blob
        *blob;         /* under the crew's lock; NULL when between jobs */
    uint64_t received; /* that too: bytes of it that had flowed at the last look */
    unsigned retries;  /* and what had been repeated for it */
};

struct batch_download {
    const struct hc_batch *batch;
    struct hc_cancellation *cancellation;
    struct hc_reservation *reservation;
    struct batch_worker workers[HC_BATCH_WIDTH_MAX];
    size_t worker_count;
    struct hc_workers *pool;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        size_t next_blob;      /* the first job nobody has taken */
        size_t done;           /* files that are there */
        size_t active_workers; /* workers that have not ended, queued or not */
        uint64_t done_bytes;
        uint64_t fetched_bytes;
        uint64_t
            received_bytes; /* bytes that came over the network, for us or another process */
        unsigned retries; /* of jobs that are over */
        bool failed;
        struct hc_error error; /* of the first failure */
    } shared;
};

static struct hc_transfer_progress
blob_get_progress(const struct batch_download *download,
                  const struct hc_missing_blob *blob)
{
    const struct hc_resolution *resolution = download->batch->resolution;
    const struct hc_blob_id id = {resolution->repo.folder, blob->etag};

    return hc_transfers_progress(resolution->resolver->transfers, &id);
}

static uint64_t progress_received_bytes(const struct hc_transfer_progress *blob_progress)
{
    return blob_progress->bytes > blob_progress->reused_bytes
               ? blob_progress->bytes - blob_progress->reused_bytes
               : 0;
}

/* Under the lock: so many bytes of the worker's job have flowed by now. Fewer than before
 * when somebody else has begun it anew. */
static void worker_add_received(struct batch_worker *worker, uint64_t bytes)
{
    if (bytes > worker->received)
        worker->download->shared.received_bytes += bytes - worker->received;
    worker->received = bytes;
}

static const struct hc_missing_blob *batch_take_blob(struct batch_download *download)
{
    const struct hc_missing_blob *blob = NULL;

    (void)pthread_mutex_lock(&download->lock);
    if (!download->shared.failed && download->shared.next_blob < download->batch->count)
        blob = &download->batch->blobs[download->shared.next_blob++];
    (void)pthread_mutex_unlock(&download->lock);
    return blob;
}

/* What has flowed for another caller before does not count. */
static void worker_begin_blob(struct batch_worker *worker,
                              const struct hc_missing_blob *blob)
{
    struct batch_download *download = worker->download;
    const struct hc_transfer_progress blob_progress = blob_get_progress(download, blob);

    (void)pthread_mutex_lock(&download->lock);
    worker->blob = blob;
    worker->received = progress_received_bytes(&blob_progress);
    (void)pthread_mutex_unlock(&download->lock);
    hc_reservation_use(download->reservation, blob->reserved_bytes);
}

static int worker_fetch_blob(struct batch_download *download,
                             const struct hc_missing_blob *blob,
                             struct hc_blob_result *result, struct hc_error *err)
{
    const struct hc_batch *batch = download->batch;
    struct hc_hub_credentials credentials = *batch->credentials;
    const struct hc_blob_request request = {
        .blob = {batch->resolution->repo.folder, blob->etag},
        .file = {&batch->resolution->repo, batch->commit, blob->path},
        .size = blob->size,
        .is_forced = batch->resolution->options->force_download,
    };

    credentials.call = download->cancellation;
    return hc_resolution_fetch_blob(batch->resolution, &request, &credentials, result,
                                    err);
}

/* Under the lock. */
static void worker_end_blob(struct batch_worker *worker,
                            const struct hc_blob_result *result)
{
    worker->download->shared.retries += result->retries;
    worker->retries = 0;
    worker->blob = NULL;
}

static void worker_record_success(struct batch_worker *worker,
                                  const struct hc_blob_result *result)
{
    struct batch_download *download = worker->download;

    (void)pthread_mutex_lock(&download->lock);
    download->shared.done++;
    download->shared.done_bytes =
        hc_size_add(download->shared.done_bytes, worker->blob->size);
    download->shared.fetched_bytes += result->fetched_bytes;
    worker_add_received(worker, result->fetched_bytes);
    worker_end_blob(worker, result);
    (void)pthread_mutex_unlock(&download->lock);
}

static void worker_record_failure(struct batch_worker *worker,
                                  const struct hc_blob_result *result,
                                  const struct hc_error *error)
{
    struct batch_download *download = worker->download;

    (void)pthread_mutex_lock(&download->lock);
    if (!download->shared.failed)
        download->shared.error = *error;
    download->shared.failed = true;
    (void)pthread_cond_signal(&download->changed);
    worker_end_blob(worker, result);
    (void)pthread_mutex_unlock(&download->lock);
    hc_cancellation_cancel(download->cancellation);
}

static void worker_run_blob(struct batch_worker *worker,
                            const struct hc_missing_blob *blob)
{
    struct hc_blob_result result = {0};
    struct hc_error err;

    worker_begin_blob(worker, blob);
    if (worker_fetch_blob(worker->download, blob, &result, &err) < 0)
        worker_record_failure(worker, &result, &err);
    else
        worker_record_success(worker, &result);
}

/* One file. True: the worker has not ended, and has another turn. */
static bool batch_worker_run(struct hc_task *task)
{
    struct batch_worker *worker = (struct batch_worker *)task;
    struct batch_download *download = worker->download;
    const struct hc_missing_blob *blob = batch_take_blob(download);
    bool goes_on;

    if (blob)
        worker_run_blob(worker, blob);
    (void)pthread_mutex_lock(&download->lock);
    goes_on =
        !download->shared.failed && download->shared.next_blob < download->batch->count;
    download->shared.active_workers -= !goes_on;
    if (!goes_on)
        (void)pthread_cond_signal(&download->changed);
    (void)pthread_mutex_unlock(&download->lock);
    return goes_on;
}

_Static_assert(offsetof(struct batch_worker, task) == 0, "work() relies on it");

static void worker_measure(struct batch_worker *worker,
                           const struct hc_missing_blob *blob,
                           struct hc_progress *progress)
{
    struct batch_download *download = worker->download;
    const struct hc_transfer_progress blob_progress = blob_get_progress(download, blob);

    progress->bytes_done = hc_size_add(progress->bytes_done, blob_progress.bytes);
    progress->waiting_count += blob_progress.is_remote;
    (void)pthread_mutex_lock(&download->lock);
    if (worker->blob == blob) {
        worker_add_received(worker, progress_received_bytes(&blob_progress));
        if (worker->retries < blob_progress.retries)
            worker->retries = blob_progress.retries;
    }
    (void)pthread_mutex_unlock(&download->lock);
}

/* Fills what changes; the names in `active` are borrowed from the jobs. */
static void batch_measure(struct batch_download *download, struct hc_progress *progress,
                          const char **active)
{
    const struct hc_missing_blob *blobs[HC_BATCH_WIDTH_MAX];
    const size_t count = download->worker_count;

    *progress = download->batch->before;
    (void)pthread_mutex_lock(&download->lock);
    progress->files_done += (unsigned)download->shared.done;
    progress->bytes_done = hc_size_add(progress->bytes_done, download->shared.done_bytes);
    for (size_t i = 0; i < count; i++)
        blobs[i] = download->workers[i].blob;
    (void)pthread_mutex_unlock(&download->lock);
    progress->active_files = active;
    for (size_t i = 0; i < count; i++) {
        if (!blobs[i])
            continue;
        active[progress->active_count++] = blobs[i]->path;
        worker_measure(&download->workers[i], blobs[i], progress);
    }
    if (progress->bytes_done > progress->bytes_total)
        progress->bytes_done = progress->bytes_total; /* a job counted twice at its end */
}

/* What only grows, once all jobs were looked at. */
static uint64_t batch_count_received(struct batch_download *download,
                                     struct hc_progress *progress)
{
    uint64_t flowed;

    (void)pthread_mutex_lock(&download->lock);
    flowed = download->shared.received_bytes;
    progress->retries = download->shared.retries;
    for (size_t i = 0; i < download->worker_count; i++)
        progress->retries += download->workers[i].retries;
    (void)pthread_mutex_unlock(&download->lock);
    return flowed;
}

static void batch_report_progress(struct batch_download *download, struct hc_rate *rate)
{
    const char *active[HC_BATCH_WIDTH_MAX];
    struct hc_progress progress;
    uint64_t flowed;

    if (!download->batch->progress)
        return;
    batch_measure(download, &progress, active);
    flowed = batch_count_received(download, &progress);
    progress.bytes_per_second = hc_rate_add(rate, hc_monotonic_ms(), flowed);
    download->batch->progress(download->batch->progress_ctx, &progress);
}

/* The caller's patience becomes the crew's: it may have grown, or ended. */
static void batch_propagate_cancellation(struct batch_download *download)
{
    struct hc_cancellation *cancellation = download->batch->credentials->call;
    int64_t left = hc_cancellation_remaining_ms(cancellation);

    if (hc_cancellation_is_set(cancellation))
        hc_cancellation_cancel(download->cancellation);
    else
        hc_cancellation_extend(download->cancellation,
                               left == HC_NO_DEADLINE ? left : hc_monotonic_ms() + left);
}

/* Workers without a thread, when nothing is to be done any more. One that is just between
 * two turns is withdrawn the next time. */
static void batch_withdraw_idle(struct batch_download *download)
{
    size_t withdrawn = 0;
    bool failed;

    (void)pthread_mutex_lock(&download->lock);
    failed = download->shared.failed;
    (void)pthread_mutex_unlock(&download->lock);
    if (!failed && !hc_cancellation_is_set(download->cancellation))
        return;
    for (size_t i = 0; i < download->worker_count; i++)
        withdrawn += hc_workers_withdraw(download->pool, &download->workers[i].task);
    (void)pthread_mutex_lock(&download->lock);
    download->shared.active_workers -= withdrawn;
    (void)pthread_mutex_unlock(&download->lock);
}

/* True when every worker has ended; waits a tick at most. */
static bool batch_wait_tick(struct batch_download *download)
{
    bool ended;

    (void)pthread_mutex_lock(&download->lock);
    if (download->shared.active_workers > 0)
        hc_condition_wait(&download->changed, &download->lock, TICK_MS);
    ended = download->shared.active_workers == 0;
    (void)pthread_mutex_unlock(&download->lock);
    return ended;
}

/* How many files come at a time. */
static size_t batch_width(const struct hc_batch *batch)
{
    const struct hc_settings *settings = &batch->resolution->resolver->settings;
    size_t wanted = settings->snapshot_workers;

    if (wanted == 0)
        wanted = settings->connections > 0 ? settings->connections : 1;
    if (wanted > HC_BATCH_WIDTH_MAX)
        wanted = HC_BATCH_WIDTH_MAX;
    return wanted < batch->count ? wanted : batch->count;
}

static int batch_start(struct batch_download *download, struct hc_error *err)
{
    const struct hc_batch *batch = download->batch;
    const struct hc_repo *repo = &batch->resolution->repo;
    size_t wanted = batch_width(batch);

    download->shared.active_workers = wanted;
    while (download->worker_count < wanted) {
        struct batch_worker *worker = &download->workers[download->worker_count];

        worker->download = download;
        worker->task = (struct hc_task){
            .run = batch_worker_run,
            .caller = batch->resolution->options->caller,
            .repo = hc_hash_bytes(HC_HASH_START, repo->folder, strlen(repo->folder)),
            .batch = (uint64_t)(uintptr_t)download,
        };
        if (hc_workers_submit(download->pool, &worker->task, err) < 0)
            break; /* fewer have to do */
        download->worker_count++;
    }
    (void)pthread_mutex_lock(&download->lock);
    download->shared.active_workers -= wanted - download->worker_count;
    (void)pthread_mutex_unlock(&download->lock);
    return download->worker_count > 0 ? 0 : -1;
}

static int batch_result(struct batch_download *download, uint64_t *fetched_bytes,
                        struct hc_error *err)
{
    const struct hc_batch *batch = download->batch;
    const struct hc_repo_file snapshot = {&batch->resolution->repo, batch->commit, NULL};

    *fetched_bytes = download->shared.fetched_bytes;
    if (hc_cancellation_check(download->batch->credentials->call, err) < 0)
        return -1;
    if (download->shared.failed) {
        *err = download->shared.error;
        return -1;
    }
    if (download->shared.done < download->batch->count)
        return hc_fail(err, HC_INTERNAL, "a worker was lost");
    return hc_pointer_sync(batch->resolution->resolver->cache, &snapshot, err);
}

static void batch_init(struct batch_download *download)
{

    (void)pthread_mutex_init(&download->lock, NULL);
    hc_condition_init(&download->changed);
}

int hc_batch_fetch(const struct hc_batch *batch, uint64_t *fetched_bytes,
                   struct hc_error *err)
{
    int64_t left = hc_cancellation_remaining_ms(batch->credentials->call);
    HC_AUTO(hc_cancellation) *cancellation =
        hc_cancellation_new(left == HC_NO_DEADLINE ? left : hc_monotonic_ms() + left);
    HC_AUTO(hc_reservation) *reservation = NULL;
    struct batch_download download = {.batch = batch, .cancellation = cancellation};
    struct hc_rate rate = {0};
    int started;

    if (!cancellation)
        return hc_fail_memory(err);
    if (hc_space_estimate_reserve(batch, &reservation, err) < 0)
        return -1;
    download.reservation = reservation;
    download.pool = batch->resolution->resolver->download_workers;
    batch_init(&download);
    started = batch_start(&download, err);
    while (started == 0) {
        batch_propagate_cancellation(&download);
        batch_withdraw_idle(&download);
        batch_report_progress(&download, &rate);
        if (batch_wait_tick(&download))
            break;
    }
    batch_report_progress(&download, &rate);
    (void)pthread_cond_destroy(&download.changed);
    (void)pthread_mutex_destroy(&download.lock);
    return started < 0 ? -1 : batch_result(&download, fetched_bytes, err);
}
