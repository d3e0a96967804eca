/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread starts with the first pulse and rests while there is none. It beats with the
 * lock held, so that nobody goes while he is beaten: a beat writes a few bytes, and who
 * waits for it would wait for the same volume a moment later.
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

    (void)pthread_mutex_lock(&heartbeats->shared.lock);
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
    (void)pthread_mutex_unlock(&heartbeats->shared.lock);
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

void hc_heartbeats_free(struct hc_heartbeats *heartbeats)
{
    bool is_running;

    if (!heartbeats)
        return;
    (void)pthread_mutex_lock(&heartbeats->shared.lock);
    heartbeats->shared.is_ending = true;
    is_running = heartbeats->shared.is_running;
    (void)pthread_cond_signal(&heartbeats->shared.wakeup);
    (void)pthread_mutex_unlock(&heartbeats->shared.lock);
    if (is_running)
        (void)pthread_join(heartbeats->thread, NULL);
    (void)pthread_cond_destroy(&heartbeats->shared.wakeup);
    (void)pthread_mutex_destroy(&heartbeats->shared.lock);
    free(heartbeats);
}

void hc_heartbeats_start(struct hc_heartbeats *heartbeats, struct hc_heartbeat *heartbeat)
{
    (void)pthread_mutex_lock(&heartbeats->shared.lock);
    LIST_INSERT_HEAD(&heartbeats->shared.beating, heartbeat, link);
    if (!heartbeats->shared.is_running) /* without a thread it beats when bytes come */
        heartbeats->shared.is_running =
            pthread_create(&heartbeats->thread, NULL, heartbeat_thread, heartbeats) == 0;
    else if (heartbeats->shared.is_idle)
        (void)pthread_cond_signal(&heartbeats->shared.wakeup);
    (void)pthread_mutex_unlock(&heartbeats->shared.lock);
}

void hc_heartbeats_stop(struct hc_heartbeats *heartbeats, struct hc_heartbeat *heartbeat)
{
    HC_LOCKED(&heartbeats->shared.lock);

    LIST_REMOVE(heartbeat, link);
}
