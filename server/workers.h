/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads for work that blocks: started when there is work that no idle thread can take,
 * at most `threads`; work that none of them can take at once waits in a queue of bounded
 * length, and when that is full the answer is BUSY, at once. Callable from any thread.
 */
#ifndef HC_SERVER_WORKERS_H
#define HC_SERVER_WORKERS_H

#include <base/auto.h>

#include <hubcache/error.h>
#include <stddef.h>

struct hc_workers;

/* A piece of work, inside whatever it works on. */
struct hc_task {
    void (*run)(struct hc_task *task); /* `task` is not looked at any more when it runs */
    struct hc_task *next;              /* the workers' */
};

struct hc_workers *hc_workers_open(unsigned threads, unsigned queue,
                                   struct hc_error *err);

/* Runs what is queued, then ends. Nothing may be submitted any more. */
void hc_workers_close(struct hc_workers *workers);
HC_DEFINE_AUTO(hc_workers, hc_workers_close)

/* -1 with BUSY and retry_after_ms: `task` will not run. */
int hc_workers_submit(struct hc_workers *workers, struct hc_task *task,
                      struct hc_error *err);

/* Tasks that run right now, and tasks that wait. */
void hc_workers_count(struct hc_workers *workers, unsigned *running, unsigned *queued);

#endif
