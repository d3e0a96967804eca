/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A large blob: the caller's thread supervises. It hashes what has arrived in order, and
 * starts and ends workers, each a thread with a blocking connection (segment.h). Workers
 * have a cancellation of their own, with the caller's deadline: it ends them all,
 * whatever they wait for. `shared.lock` guards what workers and supervisor tell each
 * other, and is never held across I/O.
 *
 * A worker that fails while others run leaves; the last one uses up its retries, and its
 * failure is the download's. So a server that allows few connections keeps one.
 */
#include "segmented_download.h"

#include "segment.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>
#include <hub/response.h>

#include <string.h>

enum { POLL_MS = 10, LAST_ANSWERS_MS = 500 };

void hc_segmented_download_init(struct hc_segmented_download *download)
{
    *download = (struct hc_segmented_download){0};
    (void)pthread_mutex_init(&download->shared.lock, NULL);
    hc_condition_init(&download->shared.changed);
}

void hc_segmented_download_clear(struct hc_segmented_download *download)
{
    (void)pthread_cond_destroy(&download->shared.changed);
    (void)pthread_mutex_destroy(&download->shared.lock);
}

bool hc_segmented_download_is_small(const struct hc_segmented_download *download)
{
    return !hc_ingest_is_size_given(download->ingest) ||
           hc_pieces_size(hc_ingest_pieces(download->ingest)) <= download->min_split_size;
}

void hc_segmented_download_count_retry(struct hc_segmented_download *download)
{
    HC_LOCKED(&download->shared.lock);

    download->shared.retries++;
    (void)atomic_fetch_add(&download->counts->retries, 1);
}

bool hc_segmented_download_may_leave(struct hc_segmented_download *download,
                                     const struct hc_error *failure)
{
    bool may;
    HC_LOCKED(&download->shared.lock);

    may = download->shared.running > 1 &&
          (failure || download->shared.running > download->shared.wanted);
    download->shared.running -= may;
    if (may && failure)
        download->shared.loss = failure->reason;
    return may;
}

void hc_segmented_download_describe(const struct hc_segmented_download *download,
                                    char text[HC_TARGET_TEXT_SIZE])
{
    const struct hc_repo_file *file = &download->request->file;
    const struct hc_hub_target target = {.repo = file->repo,
                                         .revision = file->revision,
                                         .path = file->path};

    hc_hub_target_describe(&target, text);
}

/* ---- workers -------------------------------------------------------------------------
 */

static void *worker_main(void *ctx)
{
    struct hc_segment_worker *worker = ctx;
    struct hc_segmented_download *download = worker->download;
    struct hc_error err;
    int result = hc_segment_worker_run(download, &err);

    {
        HC_LOCKED(&download->shared.lock);

        if (result != HC_WORKER_LEFT)
            download->shared.running--;
        if (result < 0 && download->shared.failure.reason == HC_OK)
            download->shared.failure = err;
        (void)pthread_cond_signal(&download->shared.changed);
    }
    atomic_store(&worker->is_over, true);
    return NULL;
}

static void worker_join(struct hc_segment_worker *worker)
{
    (void)pthread_join(worker->thread, NULL);
    worker->is_used = false;
}

static struct hc_segment_worker *find_free_worker(struct hc_segmented_download *download)
{
    for (size_t i = 0; i < HC_SEGMENT_WORKERS_MAX; i++) {
        struct hc_segment_worker *worker = &download->workers[i];

        if (worker->is_used && atomic_load(&worker->is_over))
            worker_join(worker);
        if (!worker->is_used)
            return worker;
    }
    return NULL;
}

static void segments_count_running(struct hc_segmented_download *download, int change)
{
    HC_LOCKED(&download->shared.lock);

    download->shared.running += (unsigned)change;
}

static bool segments_start_worker(struct hc_segmented_download *download)
{
    struct hc_segment_worker *worker = find_free_worker(download);

    if (!worker)
        return false;
    worker->download = download;
    atomic_store(&worker->is_over, false);
    segments_count_running(download, 1);
    worker->is_used = pthread_create(&worker->thread, NULL, worker_main, worker) == 0;
    if (!worker->is_used)
        segments_count_running(download, -1);
    return worker->is_used;
}

/* ---- how many of them, and for how long ----------------------------------------------
 */

/* Fewer, when connections were lost; for good when the server says that it wants fewer.
 * With the lock held. */
static void segments_count_losses(struct hc_segmented_download *download, int64_t now_ms)
{
    unsigned left = download->shared.running > 0 ? download->shared.running : 1;

    if (download->shared.loss == HC_HUB_RATE_LIMITED)
        hc_ramp_limit(&download->ramp, left, now_ms);
    else if (download->shared.loss != HC_OK)
        hc_ramp_reduce(&download->ramp, left, now_ms);
    download->shared.loss = HC_OK;
}

/* How many workers there should be; that many may stay. Returns how many there are. */
static unsigned segments_choose_workers(struct hc_segmented_download *download,
                                        unsigned *wanted)
{
    struct hc_byte_source *source = download->source;
    bool sends_ranges = source->sends_ranges(source);
    bool is_contended = hc_budget_is_contended(download->budget, &download->share);
    int64_t now_ms = hc_monotonic_ms();
    struct hc_ramp_sample sample = {.bytes = hc_pieces_arrived(
                                        hc_ingest_pieces(download->ingest)),
                                    .cpu_is_busy =
                                        hc_ramp_cpu_is_busy(&download->ramp, now_ms)};
    HC_LOCKED(&download->shared.lock);

    sample.receiving = download->shared.receiving;
    segments_count_losses(download, now_ms);
    *wanted = hc_ramp_next(&download->ramp, now_ms, &sample);
    if (!sends_ranges)
        *wanted = 1;
    else if (download->shared.running > 1 && is_contended)
        *wanted = download->shared.running - 1;
    download->shared.wanted = *wanted;
    return download->shared.running;
}

/*
 * One connection of the budget for each worker; the first came with the download. In the
 * place of a worker that failed there is no other one before the ramp's next step, a
 * second or more later and twice as long each time.
 */
static int segments_adjust_workers(struct hc_segmented_download *download,
                                   struct hc_error *err)
{
    struct hc_pieces *pieces = hc_ingest_pieces(download->ingest);
    unsigned wanted;
    unsigned running = segments_choose_workers(download, &wanted);

    while (download->connections > running && download->connections > 1) {
        hc_budget_give_back(download->budget, &download->share, 1);
        download->connections--;
    }
    while (running < wanted && hc_pieces_has_free(pieces)) {
        if (running == download->connections &&
            !hc_budget_try_take(download->budget, &download->share))
            break;
        download->connections += running == download->connections;
        if (!segments_start_worker(download))
            break;
        running++;
    }
    return running > 0 || !hc_pieces_has_free(pieces)
               ? 0
               : hc_fail(err, HC_INTERNAL, "the system gives no thread for a download");
}

/* Passes the caller's deadline on to the workers. */
static int segments_check(struct hc_segmented_download *download, struct hc_error *err)
{
    int64_t left = hc_cancellation_remaining_ms(download->cancellation);

    if (left != HC_NO_DEADLINE)
        left += hc_monotonic_ms();
    hc_cancellation_extend(download->workers_cancellation, left);
    if (hc_cancellation_check(download->cancellation, err) < 0)
        return -1;
    HC_LOCKED(&download->shared.lock);

    if (download->shared.failure.reason == HC_OK)
        return 0;
    *err = download->shared.failure;
    return -1;
}

static void segments_await_change(struct hc_segmented_download *download)
{
    HC_LOCKED(&download->shared.lock);

    hc_condition_wait(&download->shared.changed, &download->shared.lock, POLL_MS);
}

static int segments_supervise(struct hc_segmented_download *download,
                              struct hc_error *err)
{
    struct hc_ingest *ingest = download->ingest;

    while (hc_pieces_missing(hc_ingest_pieces(ingest)) > 0) {
        int hashed;

        if (segments_check(download, err) < 0 ||
            segments_adjust_workers(download, err) < 0)
            return -1;
        hashed = hc_ingest_hash_next(ingest, err);
        if (hashed < 0)
            return -1;
        if (hashed == 0)
            segments_await_change(download);
    }
    return 0;
}

/* Whether all answers end by themselves: so their connections can be used again. */
static bool segments_await_last_answers(struct hc_segmented_download *download)
{
    int64_t give_up_ms = hc_monotonic_ms() + LAST_ANSWERS_MS;
    struct hc_error unused;
    HC_LOCKED(&download->shared.lock);

    while (download->shared.running > 0 && hc_monotonic_ms() < give_up_ms &&
           hc_cancellation_wait(download->cancellation, &download->shared.changed,
                                &download->shared.lock, POLL_MS, &unused) == 0)
        continue;
    return download->shared.running == 0;
}

static void segments_end_workers(struct hc_segmented_download *download, bool has_failed)
{
    if (has_failed || !segments_await_last_answers(download))
        hc_cancellation_cancel(download->workers_cancellation);
    for (size_t i = 0; i < HC_SEGMENT_WORKERS_MAX; i++) {
        if (download->workers[i].is_used)
            worker_join(&download->workers[i]);
    }
}

static unsigned workers_limit(const struct hc_budget *budget)
{
    unsigned size = hc_budget_size(budget);

    return size < HC_SEGMENT_WORKERS_MAX ? size : HC_SEGMENT_WORKERS_MAX;
}

static int segments_run_workers(struct hc_segmented_download *download,
                                struct hc_error *err)
{
    unsigned limit = workers_limit(download->budget);
    HC_AUTO(hc_cancellation) *workers_cancellation = hc_cancellation_new(0);
    int result;

    if (!workers_cancellation)
        return hc_fail_memory(err);
    download->workers_cancellation = workers_cancellation;
    download->span_divisor = 2 * (uint64_t)limit;
    download->connections = 1;
    hc_ramp_start(&download->ramp, limit, hc_monotonic_ms());
    result = segments_supervise(download, err);
    segments_end_workers(download, result < 0);
    return result;
}

static uint64_t download_arrived(void *pieces)
{
    return hc_pieces_arrived(pieces);
}

/* What an earlier run has left of its workers: only the figures stay. */
static void segments_reset(struct hc_segmented_download *download)
{
    const char *folder = download->request->blob.folder;

    download->shared.running = download->shared.wanted = 0;
    download->shared.loss = HC_OK;
    download->shared.failure = (struct hc_error){0};
    download->share = (struct hc_budget_share){
        .keys = {[HC_BUDGET_CALLER] = download->caller_key,
                 [HC_BUDGET_REPO] = hc_hash_bytes(HC_HASH_START, folder, strlen(folder)),
                 [HC_BUDGET_HOST] = download->source->host_key(download->source)},
        .arrived = download_arrived,
        .ctx = hc_ingest_pieces(download->ingest),
        .hurried = &download->counts->hurried,
    };
}

int hc_segmented_download_run(struct hc_segmented_download *download,
                              struct hc_error *err)
{
    struct hc_byte_source *source = download->source;
    int result;

    if (hc_pieces_missing(hc_ingest_pieces(download->ingest)) == 0)
        return 0;
    segments_reset(download);
    if (hc_budget_take(download->budget, &download->share, download->cancellation, err) <
        0)
        return -1;
    if (hc_segmented_download_is_small(download)) {
        download->workers_cancellation = download->cancellation;
        download->span_divisor = 1;
        download->shared.running = 1;
        result = hc_segment_worker_run(download, err);
    } else {
        result = segments_run_workers(download, err);
    }
    hc_budget_release(download->budget, &download->share, source->host_key(source),
                      result == 0);
    return result;
}
