/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded pool of threads for work that blocks, shared fairly. A task says for whom it
 * is: a caller, a repo, and a batch of tasks that belong together.
 *
 * A caller may have three times as many tasks running as there are threads free, a repo
 * as many as there are free. So one caller alone never has more than three quarters of
 * the threads, one repo never more than half, however slow they are; two slow repos leave
 * a third of the threads for the others, and so on (the dynamic thresholds of shared
 * packet buffers). A pool of one thread gives it to any task.
 *
 * A task that cannot run at once waits in a queue of bounded length, of which a caller
 * has at most three quarters. The callers take turns, and so do the batches and repos of
 * a caller. A task that is no longer wanted leaves the queue at once.
 *
 * A thread is started when a task can run and no idle thread can take it. Callable from
 * any thread, except hc_workers_close().
 */
#ifndef HC_BASE_WORKERS_H
#define HC_BASE_WORKERS_H

#include "auto.h"

#include <hubcache/error.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct hc_workers;
struct hc_task_group;

/* A piece of work; embedded in what it works on. */
struct hc_task {
    bool (*run)(struct hc_task *task); /* may free the task; true: run it again */
    uint64_t caller, repo;             /* hashes of their names */
    uint64_t batch;                    /* Optional: its tasks have one turn together */
    struct {                           /* the pool's, guarded by its lock */
        TAILQ_ENTRY(hc_task) link;
        struct hc_task_group *caller, *repo, *subqueue;
        enum { HC_TASK_IDLE, HC_TASK_QUEUED, HC_TASK_READY } state;
    } pool;
};

/* At most `threads` tasks run and `queue` tasks wait. */
struct hc_workers *hc_workers_open(unsigned threads, unsigned queue,
                                   struct hc_error *err);

/* Runs what is queued, then ends. Nothing may be submitted any more. */
void hc_workers_close(struct hc_workers *workers);
HC_DEFINE_AUTO(hc_workers, hc_workers_close)

/* -1 with BUSY and retry_after_ms: `task` will not run. */
int hc_workers_submit(struct hc_workers *workers, struct hc_task *task,
                      struct hc_error *err);

/*
 * True: the task will not run, and the pool does not know it any more. False: it runs,
 * has run, or is not submitted. The caller makes sure that the task does not end, and
 * free its memory, meanwhile.
 */
bool hc_workers_withdraw(struct hc_workers *workers, struct hc_task *task);

/*
 * Another caller wants the result of a task, too: while the task is queued, it waits with
 * the tasks of the caller of the two that has fewer tasks queued. The task must not end
 * meanwhile, as above.
 */
void hc_workers_add_caller(struct hc_workers *workers, struct hc_task *task,
                           uint64_t caller);

/* From now on at most `threads` / `divisor` tasks begin to run at a time, one at least;
 * 1 at first. */
void hc_workers_set_divisor(struct hc_workers *workers, unsigned divisor);

/* Tasks that have a thread right now, and tasks that wait. */
void hc_workers_count(struct hc_workers *workers, unsigned *running, unsigned *queued);

#endif
