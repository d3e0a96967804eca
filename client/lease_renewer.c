/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread takes the lease that is due first, and renews it without the lock. A server
 * that does not answer does not answer for the next lease either, so after such a failure
 * all leases wait for the same pause; it doubles with each failure, from a second to
 * sixteen. A renewal takes RENEWAL_LIMIT_MS at most, however the server hangs.
 *
 * A lease is
 *
 *     held    until_ms is ahead. A renewal sets it to the time before its call plus the
 *             duration: the server cannot end the lease earlier.
 *     lost    the server says that it has ended or is another caller's; until_ms is 0
 *     over    until_ms is past: no renewal has succeeded in time, and none follows
 */
#include "lease_renewer.h"

#include "base/cancellation.h"
#include "client_lease.h"

#include <hubcache-client/client.h>

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum {
    PAUSE_FIRST_MS = 1000,
    PAUSE_DOUBLINGS = 4,
    RENEWAL_LIMIT_MS = 10 * 1000,
    IDLE_MS = 3600 * 1000 /* between two looks, when there is nothing to renew */
};

struct hc_lease_renewer {
    struct hc_client *client; /* borrowed */
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t news;
        LIST_HEAD(, hc_held_lease) leases;
        const struct hc_held_lease *current; /* is being renewed; NULL: none */
        bool has_thread, is_ending;
    } shared;
};

int64_t hc_lease_renewal_due_ms(int64_t duration_ms)
{
    return duration_ms / 3;
}

/* The lock is held. NULL: there is none to renew. */
static struct hc_held_lease *renewer_next(struct hc_lease_renewer *renewer)
{
    struct hc_held_lease *lease, *next = NULL;
    int64_t now_ms = hc_monotonic_ms();

    LIST_FOREACH(lease, &renewer->shared.leases, link)
    {
        if (atomic_load(&lease->until_ms) > now_ms &&
            (!next || lease->due_ms < next->due_ms))
            next = lease;
    }
    return next;
}

/* Waits until a lease is due; NULL when the renewer ends. */
static struct hc_held_lease *renewer_await(struct hc_lease_renewer *renewer)
{
    HC_LOCKED(&renewer->shared.lock);

    while (!renewer->shared.is_ending) {
        struct hc_held_lease *lease = renewer_next(renewer);
        int64_t wait_ms = lease ? lease->due_ms - hc_monotonic_ms() : IDLE_MS;

        if (wait_ms <= 0) {
            renewer->shared.current = lease;
            return lease;
        }
        hc_condition_wait(&renewer->shared.news, &renewer->shared.lock, wait_ms);
    }
    return NULL;
}

/* Whether the failure is about this lease alone, and final. */
static bool lease_is_lost(const struct hc_error *failure)
{
    return failure->reason == HC_NOT_CACHED || failure->reason == HC_POLICY_DENIED ||
           failure->reason == HC_INVALID_OPTIONS;
}

static int64_t failure_pause_ms(unsigned failures)
{
    unsigned doublings = failures < PAUSE_DOUBLINGS ? failures : PAUSE_DOUBLINGS;

    return (int64_t)PAUSE_FIRST_MS << doublings;
}

/* The lock is held. A lease that is shorter than the pause is tried more often. */
static void renewer_postpone(struct hc_lease_renewer *renewer,
                             struct hc_held_lease *lease, int64_t now_ms)
{
    int64_t pause_ms = failure_pause_ms(lease->failures++);
    struct hc_held_lease *other;

    if (pause_ms > lease->duration_ms / 10)
        pause_ms = lease->duration_ms / 10 + 1;
    lease->due_ms = now_ms + pause_ms;
    LIST_FOREACH(other, &renewer->shared.leases, link)
    {
        if (other->due_ms < lease->due_ms)
            other->due_ms = lease->due_ms;
    }
}

/* After the call that began at `began_ms`. */
static void renewer_note(struct hc_lease_renewer *renewer, struct hc_held_lease *lease,
                         int64_t began_ms, const struct hc_error *failure)
{
    HC_LOCKED(&renewer->shared.lock);

    if (failure->reason == HC_OK) {
        atomic_store(&lease->until_ms, began_ms + lease->duration_ms);
        lease->due_ms = began_ms + hc_lease_renewal_due_ms(lease->duration_ms);
        lease->failures = 0;
    } else {
        lease->loss = *failure;
        if (lease_is_lost(failure))
            atomic_store(&lease->until_ms, 0);
        else
            renewer_postpone(renewer, lease, hc_monotonic_ms());
    }
    renewer->shared.current = NULL;
    (void)pthread_cond_broadcast(&renewer->shared.news);
}

static void *renewer_run(void *ctx)
{
    struct hc_lease_renewer *renewer = ctx;
    struct hc_held_lease *lease;

    while ((lease = renewer_await(renewer))) {
        struct hc_error failure = {0};
        int64_t began_ms = hc_monotonic_ms();

        if (hc_lease_renew_within(renewer->client, lease->id, lease->duration_ms,
                                  RENEWAL_LIMIT_MS, &failure) == 0)
            failure.reason = HC_OK;
        renewer_note(renewer, lease, began_ms, &failure);
    }
    return NULL;
}

struct hc_lease_renewer *hc_lease_renewer_new(struct hc_client *client,
                                              struct hc_error *err)
{
    struct hc_lease_renewer *renewer = calloc(1, sizeof *renewer);

    if (!renewer) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    renewer->client = client;
    (void)pthread_mutex_init(&renewer->shared.lock, NULL);
    hc_condition_init(&renewer->shared.news);
    LIST_INIT(&renewer->shared.leases);
    return renewer;
}

void hc_lease_renewer_free(struct hc_lease_renewer *renewer)
{
    if (!renewer)
        return;
    {
        HC_LOCKED(&renewer->shared.lock);

        renewer->shared.is_ending = true;
        (void)pthread_cond_broadcast(&renewer->shared.news);
    }
    if (renewer->shared.has_thread)
        (void)pthread_join(renewer->thread, NULL);
    (void)pthread_cond_destroy(&renewer->shared.news);
    (void)pthread_mutex_destroy(&renewer->shared.lock);
    free(renewer);
}

/* Signals of the program are not for its thread. */
static bool renewer_start_thread(struct hc_lease_renewer *renewer)
{
    sigset_t all, before;
    bool started;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    started = pthread_create(&renewer->thread, NULL, renewer_run, renewer) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

int hc_lease_renewer_add(struct hc_lease_renewer *renewer, struct hc_held_lease *lease,
                         struct hc_error *err)
{
    HC_LOCKED(&renewer->shared.lock);

    if (!renewer->shared.has_thread)
        renewer->shared.has_thread = renewer_start_thread(renewer);
    if (!renewer->shared.has_thread)
        return hc_fail(err, HC_INTERNAL, "the system gives no thread to renew leases");
    lease->due_ms = atomic_load(&lease->until_ms) - lease->duration_ms +
                    hc_lease_renewal_due_ms(lease->duration_ms);
    LIST_INSERT_HEAD(&renewer->shared.leases, lease, link);
    (void)pthread_cond_broadcast(&renewer->shared.news);
    return 0;
}

void hc_lease_renewer_remove(struct hc_lease_renewer *renewer,
                             struct hc_held_lease *lease)
{
    HC_LOCKED(&renewer->shared.lock);

    while (renewer->shared.current == lease)
        hc_condition_wait(&renewer->shared.news, &renewer->shared.lock, IDLE_MS);
    LIST_REMOVE(lease, link);
}
