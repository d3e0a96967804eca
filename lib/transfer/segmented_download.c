/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caller's thread attends: it hashes what has arrived in order, and adds and ends
 * workers, each a thread with a blocking connection. Workers have a call of their own,
 * with the caller's deadline: cancelling it ends them all, whatever they wait for.
 *
 * A worker that fails while others run leaves; the last one has patience, and its failure
 * is the transfer's. So a server that will not have many connections keeps one.
 */
#include "segmented_download.h"

#include "cpu_load.h"
#include "ramp.h"
#include "segment_worker.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <stdatomic.h>
#include <string.h>

enum { WORKERS_MAX = 64, POLL_MS = 10, LAST_ANSWERS_MS = 500 };

/* Where a worker is, or was until its thread is joined. */
struct slot {
    struct download *download;
    pthread_t thread;
    bool is_used;
    atomic_bool is_over;
};

struct download {
    struct hc_byte_source *source;
    struct hc_pieces *pieces;
    struct hc_budget *budget;
    struct hc_budget_share *share; /* connections of the budget */
    struct hc_segment_workers workers;
    struct hc_ramp ramp;
    struct hc_cpu_load cpu_load;
    struct hc_cancellation *cancellation;         /* the caller's */
    struct hc_cancellation *workers_cancellation; /* the workers' */
    unsigned connections;                         /* connections of the grant */
    struct slot slots[WORKERS_MAX];
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned running;
        unsigned wanted;
        enum hc_reason loss; /* why the last worker left that failed, or HC_OK */
        struct hc_error failure;
    } shared;
};

static void lock(struct download *download)
{
    (void)pthread_mutex_lock(&download->shared.lock);
}

static void unlock(struct download *download)
{
    (void)pthread_mutex_unlock(&download->shared.lock);
}

/* One of several may go; the last one may not. */
static bool worker_may_leave(void *ctx, const struct hc_error *failure)
{
    struct download *download = ctx;
    bool may;

    lock(download);
    may = download->shared.running > 1 &&
          (failure || download->shared.running > download->shared.wanted);
    download->shared.running -= may;
    if (may && failure)
        download->shared.loss = failure->reason;
    unlock(download);
    return may;
}

static bool worker_may_not_leave(void *ctx, const struct hc_error *failure)
{
    (void)ctx;
    (void)failure;
    return false;
}

static void *worker_main(void *ctx)
{
    struct slot *slot = ctx;
    struct download *download = slot->download;
    struct hc_error err;
    int result = hc_segment_worker_run(&download->workers, &err);

    lock(download);
    if (result != HC_SEGMENT_WORKER_LEFT)
        download->shared.running--;
    if (result < 0 && download->shared.failure.reason == HC_OK)
        download->shared.failure = err;
    (void)pthread_cond_signal(&download->shared.changed);
    unlock(download);
    atomic_store(&slot->is_over, true);
    return NULL;
}

static void slot_join(struct slot *slot)
{
    (void)pthread_join(slot->thread, NULL);
    slot->is_used = false;
}

static struct slot *slot_find_free(struct download *download)
{
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        struct slot *slot = &download->slots[i];

        if (slot->is_used && atomic_load(&slot->is_over))
            slot_join(slot);
        if (!slot->is_used)
            return slot;
    }
    return NULL;
}

static bool download_start_worker(struct download *download)
{
    struct slot *slot = slot_find_free(download);

    if (!slot)
        return false;
    slot->download = download;
    atomic_store(&slot->is_over, false);
    lock(download);
    download->shared.running++;
    unlock(download);
    slot->is_used = pthread_create(&slot->thread, NULL, worker_main, slot) == 0;
    if (slot->is_used)
        return true;
    lock(download);
    download->shared.running--;
    unlock(download);
    return false;
}

/* Fewer, when connections were lost; for good when the server says that it wants fewer. */
static void download_count_losses(struct download *download, int64_t now_ms)
{
    unsigned left = download->shared.running > 0 ? download->shared.running : 1;

    if (download->shared.loss == HC_HUB_RATE_LIMITED)
        hc_ramp_limit(&download->ramp, left, now_ms);
    else if (download->shared.loss != HC_OK)
        hc_ramp_reduce(&download->ramp, left, now_ms);
    download->shared.loss = HC_OK;
}

/* How many workers there should be; that many may stay. Returns how many there are. */
static unsigned download_choose_workers(struct download *download, unsigned *wanted)
{
    int64_t now_ms = hc_monotonic_ms();
    const struct hc_ramp_sample sample = {
        .bytes = hc_pieces_arrived(download->pieces),
        .receiving = hc_byte_source_receiving(download->source),
        .cpu_is_busy = hc_cpu_load_is_high(&download->cpu_load, now_ms)};
    unsigned running;

    lock(download);
    running = download->shared.running;
    download_count_losses(download, now_ms);
    *wanted = hc_ramp_next(&download->ramp, now_ms, &sample);
    if (hc_byte_source_kind_of(download->source) != HC_BYTE_SOURCE_SENDS_RANGES)
        *wanted = 1;
    else if (running > 1 && hc_budget_is_contended(download->budget))
        *wanted = running - 1;
    download->shared.wanted = *wanted;
    unlock(download);
    return running;
}

/*
 * One connection of the budget for each worker; the first came with the transfer. In the
 * place of a worker that failed there is no other one before the ramp's next step, a
 * second or more later and twice as long each time.
 */
static int download_adjust_workers(struct download *download, struct hc_error *err)
{
    unsigned wanted;
    unsigned running = download_choose_workers(download, &wanted);

    while (download->connections > running && download->connections > 1) {
        hc_budget_give_back(download->budget, download->share, 1);
        download->connections--;
    }
    while (running < wanted && hc_pieces_has_free(download->pieces)) {
        if (running == download->connections &&
            !hc_budget_try_take(download->budget, download->share))
            break;
        download->connections += running == download->connections;
        if (!download_start_worker(download))
            break;
        running++;
    }
    return running > 0 || !hc_pieces_has_free(download->pieces)
               ? 0
               : hc_fail(err, HC_INTERNAL, "the system gives no thread for a download");
}

static int download_check(struct download *download, struct hc_error *err)
{
    int64_t left = hc_cancellation_remaining_ms(download->cancellation);
    int result = hc_cancellation_check(download->cancellation, err);

    if (left != HC_NO_DEADLINE)
        left += hc_monotonic_ms();
    hc_cancellation_extend(download->workers_cancellation, left);
    lock(download);
    if (result == 0 && download->shared.failure.reason != HC_OK) {
        *err = download->shared.failure;
        result = -1;
    }
    unlock(download);
    return result;
}

static void download_wait_a_poll(struct download *download)
{
    lock(download);
    hc_condition_wait(&download->shared.changed, &download->shared.lock, POLL_MS);
    unlock(download);
}

static int download_supervise(struct download *download, struct hc_error *err)
{
    struct hc_ingest *ingest = download->source->ingest;

    while (hc_pieces_missing(download->pieces) > 0) {
        int hashed;

        if (download_check(download, err) < 0 ||
            download_adjust_workers(download, err) < 0)
            return -1;
        hashed = hc_ingest_hash_next(ingest, err);
        if (hashed < 0)
            return -1;
        if (hashed == 0)
            download_wait_a_poll(download);
    }
    return 0;
}

/* Whether all answers end by themselves: so their connections can be used again. */
static bool download_await_ends(struct download *download)
{
    int64_t give_up_ms = hc_monotonic_ms() + LAST_ANSWERS_MS;
    unsigned running;

    lock(download);
    while (download->shared.running > 0 && hc_monotonic_ms() < give_up_ms &&
           !hc_cancellation_is_set(download->cancellation))
        hc_condition_wait(&download->shared.changed, &download->shared.lock, POLL_MS);
    running = download->shared.running;
    unlock(download);
    return running == 0;
}

static void download_end_workers(struct download *download, bool has_failed)
{
    if (has_failed || !download_await_ends(download))
        hc_cancellation_cancel(download->workers_cancellation);
    for (size_t i = 0; i < WORKERS_MAX; i++) {
        if (download->slots[i].is_used)
            slot_join(&download->slots[i]);
    }
}

static int download_run_workers(struct download *download, struct hc_error *err)
{
    struct hc_hub_credentials *credentials = &download->source->credentials;
    int result;

    (void)pthread_mutex_init(&download->shared.lock, NULL);
    hc_condition_init(&download->shared.changed);
    credentials->cancellation = download->workers_cancellation;
    result = download_supervise(download, err);
    download_end_workers(download, result < 0);
    credentials->cancellation = download->cancellation;
    (void)pthread_cond_destroy(&download->shared.changed);
    (void)pthread_mutex_destroy(&download->shared.lock);
    return result;
}

static unsigned workers_limit(const struct hc_budget *budget)
{
    unsigned size = hc_budget_size(budget);

    return size < WORKERS_MAX ? size : WORKERS_MAX;
}

static int download_missing(struct hc_byte_source *source, struct hc_budget *budget,
                            struct hc_budget_share *share, struct hc_error *err)
{
    const struct hc_segment_workers single_worker = {.source = source,
                                                     .share_of = 1,
                                                     .may_leave = worker_may_not_leave};
    HC_AUTO(hc_cancellation) *workers_cancellation = NULL;
    HC_AUTO_FREE struct download *download = NULL;

    if (hc_byte_source_is_small(source))
        return hc_segment_worker_run(&single_worker, err);
    workers_cancellation = hc_cancellation_new(0);
    download = calloc(1, sizeof *download);
    if (!workers_cancellation || !download)
        return hc_fail_memory(err);
    download->source = source;
    download->pieces = hc_ingest_pieces(source->ingest);
    download->budget = budget;
    download->share = share;
    download->workers =
        (struct hc_segment_workers){.source = source,
                                    .share_of = 2 * (uint64_t)workers_limit(budget),
                                    .may_leave = worker_may_leave,
                                    .ctx = download};
    download->cancellation = source->credentials.cancellation;
    download->workers_cancellation = workers_cancellation;
    download->connections = 1;
    hc_ramp_start(&download->ramp, workers_limit(budget), hc_monotonic_ms());
    return download_run_workers(download, err);
}

static uint64_t pieces_arrived(void *ctx)
{
    return hc_pieces_arrived(ctx);
}

/* A hash of scheme, host and port; 0 when the URL is not known. */
static uint64_t url_host_key(const char *url)
{
    const char *host = strstr(url, "//");
    size_t length = host ? (size_t)(host - url) + 2 + strcspn(host + 2, "/?#") : 0;

    return length > 0 ? hc_hash_bytes(HC_HASH_START, url, length) : 0;
}

int hc_segmented_download_run(struct hc_byte_source *source, struct hc_budget *budget,
                              struct hc_error *err)
{
    const char *folder = source->request->blob.folder;
    struct hc_pieces *pieces = hc_ingest_pieces(source->ingest);
    struct hc_budget_share share = {
        .keys = {[HC_BUDGET_CALLER] = source->credentials.key,
                 [HC_BUDGET_REPO] = hc_hash_bytes(HC_HASH_START, folder, strlen(folder)),
                 [HC_BUDGET_HOST] = url_host_key(source->shared.location)},
        .arrived = pieces_arrived,
        .ctx = pieces,
    };
    int result;

    if (hc_pieces_missing(pieces) == 0)
        return 0;
    if (hc_budget_take(budget, &share, source->credentials.cancellation, err) < 0)
        return -1;
    result = download_missing(source, budget, &share, err);
    /* No other thread is at the origin any more. */
    hc_budget_release(budget, &share, url_host_key(source->shared.location), result == 0);
    return result;
}
