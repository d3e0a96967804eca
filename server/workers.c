/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list of tasks behind one lock. `idle` counts the threads that wait; a task is worth a
 * new thread when more tasks are queued than threads are idle.
 */
#include "workers.h"

#include <base/error.h>

#include <pthread.h>
#include <stdbool.h>

enum { RETRY_AFTER_MS = 1000 };

struct hc_workers {
    unsigned threads_max, queue_max;
    pthread_t *threads;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t work;
        struct hc_task *first, **last;
        unsigned threads, idle, running, queued;
        bool is_closing;
    } shared;
};

/* With the lock held. NULL: there will be no more. */
static struct hc_task *next_task(struct hc_workers *workers)
{
    struct hc_task *task;

    workers->shared.idle++;
    while (!workers->shared.first && !workers->shared.is_closing)
        (void)pthread_cond_wait(&workers->shared.work, &workers->shared.lock);
    workers->shared.idle--;
    task = workers->shared.first;
    if (!task)
        return NULL;
    workers->shared.first = task->next;
    if (!workers->shared.first)
        workers->shared.last = &workers->shared.first;
    workers->shared.queued--;
    return task;
}

static void *work(void *argument)
{
    struct hc_workers *workers = argument;
    struct hc_task *task;

    (void)pthread_mutex_lock(&workers->shared.lock);
    while ((task = next_task(workers))) {
        workers->shared.running++;
        (void)pthread_mutex_unlock(&workers->shared.lock);
        task->run(task);
        (void)pthread_mutex_lock(&workers->shared.lock);
        workers->shared.running--;
    }
    (void)pthread_mutex_unlock(&workers->shared.lock);
    return NULL;
}

/* With the lock held. A thread that cannot be had only matters when there is none. */
static bool ensure_thread(struct hc_workers *workers)
{
    unsigned n = workers->shared.threads;

    if (workers->shared.idle > workers->shared.queued || n == workers->threads_max)
        return true;
    if (pthread_create(&workers->threads[n], NULL, work, workers) == 0)
        workers->shared.threads = n + 1;
    return workers->shared.threads > 0;
}

static bool has_room(const struct hc_workers *workers)
{
    return workers->shared.running + workers->shared.queued <
           workers->threads_max + workers->queue_max;
}

static bool enqueue(struct hc_workers *workers, struct hc_task *task)
{
    if (!has_room(workers) || !ensure_thread(workers))
        return false;
    task->next = NULL;
    *workers->shared.last = task;
    workers->shared.last = &task->next;
    workers->shared.queued++;
    (void)pthread_cond_signal(&workers->shared.work);
    return true;
}

int hc_workers_submit(struct hc_workers *workers, struct hc_task *task,
                      struct hc_error *err)
{
    bool is_queued;

    (void)pthread_mutex_lock(&workers->shared.lock);
    is_queued = enqueue(workers, task);
    (void)pthread_mutex_unlock(&workers->shared.lock);
    if (is_queued)
        return 0;
    (void)hc_fail(err, HC_BUSY, "all %u workers are busy and %u requests wait: try later",
                  workers->threads_max, workers->queue_max);
    err->retry_after_ms = RETRY_AFTER_MS;
    return -1;
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
    workers->shared.last = &workers->shared.first;
    (void)pthread_mutex_init(&workers->shared.lock, NULL);
    (void)pthread_cond_init(&workers->shared.work, NULL);
    return workers;
}

void hc_workers_close(struct hc_workers *workers)
{
    if (!workers)
        return;
    (void)pthread_mutex_lock(&workers->shared.lock);
    workers->shared.is_closing = true;
    (void)pthread_cond_broadcast(&workers->shared.work);
    (void)pthread_mutex_unlock(&workers->shared.lock);
    for (unsigned i = 0; i < workers->shared.threads; i++)
        (void)pthread_join(workers->threads[i], NULL);
    (void)pthread_cond_destroy(&workers->shared.work);
    (void)pthread_mutex_destroy(&workers->shared.lock);
    free(workers->threads);
    free(workers);
}
