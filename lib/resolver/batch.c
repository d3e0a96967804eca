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

struct crew;

struct worker {
    struct hc_task task;
    struct crew *crew;
    const struct hc_missing_blob
        *blob;        /* under the crew's lock; NULL when between jobs */
    uint64_t seen;    /* that too: bytes of it that had flowed at the last look */
    unsigned retries; /* and what had been repeated for it */
};

struct crew {
    const struct hc_batch *batch;
    struct hc_cancellation *cancellation;
    struct hc_reservation *reservation;
    struct worker workers[HC_BATCH_WIDTH_MAX];
    size_t worker_count;
    struct hc_workers *pool;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        size_t next;    /* the first job nobody has taken */
        size_t done;    /* files that are there */
        size_t working; /* workers that have not ended, queued or not */
        uint64_t done_bytes;
        uint64_t fetched_bytes;
        uint64_t flowed; /* bytes that came over the network, for us or another process */
        unsigned retries; /* of jobs that are over */
        bool failed;
        struct hc_error error; /* of the first failure */
    } shared;
};

static struct hc_transfer_progress look(const struct crew *crew,
                                        const struct hc_missing_blob *blob)
{
    const struct hc_resolution *resolution = crew->batch->resolution;

    return hc_transfers_progress(resolution->resolver->transfers, &resolution->repo,
                                 blob->etag);
}

static uint64_t flow_of(const struct hc_transfer_progress *course)
{
    return course->arrival.bytes > course->given ? course->arrival.bytes - course->given
                                                 : 0;
}

/* Under the lock: so many bytes of the worker's job have flowed by now. Fewer than before
 * when somebody else has begun it anew. */
static void note_flow(struct worker *worker, uint64_t bytes)
{
    if (bytes > worker->seen)
        worker->crew->shared.flowed += bytes - worker->seen;
    worker->seen = bytes;
}

static const struct hc_missing_blob *take_job(struct crew *crew)
{
    const struct hc_missing_blob *blob = NULL;

    (void)pthread_mutex_lock(&crew->lock);
    if (!crew->shared.failed && crew->shared.next < crew->batch->count)
        blob = &crew->batch->blobs[crew->shared.next++];
    (void)pthread_mutex_unlock(&crew->lock);
    return blob;
}

/* What has flowed for another caller before does not count. */
static void begin_job(struct worker *worker, const struct hc_missing_blob *blob)
{
    struct crew *crew = worker->crew;
    const struct hc_transfer_progress course = look(crew, blob);

    (void)pthread_mutex_lock(&crew->lock);
    worker->blob = blob;
    worker->seen = flow_of(&course);
    (void)pthread_mutex_unlock(&crew->lock);
    hc_reservation_use(crew->reservation, blob->reserved_bytes);
}

/* What a job has brought, and cost. */
struct yield {
    uint64_t fetched;
    atomic_uint retries;
};

static int bring(struct crew *crew, const struct hc_missing_blob *blob,
                 struct yield *yield, struct hc_error *err)
{
    const struct hc_batch *batch = crew->batch;
    struct hc_hub_credentials credentials = *batch->credentials;
    struct hc_blob_request wanted = {
        .repo = &batch->resolution->repo,
        .commit = batch->commit,
        .path = blob->path,
        .etag = blob->etag,
        .size = blob->size,
        .force = batch->resolution->options->force_download,
        .retries = &yield->retries,
    };

    credentials.call = crew->cancellation;
    return hc_resolution_fetch_blob(batch->resolution, &wanted, &credentials,
                                    &yield->fetched, err);
}

/* Under the lock. */
static void end_job(struct worker *worker, const struct yield *yield)
{
    worker->crew->shared.retries += atomic_load(&yield->retries);
    worker->retries = 0;
    worker->blob = NULL;
}

static void note_done(struct worker *worker, const struct yield *yield)
{
    struct crew *crew = worker->crew;

    (void)pthread_mutex_lock(&crew->lock);
    crew->shared.done++;
    crew->shared.done_bytes = hc_size_add(crew->shared.done_bytes, worker->blob->size);
    crew->shared.fetched_bytes += yield->fetched;
    note_flow(worker, yield->fetched);
    end_job(worker, yield);
    (void)pthread_mutex_unlock(&crew->lock);
}

static void note_failure(struct worker *worker, const struct yield *yield,
                         const struct hc_error *error)
{
    struct crew *crew = worker->crew;

    (void)pthread_mutex_lock(&crew->lock);
    if (!crew->shared.failed)
        crew->shared.error = *error;
    crew->shared.failed = true;
    (void)pthread_cond_signal(&crew->changed);
    end_job(worker, yield);
    (void)pthread_mutex_unlock(&crew->lock);
    hc_cancellation_cancel(crew->cancellation);
}

static void bring_job(struct worker *worker, const struct hc_missing_blob *blob)
{
    struct yield yield = {0};
    struct hc_error err;

    begin_job(worker, blob);
    if (bring(worker->crew, blob, &yield, &err) < 0)
        note_failure(worker, &yield, &err);
    else
        note_done(worker, &yield);
}

/* One file. True: the worker has not ended, and has another turn. */
static bool work(struct hc_task *task)
{
    struct worker *worker = (struct worker *)task;
    struct crew *crew = worker->crew;
    const struct hc_missing_blob *blob = take_job(crew);
    bool goes_on;

    if (blob)
        bring_job(worker, blob);
    (void)pthread_mutex_lock(&crew->lock);
    goes_on = !crew->shared.failed && crew->shared.next < crew->batch->count;
    crew->shared.working -= !goes_on;
    if (!goes_on)
        (void)pthread_cond_signal(&crew->changed);
    (void)pthread_mutex_unlock(&crew->lock);
    return goes_on;
}

_Static_assert(offsetof(struct worker, task) == 0, "work() relies on it");

static void measure_job(struct worker *worker, const struct hc_missing_blob *blob,
                        struct hc_progress *progress)
{
    struct crew *crew = worker->crew;
    const struct hc_transfer_progress course = look(crew, blob);

    progress->bytes_done = hc_size_add(progress->bytes_done, course.arrival.bytes);
    progress->waiting_count += course.arrival.is_elsewhere;
    (void)pthread_mutex_lock(&crew->lock);
    if (worker->blob == blob) {
        note_flow(worker, flow_of(&course));
        if (worker->retries < course.retries)
            worker->retries = course.retries;
    }
    (void)pthread_mutex_unlock(&crew->lock);
}

/* Fills what changes; the names in `active` are borrowed from the jobs. */
static void measure(struct crew *crew, struct hc_progress *progress, const char **active)
{
    const struct hc_missing_blob *blobs[HC_BATCH_WIDTH_MAX];
    const size_t count = crew->worker_count;

    *progress = crew->batch->before;
    (void)pthread_mutex_lock(&crew->lock);
    progress->files_done += (unsigned)crew->shared.done;
    progress->bytes_done = hc_size_add(progress->bytes_done, crew->shared.done_bytes);
    for (size_t i = 0; i < count; i++)
        blobs[i] = crew->workers[i].blob;
    (void)pthread_mutex_unlock(&crew->lock);
    progress->active_files = active;
    for (size_t i = 0; i < count; i++) {
        if (!blobs[i])
            continue;
        active[progress->active_count++] = blobs[i]->path;
        measure_job(&crew->workers[i], blobs[i], progress);
    }
    if (progress->bytes_done > progress->bytes_total)
        progress->bytes_done = progress->bytes_total; /* a job counted twice at its end */
}

/* What only grows, once all jobs were looked at. */
static uint64_t count_up(struct crew *crew, struct hc_progress *progress)
{
    uint64_t flowed;

    (void)pthread_mutex_lock(&crew->lock);
    flowed = crew->shared.flowed;
    progress->retries = crew->shared.retries;
    for (size_t i = 0; i < crew->worker_count; i++)
        progress->retries += crew->workers[i].retries;
    (void)pthread_mutex_unlock(&crew->lock);
    return flowed;
}

static void tell(struct crew *crew, struct hc_rate *rate)
{
    const char *active[HC_BATCH_WIDTH_MAX];
    struct hc_progress progress;
    uint64_t flowed;

    if (!crew->batch->progress)
        return;
    measure(crew, &progress, active);
    flowed = count_up(crew, &progress);
    progress.bytes_per_second = hc_rate_add(rate, hc_monotonic_ms(), flowed);
    crew->batch->progress(crew->batch->progress_ctx, &progress);
}

/* The caller's patience becomes the crew's: it may have grown, or ended. */
static void pass_patience_on(struct crew *crew)
{
    struct hc_cancellation *cancellation = crew->batch->credentials->call;
    int64_t left = hc_cancellation_remaining_ms(cancellation);

    if (hc_cancellation_is_set(cancellation))
        hc_cancellation_cancel(crew->cancellation);
    else
        hc_cancellation_extend(crew->cancellation,
                               left == HC_NO_DEADLINE ? left : hc_monotonic_ms() + left);
}

/* Workers without a thread, when nothing is to be done any more. One that is just between
 * two turns is withdrawn the next time. */
static void withdraw_idle(struct crew *crew)
{
    size_t withdrawn = 0;
    bool failed;

    (void)pthread_mutex_lock(&crew->lock);
    failed = crew->shared.failed;
    (void)pthread_mutex_unlock(&crew->lock);
    if (!failed && !hc_cancellation_is_set(crew->cancellation))
        return;
    for (size_t i = 0; i < crew->worker_count; i++)
        withdrawn += hc_workers_withdraw(crew->pool, &crew->workers[i].task);
    (void)pthread_mutex_lock(&crew->lock);
    crew->shared.working -= withdrawn;
    (void)pthread_mutex_unlock(&crew->lock);
}

/* True when every worker has ended; waits a tick at most. */
static bool wait_a_tick(struct crew *crew)
{
    bool ended;

    (void)pthread_mutex_lock(&crew->lock);
    if (crew->shared.working > 0)
        hc_condition_wait(&crew->changed, &crew->lock, TICK_MS);
    ended = crew->shared.working == 0;
    (void)pthread_mutex_unlock(&crew->lock);
    return ended;
}

/* How many files come at a time. */
static size_t width(const struct hc_batch *batch)
{
    const struct hc_settings *settings = &batch->resolution->resolver->settings;
    size_t wanted = settings->snapshot_workers;

    if (wanted == 0)
        wanted = settings->connections > 0 ? settings->connections : 1;
    if (wanted > HC_BATCH_WIDTH_MAX)
        wanted = HC_BATCH_WIDTH_MAX;
    return wanted < batch->count ? wanted : batch->count;
}

static int start(struct crew *crew, struct hc_error *err)
{
    const struct hc_batch *batch = crew->batch;
    const struct hc_repo *repo = &batch->resolution->repo;
    size_t wanted = width(batch);

    crew->shared.working = wanted;
    while (crew->worker_count < wanted) {
        struct worker *worker = &crew->workers[crew->worker_count];

        worker->crew = crew;
        worker->task = (struct hc_task){
            .run = work,
            .caller = batch->resolution->options->caller,
            .repo = hc_hash_bytes(HC_HASH_START, repo->folder, strlen(repo->folder)),
            .batch = (uint64_t)(uintptr_t)crew,
        };
        if (hc_workers_submit(crew->pool, &worker->task, err) < 0)
            break; /* fewer have to do */
        crew->worker_count++;
    }
    (void)pthread_mutex_lock(&crew->lock);
    crew->shared.working -= wanted - crew->worker_count;
    (void)pthread_mutex_unlock(&crew->lock);
    return crew->worker_count > 0 ? 0 : -1;
}

static int outcome(struct crew *crew, uint64_t *fetched_bytes, struct hc_error *err)
{
    const struct hc_batch *batch = crew->batch;
    const struct hc_repo_file snapshot = {&batch->resolution->repo, batch->commit, NULL};

    *fetched_bytes = crew->shared.fetched_bytes;
    if (hc_cancellation_check(crew->batch->credentials->call, err) < 0)
        return -1;
    if (crew->shared.failed) {
        *err = crew->shared.error;
        return -1;
    }
    if (crew->shared.done < crew->batch->count)
        return hc_fail(err, HC_INTERNAL, "a worker was lost");
    return hc_pointer_sync(batch->resolution->resolver->cache, &snapshot, err);
}

static void init(struct crew *crew)
{

    (void)pthread_mutex_init(&crew->lock, NULL);
    hc_condition_init(&crew->changed);
}

int hc_batch_fetch(const struct hc_batch *batch, uint64_t *fetched_bytes,
                   struct hc_error *err)
{
    int64_t left = hc_cancellation_remaining_ms(batch->credentials->call);
    HC_AUTO(hc_cancellation) *cancellation =
        hc_cancellation_new(left == HC_NO_DEADLINE ? left : hc_monotonic_ms() + left);
    HC_AUTO(hc_reservation) *reservation = NULL;
    struct crew crew = {.batch = batch, .cancellation = cancellation};
    struct hc_rate rate = {0};
    int started;

    if (!cancellation)
        return hc_fail_memory(err);
    if (hc_space_estimate_reserve(batch, &reservation, err) < 0)
        return -1;
    crew.reservation = reservation;
    crew.pool = batch->resolution->resolver->downloads;
    init(&crew);
    started = start(&crew, err);
    while (started == 0) {
        pass_patience_on(&crew);
        withdraw_idle(&crew);
        tell(&crew, &rate);
        if (wait_a_tick(&crew))
            break;
    }
    tell(&crew, &rate);
    (void)pthread_cond_destroy(&crew.changed);
    (void)pthread_mutex_destroy(&crew.lock);
    return started < 0 ? -1 : outcome(&crew, fetched_bytes, err);
}
