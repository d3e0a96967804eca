/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Three kinds of keys in one table: callers, repos, and turns, which are a caller's tasks
 * for one repo and batch. A turn with queued tasks is on its caller's list, a caller with
 * such turns is on the pool's; whichever has been served goes to the end of its list. A
 * key lives as long as a task refers to it.
 *
 * A task is queued, then ready (it counts as running, and there is a thread for it, or
 * will be), then it runs. Whenever a thread may have become free, schedule() makes tasks
 * ready; it passes over turns whose caller or repo has its share already.
 */
#include "workers.h"

#include "error.h"
#include "text.h"

#include <pthread.h>
#include <stdbool.h>

enum { RETRY_AFTER_MS = 1000, BUCKETS = 1024, CALLER_WEIGHT = 3, REPO_WEIGHT = 1 };

TAILQ_HEAD(task_list, hc_task);
TAILQ_HEAD(key_list, hc_workers_key);
LIST_HEAD(key_chain, hc_workers_key);

struct hc_workers_key {
    LIST_ENTRY(hc_workers_key) chain;
    uint64_t id;
    unsigned users; /* tasks that refer to it */
    unsigned running, queued;
    TAILQ_ENTRY(hc_workers_key) place; /* among those that take turns */
    struct key_list turns;             /* a caller's, with queued tasks */
    struct task_list tasks;            /* a turn's, queued */
};

struct hc_workers {
    unsigned threads_max, queue_max;
    pthread_t *threads;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t work;
        struct key_chain keys[BUCKETS];
        struct key_list callers; /* with queued tasks */
        struct task_list ready;
        unsigned threads, idle, ready_count, running, queued;
        bool is_closing;
    } shared;
};

/* --- keys, all with the lock held ------------------------------------------------------
 */

enum key_kind { CALLER, REPO, TURN };

static uint64_t key_id(enum key_kind kind, const uint64_t *numbers, size_t count)
{
    return hc_hash_bytes(hc_hash_bytes(HC_HASH_START, &kind, sizeof kind), numbers,
                         count * sizeof *numbers);
}

/* One more task refers to it. NULL: memory is short. */
static struct hc_workers_key *key_get(struct hc_workers *workers, uint64_t id)
{
    struct key_chain *chain = &workers->shared.keys[id % BUCKETS];
    struct hc_workers_key *key;

    LIST_FOREACH(key, chain, chain)
    {
        if (key->id == id)
            break;
    }
    if (!key) {
        key = calloc(1, sizeof *key);
        if (!key)
            return NULL;
        key->id = id;
        TAILQ_INIT(&key->turns);
        TAILQ_INIT(&key->tasks);
        LIST_INSERT_HEAD(chain, key, chain);
    }
    key->users++;
    return key;
}

static void key_put(struct hc_workers_key *key)
{
    if (!key || --key->users > 0)
        return;
    LIST_REMOVE(key, chain);
    free(key);
}

/* The keys of a task, so that they outlive it. */
struct keys {
    struct hc_workers_key *caller, *repo, *turn;
};

static struct keys keys_of(const struct hc_task *task)
{
    return (struct keys){task->pool.caller, task->pool.repo, task->pool.turn};
}

static void keys_share(struct keys keys)
{
    keys.caller->users++;
    keys.repo->users++;
    keys.turn->users++;
}

static void keys_put(struct keys keys)
{
    key_put(keys.caller);
    key_put(keys.repo);
    key_put(keys.turn);
}

static bool keys_get(struct hc_workers *workers, struct hc_task *task)
{
    const uint64_t turn[] = {task->caller, task->repo, task->batch};

    task->pool.caller = key_get(workers, key_id(CALLER, &task->caller, 1));
    task->pool.repo = key_get(workers, key_id(REPO, &task->repo, 1));
    task->pool.turn = key_get(workers, key_id(TURN, turn, 3));
    if (task->pool.caller && task->pool.repo && task->pool.turn)
        return true;
    keys_put(keys_of(task));
    return false;
}

/* --- the queue, all with the lock held -------------------------------------------------
 */

static void queue_add(struct hc_workers *workers, struct hc_task *task)
{
    struct hc_workers_key *caller = task->pool.caller, *turn = task->pool.turn;

    if (caller->queued++ == 0)
        TAILQ_INSERT_TAIL(&workers->shared.callers, caller, place);
    if (turn->queued++ == 0)
        TAILQ_INSERT_TAIL(&caller->turns, turn, place);
    TAILQ_INSERT_TAIL(&turn->tasks, task, pool.link);
    task->pool.state = HC_TASK_QUEUED;
    workers->shared.queued++;
}

/* The turn that the task was of goes to the end of the line, or out of it. */
static void queue_remove(struct hc_workers *workers, struct hc_task *task)
{
    struct hc_workers_key *caller = task->pool.caller, *turn = task->pool.turn;

    TAILQ_REMOVE(&turn->tasks, task, pool.link);
    TAILQ_REMOVE(&caller->turns, turn, place);
    if (--turn->queued > 0)
        TAILQ_INSERT_TAIL(&caller->turns, turn, place);
    TAILQ_REMOVE(&workers->shared.callers, caller, place);
    if (--caller->queued > 0)
        TAILQ_INSERT_TAIL(&workers->shared.callers, caller, place);
    workers->shared.queued--;
}

static unsigned free_threads(const struct hc_workers *workers)
{
    return workers->threads_max - workers->shared.running;
}

/* The next task that may run, or NULL. */
static struct hc_task *queue_next(struct hc_workers *workers)
{
    unsigned left = free_threads(workers);
    struct hc_workers_key *caller, *turn;

    TAILQ_FOREACH(caller, &workers->shared.callers, place)
    {
        if (caller->running >= CALLER_WEIGHT * left)
            continue;
        TAILQ_FOREACH(turn, &caller->turns, place)
        {
            struct hc_task *task = TAILQ_FIRST(&turn->tasks);

            if (task->pool.repo->running < REPO_WEIGHT * left)
                return task;
        }
    }
    return NULL;
}

/* --- threads ---------------------------------------------------------------------------
 */

static void *work(void *argument);

/* With the lock held. A thread that cannot be had only matters when there is none. */
static void ensure_thread(struct hc_workers *workers)
{
    unsigned n = workers->shared.threads;

    if (workers->shared.idle >= workers->shared.ready_count || n == workers->threads_max)
        return;
    if (pthread_create(&workers->threads[n], NULL, work, workers) == 0) {
        workers->shared.threads = n + 1;
        workers->shared.idle++; /* until it takes its first task */
    }
}

static void make_ready(struct hc_workers *workers, struct hc_task *task)
{
    queue_remove(workers, task);
    task->pool.caller->running++;
    task->pool.repo->running++;
    workers->shared.running++;
    TAILQ_INSERT_TAIL(&workers->shared.ready, task, pool.link);
    task->pool.state = HC_TASK_READY;
    workers->shared.ready_count++;
    ensure_thread(workers);
    (void)pthread_cond_signal(&workers->shared.work);
}

static void schedule(struct hc_workers *workers)
{
    struct hc_task *task;

    while (free_threads(workers) > 0 && (task = queue_next(workers)))
        make_ready(workers, task);
    if (workers->shared.is_closing && workers->shared.queued == 0)
        (void)pthread_cond_broadcast(&workers->shared.work);
}

/* A ready task that runs no more, or never will. */
static void end_ready(struct hc_workers *workers, struct keys keys)
{
    keys.caller->running--;
    keys.repo->running--;
    workers->shared.running--;
    keys_put(keys);
    schedule(workers);
}

static void ready_remove(struct hc_workers *workers, struct hc_task *task)
{
    TAILQ_REMOVE(&workers->shared.ready, task, pool.link);
    workers->shared.ready_count--;
    task->pool.state = HC_TASK_IDLE;
}

/* With the lock held, by a thread that counts as idle. NULL: there will be no more. */
static struct hc_task *next_task(struct hc_workers *workers)
{
    struct hc_task *task;

    while (!(task = TAILQ_FIRST(&workers->shared.ready)) &&
           !(workers->shared.is_closing && workers->shared.queued == 0))
        (void)pthread_cond_wait(&workers->shared.work, &workers->shared.lock);
    workers->shared.idle--;
    if (task)
        ready_remove(workers, task);
    return task;
}

static void *work(void *argument)
{
    struct hc_workers *workers = argument;
    struct hc_task *task;

    (void)pthread_mutex_lock(&workers->shared.lock);
    while ((task = next_task(workers))) {
        struct keys keys = keys_of(task);
        bool again;

        (void)pthread_mutex_unlock(&workers->shared.lock);
        again = task->run(task);
        (void)pthread_mutex_lock(&workers->shared.lock);
        if (again) {
            keys_share(keys);
            queue_add(workers, task);
        }
        workers->shared.idle++;
        end_ready(workers, keys);
    }
    (void)pthread_mutex_unlock(&workers->shared.lock);
    return NULL;
}

/* --- public ----------------------------------------------------------------------------
 */

static bool withdraw(struct hc_workers *workers, struct hc_task *task)
{
    struct keys keys = keys_of(task);

    switch (task->pool.state) {
    case HC_TASK_QUEUED:
        queue_remove(workers, task);
        task->pool.state = HC_TASK_IDLE;
        keys_put(keys);
        return true;
    case HC_TASK_READY:
        ready_remove(workers, task);
        end_ready(workers, keys);
        return true;
    case HC_TASK_IDLE:
        break;
    }
    return false;
}

/* Whether a queued task may stay. */
static bool has_room(const struct hc_workers *workers, const struct hc_task *task)
{
    uint64_t left = (uint64_t)workers->queue_max + 1 - workers->shared.queued;

    return workers->shared.queued <= workers->queue_max &&
           task->pool.caller->queued <= CALLER_WEIGHT * left;
}

static int submit(struct hc_workers *workers, struct hc_task *task, struct hc_error *err)
{
    bool is_full;

    if (!keys_get(workers, task))
        return hc_fail_memory(err);
    queue_add(workers, task);
    schedule(workers);
    is_full = task->pool.state == HC_TASK_QUEUED && !has_room(workers, task);
    if (!is_full && workers->shared.threads > 0)
        return 0;
    (void)withdraw(workers, task);
    if (!is_full)
        return hc_fail(err, HC_BUSY, "the system gives no thread: try later");
    return hc_fail(
        err, HC_BUSY,
        "the %u threads or this caller's share of them are busy, and the queue "
        "of %u requests or the caller's share of it is full: try later",
        workers->threads_max, workers->queue_max);
}

int hc_workers_submit(struct hc_workers *workers, struct hc_task *task,
                      struct hc_error *err)
{
    int result;

    (void)pthread_mutex_lock(&workers->shared.lock);
    result = submit(workers, task, err);
    (void)pthread_mutex_unlock(&workers->shared.lock);
    if (result < 0)
        err->retry_after_ms = RETRY_AFTER_MS;
    return result;
}

bool hc_workers_withdraw(struct hc_workers *workers, struct hc_task *task)
{
    bool is_withdrawn;

    (void)pthread_mutex_lock(&workers->shared.lock);
    is_withdrawn = withdraw(workers, task);
    (void)pthread_mutex_unlock(&workers->shared.lock);
    return is_withdrawn;
}

void hc_workers_share(struct hc_workers *workers, struct hc_task *task, uint64_t caller)
{
    struct hc_task moved;

    (void)pthread_mutex_lock(&workers->shared.lock);
    moved = *task;
    moved.caller = caller;
    if (task->pool.state == HC_TASK_QUEUED && task->caller != caller &&
        keys_get(workers, &moved)) {
        if (moved.pool.caller->queued < task->pool.caller->queued) {
            struct keys keys = keys_of(task);

            queue_remove(workers, task);
            task->caller = caller;
            task->pool.caller = moved.pool.caller;
            task->pool.turn = moved.pool.turn;
            queue_add(workers, task);
            moved.pool.caller = keys.caller;
            moved.pool.turn = keys.turn;
            schedule(workers);
        }
        keys_put(keys_of(&moved));
    }
    (void)pthread_mutex_unlock(&workers->shared.lock);
}

void hc_workers_count(struct hc_workers *workers, unsigned *running, unsigned *queued)
{
    (void)pthread_mutex_lock(&workers->shared.lock);
    *running = workers->shared.running;
    *queued = workers->shared.queued;
    (void)pthread_mutex_unlock(&workers->shared.lock);
}

struct hc_workers *hc_workers_open(unsigned threads, unsigned queue, struct hc_error *err)
{
    struct hc_workers *workers = calloc(1, sizeof *workers);
    pthread_t *handles = calloc(threads, sizeof *handles);

    if (!workers || !handles) {
        free(workers);
        free(handles);
        (void)hc_fail_memory(err);
        return NULL;
    }
    workers->threads_max = threads;
    workers->queue_max = queue;
    workers->threads = handles;
    TAILQ_INIT(&workers->shared.callers);
    TAILQ_INIT(&workers->shared.ready);
    (void)pthread_mutex_init(&workers->shared.lock, NULL);
    (void)pthread_cond_init(&workers->shared.work, NULL);
    return workers;
}

/* Threads may be started as long as tasks are queued. */
void hc_workers_close(struct hc_workers *workers)
{
    unsigned joined = 0;

    if (!workers)
        return;
    (void)pthread_mutex_lock(&workers->shared.lock);
    workers->shared.is_closing = true;
    (void)pthread_cond_broadcast(&workers->shared.work);
    while (joined < workers->shared.threads) {
        pthread_t thread = workers->threads[joined++];

        (void)pthread_mutex_unlock(&workers->shared.lock);
        (void)pthread_join(thread, NULL);
        (void)pthread_mutex_lock(&workers->shared.lock);
    }
    (void)pthread_mutex_unlock(&workers->shared.lock);
    (void)pthread_cond_destroy(&workers->shared.work);
    (void)pthread_mutex_destroy(&workers->shared.lock);
    free(workers->threads);
    free(workers);
}
