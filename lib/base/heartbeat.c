/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread starts with the first heartbeat, and waits without a timeout while there is
 * none (`is_idle`); the next hc_heartbeats_start() wakes it, and hc_heartbeats_free()
 * ends it. When the system gives no thread, a claim is still written whenever bytes
 * arrive.
 *
 * It calls `beat` with the lock held, so that a heartbeat that has been stopped is not
 * called any more, and its owner may free it. That is the exception from "no lock is held
 * across I/O": a beat writes a few bytes, and the thread that waits for it in
 * hc_heartbeats_stop() is about to write to the same volume.
 */
#include "heartbeat.h"

#include "cancellation.h"

#include <pthread.h>

struct hc_heartbeats {
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t wakeup;
        bool is_running;
        bool is_idle;
        bool is_ending;
        LIST_HEAD(, hc_heartbeat) beating;
    } shared;
};

static void *heartbeat_thread(void *ctx)
{
    struct hc_heartbeats *heartbeats = ctx;
    struct hc_heartbeat *heartbeat;
    HC_LOCKED(&heartbeats->shared.lock);

    while (!heartbeats->shared.is_ending) {
        heartbeats->shared.is_idle = LIST_EMPTY(&heartbeats->shared.beating);
        if (heartbeats->shared.is_idle) {
            (void)pthread_cond_wait(&heartbeats->shared.wakeup, &heartbeats->shared.lock);
            continue;
        }
        hc_condition_wait(&heartbeats->shared.wakeup, &heartbeats->shared.lock,
                          HC_HEARTBEAT_MS);
        LIST_FOREACH(heartbeat, &heartbeats->shared.beating, link)
        {
            heartbeat->beat(heartbeat);
        }
    }
    return NULL;
}

struct hc_heartbeats *hc_heartbeats_new(struct hc_error *err)
{
    struct hc_heartbeats *heartbeats = calloc(1, sizeof *heartbeats);

    if (!heartbeats) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&heartbeats->shared.lock, NULL);
    hc_condition_init(&heartbeats->shared.wakeup);
    LIST_INIT(&heartbeats->shared.beating);
    return heartbeats;
}

/* Tells the thread to end. False when there is none. */
static bool heartbeats_end(struct hc_heartbeats *heartbeats)
{
    HC_LOCKED(&heartbeats->shared.lock);

    heartbeats->shared.is_ending = true;
    (void)pthread_cond_signal(&heartbeats->shared.wakeup);
    return heartbeats->shared.is_running;
}

void hc_heartbeats_free(struct hc_heartbeats *heartbeats)
{
    if (!heartbeats)
        return;
    if (heartbeats_end(heartbeats))
        (void)pthread_join(heartbeats->thread, NULL);
    (void)pthread_cond_destroy(&heartbeats->shared.wakeup);
    (void)pthread_mutex_destroy(&heartbeats->shared.lock);
    free(heartbeats);
}

void hc_heartbeats_start(struct hc_heartbeats *heartbeats, struct hc_heartbeat *heartbeat)
{
    HC_LOCKED(&heartbeats->shared.lock);

    LIST_INSERT_HEAD(&heartbeats->shared.beating, heartbeat, link);
    if (!heartbeats->shared.is_running)
        heartbeats->shared.is_running =
            pthread_create(&heartbeats->thread, NULL, heartbeat_thread, heartbeats) == 0;
    else if (heartbeats->shared.is_idle)
        (void)pthread_cond_signal(&heartbeats->shared.wakeup);
}

void hc_heartbeats_stop(struct hc_heartbeats *heartbeats, struct hc_heartbeat *heartbeat)
{
    HC_LOCKED(&heartbeats->shared.lock);

    LIST_REMOVE(heartbeat, link);
}
