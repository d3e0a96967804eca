/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fair queueing, with three kinds of groups of tasks in one table: those of a caller,
 * those of a repo, and those of a subqueue, which are a caller's tasks for one repo and
 * batch. A subqueue with queued tasks is on its caller's list, a caller with such
 * subqueues is on the pool's; one that has been served goes to the end of its list. A
 * group lives as long as a task refers to it.
 *
 * The states of a task:
 *
 *     idle   --hc_workers_submit--> queued     (or BUSY, and idle again)
 *     queued --workers_schedule---> ready      it counts as running from here on
 *     ready  --a thread takes it--> running    idle for the pool, which may not touch it:
 *                                              the task may free itself
 *     running --run() says true---> queued     at the end of its subqueue
 *     queued, ready --withdraw----> idle
 *
 * Whenever a thread may have become free, workers_schedule() makes tasks ready; it passes
 * over subqueues whose caller or repo has its share already. `shared.lock` guards all
 * groups and the `pool` member of all tasks; it is not held while a task runs.
 */
#include "workers.h"

#include "error.h"
#include "hash.h"

#include <pthread.h>
#include <stdbool.h>

enum { RETRY_AFTER_MS = 1000, BUCKETS = 1024, CALLER_WEIGHT = 3, REPO_WEIGHT = 1 };

TAILQ_HEAD(task_list, hc_task);
TAILQ_HEAD(group_list, hc_task_group);
LIST_HEAD(group_chain, hc_task_group);

struct hc_task_group {
    LIST_ENTRY(hc_task_group) chain;
    uint64_t id;
    unsigned references; /* tasks that refer to it */
    unsigned running, queued;
    TAILQ_ENTRY(hc_task_group) round_robin; /* among those that take turns */
    struct group_list subqueues;            /* a caller's, with queued tasks */
    struct task_list tasks;                 /* a subqueue's, queued */
};

struct hc_workers {
    unsigned threads_max, queue_max;
    pthread_t *threads;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t has_work;
        struct group_chain groups[BUCKETS];
        struct group_list callers; /* with queued tasks */
        struct task_list ready;
        unsigned threads, idle, ready_count, running, queued;
        unsigned divisor; /* of `threads_max`: so many tasks run */
        bool is_closing;
    } shared;
};

/* ---- groups, all with the lock held ------------------------------------------------ */

enum group_kind { GROUP_CALLER, GROUP_REPO, GROUP_SUBQUEUE };

static uint64_t group_id(enum group_kind kind, const uint64_t *numbers, size_t count)
{
    return hc_hash_bytes(hc_hash_bytes(HC_HASH_START, &kind, sizeof kind), numbers,
                         count * sizeof *numbers);
}

/* One more task refers to it. NULL: memory is short. */
static struct hc_task_group *group_find(struct hc_workers *workers, uint64_t id)
{
    struct group_chain *chain = &workers->shared.groups[id % BUCKETS];
    struct hc_task_group *group;

    LIST_FOREACH(group, chain, chain)
    {
        if (group->id == id)
            break;
    }
    if (!group) {
        group = calloc(1, sizeof *group);
        if (!group)
            return NULL;
        group->id = id;
        TAILQ_INIT(&group->subqueues);
        TAILQ_INIT(&group->tasks);
        LIST_INSERT_HEAD(chain, group, chain);
    }
    group->references++;
    return group;
}

static void group_unref(struct hc_task_group *group)
{
    if (!group || --group->references > 0)
        return;
    LIST_REMOVE(group, chain);
    free(group);
}

static void task_groups_ref(const struct hc_task *task)
{
    task->pool.caller->references++;
    task->pool.repo->references++;
    task->pool.subqueue->references++;
}

static void task_groups_unref(const struct hc_task *task)
{
    group_unref(task->pool.caller);
    group_unref(task->pool.repo);
    group_unref(task->pool.subqueue);
}

/* Makes a task refer to its groups, which are made when they are new. */
static bool task_groups_find(struct hc_workers *workers, struct hc_task *task)
{
    const uint64_t subqueue[] = {task->caller, task->repo, task->batch};

    task->pool.caller = group_find(workers, group_id(GROUP_CALLER, &task->caller, 1));
    task->pool.repo = group_find(workers, group_id(GROUP_REPO, &task->repo, 1));
    task->pool.subqueue = group_find(workers, group_id(GROUP_SUBQUEUE, subqueue, 3));
    if (task->pool.caller && task->pool.repo && task->pool.subqueue)
        return true;
    task_groups_unref(task);
    return false;
}

/* ---- the queue, all with the lock held --------------------------------------------- */

static void queue_add(struct hc_workers *workers, struct hc_task *task)
{
    struct hc_task_group *caller = task->pool.caller, *subqueue = task->pool.subqueue;

    if (caller->queued++ == 0)
        TAILQ_INSERT_TAIL(&workers->shared.callers, caller, round_robin);
    if (subqueue->queued++ == 0)
        TAILQ_INSERT_TAIL(&caller->subqueues, subqueue, round_robin);
    TAILQ_INSERT_TAIL(&subqueue->tasks, task, pool.link);
    task->pool.state = HC_TASK_QUEUED;
    workers->shared.queued++;
}

/* The subqueue of the task goes to the end of the list, or out of it; so does its
 * caller. */
static void queue_remove(struct hc_workers *workers, struct hc_task *task)
{
    struct hc_task_group *caller = task->pool.caller, *subqueue = task->pool.subqueue;

    TAILQ_REMOVE(&subqueue->tasks, task, pool.link);
    TAILQ_REMOVE(&caller->subqueues, subqueue, round_robin);
    if (--subqueue->queued > 0)
        TAILQ_INSERT_TAIL(&caller->subqueues, subqueue, round_robin);
    TAILQ_REMOVE(&workers->shared.callers, caller, round_robin);
    if (--caller->queued > 0)
        TAILQ_INSERT_TAIL(&workers->shared.callers, caller, round_robin);
    workers->shared.queued--;
}

static unsigned workers_running_max(const struct hc_workers *workers)
{
    unsigned most = workers->threads_max / workers->shared.divisor;

    return most > 0 ? most : 1;
}

/* More may be running than may begin. */
static unsigned workers_free_threads(const struct hc_workers *workers)
{
    unsigned most = workers_running_max(workers);

    return most > workers->shared.running ? most - workers->shared.running : 0;
}

/* The next task that may run, or NULL. */
static struct hc_task *queue_next(struct hc_workers *workers)
{
    unsigned left = workers_free_threads(workers);
    struct hc_task_group *caller, *subqueue;

    TAILQ_FOREACH(caller, &workers->shared.callers, round_robin)
    {
        if (caller->running >= CALLER_WEIGHT * left)
            continue;
        TAILQ_FOREACH(subqueue, &caller->subqueues, round_robin)
        {
            struct hc_task *task = TAILQ_FIRST(&subqueue->tasks);

            if (task->pool.repo->running < REPO_WEIGHT * left)
                return task;
        }
    }
    return NULL;
}

/* ---- threads ----------------------------------------------------------------------- */

static void *worker_run(void *argument);

/* A thread that cannot be started only matters when there is none. */
static void workers_ensure_thread(struct hc_workers *workers)
{
    unsigned n = workers->shared.threads;

    if (workers->shared.idle >= workers->shared.ready_count || n == workers->threads_max)
        return;
    if (pthread_create(&workers->threads[n], NULL, worker_run, workers) == 0) {
        workers->shared.threads = n + 1;
        workers->shared.idle++; /* until it takes its first task */
    }
}

static void task_make_ready(struct hc_workers *workers, struct hc_task *task)
{
    queue_remove(workers, task);
    task->pool.caller->running++;
    task->pool.repo->running++;
    workers->shared.running++;
    TAILQ_INSERT_TAIL(&workers->shared.ready, task, pool.link);
    task->pool.state = HC_TASK_READY;
    workers->shared.ready_count++;
    workers_ensure_thread(workers);
    (void)pthread_cond_signal(&workers->shared.has_work);
}

static void workers_schedule(struct hc_workers *workers)
{
    struct hc_task *task;

    while (workers_free_threads(workers) > 0 && (task = queue_next(workers)))
        task_make_ready(workers, task);
    if (workers->shared.is_closing && workers->shared.queued == 0)
        (void)pthread_cond_broadcast(&workers->shared.has_work);
}

/* A ready task that runs no more, or never will. */
static void task_end(struct hc_workers *workers, const struct hc_task *task)
{
    task->pool.caller->running--;
    task->pool.repo->running--;
    workers->shared.running--;
    task_groups_unref(task);
    workers_schedule(workers);
}

static void task_leave_ready(struct hc_workers *workers, struct hc_task *task)
{
    TAILQ_REMOVE(&workers->shared.ready, task, pool.link);
    workers->shared.ready_count--;
    task->pool.state = HC_TASK_IDLE;
}

/* For a thread that counts as idle. NULL: the pool is closed and no task is left. */
static struct hc_task *worker_next_task(struct hc_workers *workers)
{
    struct hc_task *task;

    while (!(task = TAILQ_FIRST(&workers->shared.ready)) &&
           !(workers->shared.is_closing && workers->shared.queued == 0))
        (void)pthread_cond_wait(&workers->shared.has_work, &workers->shared.lock);
    workers->shared.idle--;
    if (task)
        task_leave_ready(workers, task);
    return task;
}

static void *worker_run(void *argument)
{
    struct hc_workers *workers = argument;
    struct hc_task *task;

    HC_LOCKED(&workers->shared.lock);

    while ((task = worker_next_task(workers))) {
        const struct hc_task copy = *task; /* its groups outlive the task */
        bool again;

        (void)pthread_mutex_unlock(&workers->shared.lock);
        again = task->run(task);
        (void)pthread_mutex_lock(&workers->shared.lock);
        if (again) {
            task_groups_ref(task);
            queue_add(workers, task);
        }
        workers->shared.idle++;
        task_end(workers, &copy);
    }
    return NULL;
}

/* ---- public ------------------------------------------------------------------------ */

static bool task_withdraw(struct hc_workers *workers, struct hc_task *task)
{
    switch (task->pool.state) {
    case HC_TASK_QUEUED:
        queue_remove(workers, task);
        task->pool.state = HC_TASK_IDLE;
        task_groups_unref(task);
        return true;
    case HC_TASK_READY:
        task_leave_ready(workers, task);
        task_end(workers, task);
        return true;
    case HC_TASK_IDLE:
        break;
    }
    return false;
}

/* Whether a queued task may stay. */
static bool queue_has_room(const struct hc_workers *workers, const struct hc_task *task)
{
    uint64_t left = (uint64_t)workers->queue_max + 1 - workers->shared.queued;

    return workers->shared.queued <= workers->queue_max &&
           task->pool.caller->queued <= CALLER_WEIGHT * left;
}

static int task_submit(struct hc_workers *workers, struct hc_task *task,
                       struct hc_error *err)
{
    bool is_full;

    if (!task_groups_find(workers, task))
        return hc_fail_memory(err);
    queue_add(workers, task);
    workers_schedule(workers);
    is_full = task->pool.state == HC_TASK_QUEUED && !queue_has_room(workers, task);
    if (!is_full && workers->shared.threads > 0)
        return 0;
    (void)task_withdraw(workers, task);
    if (!is_full)
        return hc_fail(err, HC_BUSY, "the system gives no thread: try later");
    return hc_fail(
        err, HC_BUSY,
        "the %u threads or this caller's share of them are busy, and the queue "
        "of %u requests or the caller's share of it is full: try later",
        workers_running_max(workers), workers->queue_max);
}

int hc_workers_submit(struct hc_workers *workers, struct hc_task *task,
                      struct hc_error *err)
{
    HC_LOCKED(&workers->shared.lock);

    if (task_submit(workers, task, err) == 0)
        return 0;
    err->retry_after_ms = RETRY_AFTER_MS;
    return -1;
}

bool hc_workers_withdraw(struct hc_workers *workers, struct hc_task *task)
{
    HC_LOCKED(&workers->shared.lock);

    return task_withdraw(workers, task);
}

/* `other` refers to the groups of the task as if it were the other caller's. */
void hc_workers_add_caller(struct hc_workers *workers, struct hc_task *task,
                           uint64_t caller)
{
    struct hc_task other, old;

    HC_LOCKED(&workers->shared.lock);

    other = *task;
    other.caller = caller;
    if (task->pool.state != HC_TASK_QUEUED || task->caller == caller ||
        !task_groups_find(workers, &other))
        return;
    if (other.pool.caller->queued >= task->pool.caller->queued) {
        task_groups_unref(&other);
        return;
    }
    queue_remove(workers, task);
    old = *task;
    task->caller = caller;
    task->pool.caller = other.pool.caller;
    task->pool.subqueue = other.pool.subqueue;
    queue_add(workers, task);
    task_groups_unref(&old);
    workers_schedule(workers);
}

void hc_workers_set_divisor(struct hc_workers *workers, unsigned divisor)
{
    HC_LOCKED(&workers->shared.lock);

    workers->shared.divisor = divisor;
    workers_schedule(workers);
}

void hc_workers_count(struct hc_workers *workers, unsigned *running, unsigned *queued)
{
    HC_LOCKED(&workers->shared.lock);

    *running = workers->shared.running;
    *queued = workers->shared.queued;
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
    workers->shared.divisor = 1;
    TAILQ_INIT(&workers->shared.callers);
    TAILQ_INIT(&workers->shared.ready);
    (void)pthread_mutex_init(&workers->shared.lock, NULL);
    (void)pthread_cond_init(&workers->shared.has_work, NULL);
    return workers;
}

void hc_workers_close(struct hc_workers *workers)
{
    unsigned joined = 0;

    if (!workers)
        return;
    (void)pthread_mutex_lock(&workers->shared.lock);
    workers->shared.is_closing = true;
    (void)pthread_cond_broadcast(&workers->shared.has_work);
    while (joined < workers->shared.threads) { /* more may start as long as tasks wait */
        pthread_t thread = workers->threads[joined++];

        (void)pthread_mutex_unlock(&workers->shared.lock);
        (void)pthread_join(thread, NULL);
        (void)pthread_mutex_lock(&workers->shared.lock);
    }
    (void)pthread_mutex_unlock(&workers->shared.lock);
    (void)pthread_cond_destroy(&workers->shared.has_work);
    (void)pthread_mutex_destroy(&workers->shared.lock);
    free(workers->threads);
    free(workers);
}
