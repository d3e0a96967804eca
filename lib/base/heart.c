/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread starts with the first pulse and rests while there is none. It beats with the
 * lock held, so that nobody goes while he is beaten: a beat writes a few bytes, and who
 * waits for it would wait for the same volume a moment later.
 */
#include "heart.h"

#include "condition.h"

#include <pthread.h>

struct hc_heart {
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        bool is_running;
        bool is_resting;
        bool is_ending;
        LIST_HEAD(, hc_pulse) pulses;
    } shared;
};

static void *work(void *ctx)
{
    struct hc_heart *heart = ctx;
    struct hc_pulse *pulse;

    (void)pthread_mutex_lock(&heart->shared.lock);
    while (!heart->shared.is_ending) {
        heart->shared.is_resting = LIST_EMPTY(&heart->shared.pulses);
        if (heart->shared.is_resting) {
            (void)pthread_cond_wait(&heart->shared.news, &heart->shared.lock);
            continue;
        }
        hc_condition_wait(&heart->shared.news, &heart->shared.lock, HC_HEART_MS);
        LIST_FOREACH(pulse, &heart->shared.pulses, link)
        {
            pulse->beat(pulse);
        }
    }
    (void)pthread_mutex_unlock(&heart->shared.lock);
    return NULL;
}

struct hc_heart *hc_heart_new(struct hc_error *err)
{
    struct hc_heart *heart = calloc(1, sizeof *heart);

    if (!heart) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&heart->shared.lock, NULL);
    hc_condition_init(&heart->shared.news);
    LIST_INIT(&heart->shared.pulses);
    return heart;
}

void hc_heart_free(struct hc_heart *heart)
{
    bool is_running;

    if (!heart)
        return;
    (void)pthread_mutex_lock(&heart->shared.lock);
    heart->shared.is_ending = true;
    is_running = heart->shared.is_running;
    (void)pthread_cond_signal(&heart->shared.news);
    (void)pthread_mutex_unlock(&heart->shared.lock);
    if (is_running)
        (void)pthread_join(heart->thread, NULL);
    (void)pthread_cond_destroy(&heart->shared.news);
    (void)pthread_mutex_destroy(&heart->shared.lock);
    free(heart);
}

void hc_heart_add(struct hc_heart *heart, struct hc_pulse *pulse)
{
    (void)pthread_mutex_lock(&heart->shared.lock);
    LIST_INSERT_HEAD(&heart->shared.pulses, pulse, link);
    if (!heart->shared.is_running) /* without a thread it beats when bytes come */
        heart->shared.is_running = pthread_create(&heart->thread, NULL, work, heart) == 0;
    else if (heart->shared.is_resting)
        (void)pthread_cond_signal(&heart->shared.news);
    (void)pthread_mutex_unlock(&heart->shared.lock);
}

void hc_heart_remove(struct hc_heart *heart, struct hc_pulse *pulse)
{
    HC_LOCKED(&heart->shared.lock);

    LIST_REMOVE(pulse, link);
}
