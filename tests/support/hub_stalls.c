/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One condition variable tells of all that ends a wait: a release, and the end of the
 * hub. A peer that hangs up is noticed by polling its socket.
 */
#include "hub_stalls.h"

#include "base/auto.h"
#include "hub_abort.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum {
    AWAIT_MS = 10000,
    PEER_CHECK_MS = 20 /* between two looks at the peer of a stalled answer */
};

struct hub_stalls {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        unsigned stalled;
        unsigned releases;
        bool is_open;
    } shared;
};

/* On the monotonic clock, which the condition waits by. */
static struct timespec deadline_in_ms(uint64_t ms)
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

/* POLLRDHUP: the peer has closed its side, or reset the connection. */
static bool peer_has_gone(int fd)
{
    struct pollfd peer = {.fd = fd, .events = POLLRDHUP};

    return poll(&peer, 1, 0) > 0;
}

struct hub_stalls *hub_stalls_new(void)
{
    struct hub_stalls *stalls = hub_require(calloc(1, sizeof *stalls));
    pthread_condattr_t attributes;

    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&stalls->lock, NULL);
    (void)pthread_cond_init(&stalls->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    return stalls;
}

void hub_stalls_free(struct hub_stalls *stalls)
{
    if (!stalls)
        return;
    (void)pthread_cond_destroy(&stalls->changed);
    (void)pthread_mutex_destroy(&stalls->lock);
    free(stalls);
}

unsigned hub_stalls_release_count(struct hub_stalls *stalls)
{
    HC_LOCKED(&stalls->lock);

    return stalls->shared.releases;
}

void hub_stalls_wait(struct hub_stalls *stalls, int fd, unsigned releases)
{
    HC_LOCKED(&stalls->lock);

    stalls->shared.stalled++;
    (void)pthread_cond_broadcast(&stalls->changed);
    while (!stalls->shared.is_open && releases == stalls->shared.releases &&
           !peer_has_gone(fd)) {
        struct timespec next_check = deadline_in_ms(PEER_CHECK_MS);

        (void)pthread_cond_timedwait(&stalls->changed, &stalls->lock, &next_check);
    }
    stalls->shared.stalled--;
}

void hub_stalls_release(struct hub_stalls *stalls)
{
    HC_LOCKED(&stalls->lock);

    stalls->shared.releases++;
    (void)pthread_cond_broadcast(&stalls->changed);
}

/* Any stalled answer will do, for tests stall one at a time. */
bool hub_stalls_await_stall(struct hub_stalls *stalls)
{
    struct timespec deadline = deadline_in_ms(AWAIT_MS);
    bool is_stalled;
    int failure = 0;
    HC_LOCKED(&stalls->lock);

    while (stalls->shared.stalled == 0 && failure == 0)
        failure = pthread_cond_timedwait(&stalls->changed, &stalls->lock, &deadline);
    is_stalled = stalls->shared.stalled > 0;
    return is_stalled;
}

void hub_stalls_pause(struct hub_stalls *stalls, uint64_t ms)
{
    struct timespec deadline = deadline_in_ms(ms);
    int failure = 0;
    HC_LOCKED(&stalls->lock);

    while (!stalls->shared.is_open && failure == 0)
        failure = pthread_cond_timedwait(&stalls->changed, &stalls->lock, &deadline);
}

void hub_stalls_end(struct hub_stalls *stalls)
{
    HC_LOCKED(&stalls->lock);

    stalls->shared.is_open = true;
    (void)pthread_cond_broadcast(&stalls->changed);
}
