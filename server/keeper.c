/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread looks once a second which revisions are due, and queues a question about each
 * for a few threads; one that is behind is queued for a few other threads, which fetch.
 * So the Hub is asked also while a large roll-out takes hours, and callers are told the
 * old commit meanwhile, as the library has it only while the Hub is heard.
 *
 *     waiting    until it is due: the interval, give or take a tenth
 *     asking     queued for a question, or being asked about
 *     fetching   queued for a fetch, or being fetched; beside waiting or asking
 *
 * A revision that the policy keeps no longer is dropped when it neither asks nor fetches.
 */
#include "keeper.h"

#include "audit.h"
#include "log.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/workers.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

enum { TICK_MS = 1000, ASK_THREADS = 4, FETCH_THREADS = 2, QUEUE = 8192, JITTER = 10 };

struct keeper_job {
    struct hc_task ask, fetch;
    struct hc_keeper *keeper;
    struct hc_keep *keep;
    enum hc_reason logged; /* of the last failure to ask; the asking thread's */
    LIST_ENTRY(keeper_job) link;
    /* Under the keeper's lock: */
    int64_t due_ms;
    bool is_asking, is_fetching, is_kept;
};

struct hc_keeper {
    struct hc_resolver *resolver;
    int64_t interval_ms;
    struct hc_cancellation *cancellation;
    struct hc_audit *audit; /* NULL: none */
    struct hc_workers *askers, *fetchers;
    atomic_uint_least64_t rolled_out, failed;
    pthread_t thread;
    bool has_thread;
    struct hc_keep **items; /* those that the jobs are of; the thread's */
    size_t count;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        bool is_closing;
        LIST_HEAD(, keeper_job) jobs;
    } shared;
};

/* ---- states ------------------------------------------------------------------------ */

enum hc_keep_state hc_keep_state(const struct hc_keep_status *status)
{
    if (status->reason != HC_OK)
        return HC_KEEP_FAILING;
    if (status->behind_since_ms > 0)
        return HC_KEEP_BEHIND;
    return status->heard_ms > 0 ? HC_KEEP_WHOLE : HC_KEEP_UNKNOWN;
}

const char *hc_keep_state_name(enum hc_keep_state state)
{
    static const char *const names[HC_KEEP_STATES] = {"complete", "behind", "failing",
                                                      "unknown"};

    return names[state];
}

/* ---- the log ----------------------------------------------------------------------- */

static void log_failure(struct hc_keep *keep, const char *message,
                        const struct hc_error *failure)
{
    struct hc_keep_status status;

    hc_keep_look_at(keep, &status);
    HC_LOG(HC_LOG_WARN, message, HC_TEXT("repo", status.repo_id),
           HC_TEXT("revision", status.revision), HC_TEXT("commit", status.commit),
           HC_TEXT("newest", status.newest),
           HC_TEXT("reason", hc_reason_name(failure->reason)),
           HC_TEXT("error", failure->message));
}

static void log_state(struct hc_keep *keep, const char *message)
{
    struct hc_keep_status status;

    hc_keep_look_at(keep, &status);
    HC_LOG(HC_LOG_INFO, message, HC_TEXT("repo", status.repo_id),
           HC_TEXT("revision", status.revision), HC_TEXT("commit", status.commit),
           HC_TEXT("newest", status.newest));
}

/* ---- tasks ------------------------------------------------------------------------- */

/* The task is a member of its job. */
static struct keeper_job *job_of_fetch(struct hc_task *task)
{
    return (struct keeper_job *)((char *)task - offsetof(struct keeper_job, fetch));
}

static bool job_fetch(struct hc_task *task)
{
    struct keeper_job *job = job_of_fetch(task);
    struct hc_keeper *keeper = job->keeper;
    struct hc_snapshot snapshot;
    struct hc_error err;
    int result =
        hc_keep_fetch(keeper->resolver, job->keep, keeper->cancellation, &snapshot, &err);
    bool is_cancelled = hc_cancellation_is_set(keeper->cancellation);

    if (result > 0) {
        atomic_fetch_add(&keeper->rolled_out, 1);
        log_state(job->keep, "kept revision rolled out");
        if (keeper->audit)
            hc_audit_add_files(keeper->audit, NULL, snapshot.files, snapshot.listed);
    } else if (result < 0 && !is_cancelled) {
        atomic_fetch_add(&keeper->failed, 1);
        log_failure(job->keep, "roll-out failed, the old commit stays", &err);
    }
    hc_snapshot_clear(&snapshot);
    HC_LOCKED(&keeper->shared.lock);

    job->is_fetching = false;
    return false;
}

/* Repeated failures are in the metrics and on the status page. */
static void job_log_question(struct keeper_job *job, int behind,
                             const struct hc_error *failure)
{
    enum hc_reason reason = behind < 0 ? failure->reason : HC_OK;

    if (hc_cancellation_is_set(job->keeper->cancellation))
        return;
    if (reason != HC_OK && reason != job->logged)
        log_failure(job->keep, "kept revision cannot be asked about", failure);
    job->logged = reason;
}

/* Under the lock. */
static void job_submit_fetch(struct keeper_job *job)
{
    struct hc_error unused;

    job->fetch.run = job_fetch;
    job->is_fetching =
        hc_workers_submit(job->keeper->fetchers, &job->fetch, &unused) == 0;
}

/* The pool is called with the lock held: it calls back only without its own. */
static bool job_ask(struct hc_task *task)
{
    struct keeper_job *job = (struct keeper_job *)task;
    struct hc_keeper *keeper = job->keeper;
    struct hc_error err;
    int behind = hc_keep_ask(keeper->resolver, job->keep, keeper->interval_ms,
                             keeper->cancellation, &err);

    job_log_question(job, behind, &err);
    HC_LOCKED(&keeper->shared.lock);

    job->is_asking = false;
    if (behind > 0 && !job->is_fetching && !keeper->shared.is_closing)
        job_submit_fetch(job);
    return false;
}

_Static_assert(offsetof(struct keeper_job, ask) == 0, "job_ask() casts to it");

/* ---- the thread -------------------------------------------------------------------- */

/* The interval, give or take a tenth: replicas that started together drift apart. */
static int64_t next_due_ms(const struct hc_keeper *keeper, int64_t now_ms)
{
    const int64_t now_ns = hc_monotonic_ns();
    int64_t width = keeper->interval_ms / JITTER + 1;
    uint64_t random = hc_hash_bytes(HC_HASH_START, &now_ns, sizeof now_ns);

    return now_ms + keeper->interval_ms - width +
           (int64_t)(random % (2 * (uint64_t)width));
}

static void job_free(struct keeper_job *job)
{
    hc_keep_release(job->keep);
    free(job);
}

/* The next functions have the lock. A new job is due at once. */
static struct keeper_job *keeper_find(struct hc_keeper *keeper, struct hc_keep *keep)
{
    struct keeper_job *job;

    LIST_FOREACH(job, &keeper->shared.jobs, link)
    {
        if (job->keep == keep)
            return job;
    }
    job = calloc(1, sizeof *job);
    if (!job)
        return NULL;
    job->keeper = keeper;
    job->keep = hc_keep_hold(keep);
    job->ask.run = job_ask;
    LIST_INSERT_HEAD(&keeper->shared.jobs, job, link);
    return job;
}

static void keeper_drop_others(struct hc_keeper *keeper)
{
    struct keeper_job *job, *next;

    for (job = LIST_FIRST(&keeper->shared.jobs); job; job = next) {
        next = LIST_NEXT(job, link);
        if (job->is_kept || job->is_asking || job->is_fetching)
            continue;
        LIST_REMOVE(job, link);
        job_free(job);
    }
}

static void job_submit_question(struct keeper_job *job, int64_t now_ms)
{
    struct hc_error unused;

    job->due_ms = next_due_ms(job->keeper, now_ms);
    job->is_asking = hc_workers_submit(job->keeper->askers, &job->ask, &unused) == 0;
}

/* The policy keeps other revisions than before. */
static void keeper_replace_jobs(struct hc_keeper *keeper, struct hc_keep *const *items,
                                size_t count)
{
    struct keeper_job *job;

    LIST_FOREACH(job, &keeper->shared.jobs, link)
    {
        job->is_kept = false;
    }
    for (size_t i = 0; i < count; i++) {
        job = keeper_find(keeper, items[i]);
        if (job)
            job->is_kept = true;
    }
}

static void keeper_update(struct hc_keeper *keeper, struct hc_keep *const *items,
                          size_t count, bool is_changed)
{
    int64_t now_ms = hc_monotonic_ms();
    struct keeper_job *job;
    HC_LOCKED(&keeper->shared.lock);

    if (is_changed)
        keeper_replace_jobs(keeper, items, count);
    keeper_drop_others(keeper);
    LIST_FOREACH(job, &keeper->shared.jobs, link)
    {
        if (job->is_kept && !job->is_asking && now_ms >= job->due_ms &&
            !keeper->shared.is_closing)
            job_submit_question(job, now_ms);
    }
}

static void items_free(struct hc_keep **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hc_keep_release(items[i]);
    free(items);
}

static bool keeper_await_tick(struct hc_keeper *keeper)
{
    int64_t due_ms = hc_monotonic_ms() + TICK_MS;
    HC_LOCKED(&keeper->shared.lock);

    while (!keeper->shared.is_closing && hc_monotonic_ms() < due_ms)
        hc_condition_wait(&keeper->shared.news, &keeper->shared.lock,
                          due_ms - hc_monotonic_ms());
    return !keeper->shared.is_closing;
}

static void keeper_tick(struct hc_keeper *keeper)
{
    struct hc_keep **items;
    struct hc_error unused;
    bool is_changed;
    size_t count;

    if (hc_resolver_is_offline(keeper->resolver) ||
        hc_keep_list(keeper->resolver, &items, &count, &unused) < 0)
        return;
    is_changed = count != keeper->count ||
                 (count > 0 && memcmp(items, keeper->items, count * sizeof *items) != 0);
    keeper_update(keeper, items, count, is_changed);
    items_free(keeper->items, keeper->count);
    keeper->items = items;
    keeper->count = count;
}

static void *keeper_run(void *ctx)
{
    struct hc_keeper *keeper = ctx;

    do
        keeper_tick(keeper);
    while (keeper_await_tick(keeper));
    return NULL;
}

/* ---- what there is to tell --------------------------------------------------------- */

void hc_keeper_count(struct hc_keeper *keeper, struct hc_keeper_counts *counts)
{
    struct hc_keep_status status;
    const struct keeper_job *job;
    HC_LOCKED(&keeper->shared.lock);

    *counts = (struct hc_keeper_counts){.rolled_out = atomic_load(&keeper->rolled_out),
                                        .failed = atomic_load(&keeper->failed)};
    LIST_FOREACH(job, &keeper->shared.jobs, link)
    {
        if (!job->is_kept)
            continue;
        hc_keep_look_at(job->keep, &status);
        counts->states[hc_keep_state(&status)]++;
        if (status.behind_since_ms > 0 &&
            (counts->behind_since_ms == 0 ||
             status.behind_since_ms < counts->behind_since_ms))
            counts->behind_since_ms = status.behind_since_ms;
    }
}

size_t hc_keeper_list_behind(struct hc_keeper *keeper, struct hc_keep_status *items,
                             size_t max)
{
    const struct keeper_job *job;
    size_t count = 0;
    HC_LOCKED(&keeper->shared.lock);

    LIST_FOREACH(job, &keeper->shared.jobs, link)
    {
        if (count == max)
            break;
        hc_keep_look_at(job->keep, &items[count]);
        count += job->is_kept && hc_keep_state(&items[count]) != HC_KEEP_WHOLE;
    }
    return count;
}

/* ---- opening and closing ----------------------------------------------------------- */

struct hc_keeper *hc_keeper_open(struct hc_resolver *resolver, int64_t interval_ms,
                                 struct hc_error *err)
{
    HC_AUTO(hc_keeper) *keeper = calloc(1, sizeof *keeper);

    if (!keeper) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    keeper->resolver = resolver;
    keeper->interval_ms = interval_ms;
    (void)pthread_mutex_init(&keeper->shared.lock, NULL);
    hc_condition_init(&keeper->shared.news);
    keeper->cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    if (!keeper->cancellation) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    keeper->askers = hc_workers_open(ASK_THREADS, QUEUE, err);
    if (!keeper->askers)
        return NULL;
    keeper->fetchers = hc_workers_open(FETCH_THREADS, QUEUE, err);
    return keeper->fetchers ? hc_take(&keeper) : NULL;
}

void hc_keeper_set_audit(struct hc_keeper *keeper, struct hc_audit *audit)
{
    keeper->audit = audit;
}

int hc_keeper_start(struct hc_keeper *keeper, struct hc_error *err)
{
    keeper->has_thread = pthread_create(&keeper->thread, NULL, keeper_run, keeper) == 0;
    return keeper->has_thread ? 0
                              : hc_fail(err, HC_INTERNAL,
                                        "the system gives no thread for kept revisions");
}

void hc_keeper_cancel(struct hc_keeper *keeper)
{
    hc_cancellation_cancel(keeper->cancellation);
    HC_LOCKED(&keeper->shared.lock);

    keeper->shared.is_closing = true;
    (void)pthread_cond_signal(&keeper->shared.news);
}

/* Questions queue fetches, so their pool ends first. */
void hc_keeper_close(struct hc_keeper *keeper)
{
    struct keeper_job *job;

    if (!keeper)
        return;
    if (keeper->cancellation)
        hc_keeper_cancel(keeper);
    if (keeper->has_thread)
        (void)pthread_join(keeper->thread, NULL);
    hc_workers_close(keeper->askers);
    hc_workers_close(keeper->fetchers);
    while ((job = LIST_FIRST(&keeper->shared.jobs)) != NULL) {
        LIST_REMOVE(job, link);
        job_free(job);
    }
    items_free(keeper->items, keeper->count);
    hc_cancellation_free(keeper->cancellation);
    (void)pthread_cond_destroy(&keeper->shared.news);
    (void)pthread_mutex_destroy(&keeper->shared.lock);
    free(keeper);
}
