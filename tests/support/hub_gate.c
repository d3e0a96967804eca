/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One condition for everything that may end a wait.
 */
#include "hub_gate.h"

#include "hub_must.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    PATIENCE_MS = 10000,
    PEER_CHECK_MS = 20 /* how soon a stalled answer notices that its peer has gone */
};

struct hub_gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        unsigned stalled;
        unsigned releases;
        bool is_open;
    } shared;
};

static struct timespec in_ms(uint64_t ms)
{
    struct timespec when;

    (void)clock_gettime(CLOCK_MONOTONIC, &when);
    when.tv_sec += (time_t)(ms / 1000);
    when.tv_nsec += (long)(ms % 1000) * 1000000;
    if (when.tv_nsec >= 1000000000) {
        when.tv_sec++;
        when.tv_nsec -= 1000000000;
    }
    return when;
}

static bool has_gone(int fd)
{
    struct pollfd peer = {.fd = fd, .events = POLLRDHUP};

    return poll(&peer, 1, 0) > 0;
}

struct hub_gate *hub_gate_new(void)
{
    struct hub_gate *gate = hub_must(calloc(1, sizeof *gate));
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&gate->lock, NULL);
    (void)pthread_cond_init(&gate->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return gate;
}

void hub_gate_free(struct hub_gate *gate)
{
    if (!gate)
        return;
    (void)pthread_cond_destroy(&gate->changed);
    (void)pthread_mutex_destroy(&gate->lock);
    free(gate);
}

unsigned hub_gate_releases(struct hub_gate *gate)
{
    unsigned releases;

    (void)pthread_mutex_lock(&gate->lock);
    releases = gate->shared.releases;
    (void)pthread_mutex_unlock(&gate->lock);
    return releases;
}

void hub_gate_stall(struct hub_gate *gate, int fd, unsigned releases)
{
    (void)pthread_mutex_lock(&gate->lock);
    gate->shared.stalled++;
    (void)pthread_cond_broadcast(&gate->changed);
    while (!gate->shared.is_open && releases == gate->shared.releases && !has_gone(fd)) {
        struct timespec next_check = in_ms(PEER_CHECK_MS);

        (void)pthread_cond_timedwait(&gate->changed, &gate->lock, &next_check);
    }
    gate->shared.stalled--;
    (void)pthread_mutex_unlock(&gate->lock);
}

void hub_gate_release(struct hub_gate *gate)
{
    (void)pthread_mutex_lock(&gate->lock);
    gate->shared.releases++;
    (void)pthread_cond_broadcast(&gate->changed);
    (void)pthread_mutex_unlock(&gate->lock);
}

bool hub_gate_await_stall(struct hub_gate *gate)
{
    struct timespec deadline = in_ms(PATIENCE_MS);
    bool is_stalled;
    int failure = 0;

    (void)pthread_mutex_lock(&gate->lock);
    while (gate->shared.stalled == 0 && failure == 0)
        failure = pthread_cond_timedwait(&gate->changed, &gate->lock, &deadline);
    is_stalled = gate->shared.stalled > 0;
    (void)pthread_mutex_unlock(&gate->lock);
    return is_stalled;
}

void hub_gate_pause(struct hub_gate *gate, uint64_t ms)
{
    struct timespec deadline = in_ms(ms);
    int failure = 0;

    (void)pthread_mutex_lock(&gate->lock);
    while (!gate->shared.is_open && failure == 0)
        failure = pthread_cond_timedwait(&gate->changed, &gate->lock, &deadline);
    (void)pthread_mutex_unlock(&gate->lock);
}

void hub_gate_open(struct hub_gate *gate)
{
    (void)pthread_mutex_lock(&gate->lock);
    gate->shared.is_open = true;
    (void)pthread_cond_broadcast(&gate->changed);
    (void)pthread_mutex_unlock(&gate->lock);
}
