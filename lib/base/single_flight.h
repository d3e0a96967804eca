/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single flight: callers of a process that want the same thing at the same time share one
 * piece of work. One of them, the runner, does it on its own thread; the others wait and
 * share its outcome. Callable from any thread. The states of a flight:
 *
 *     idle       no runner. The first caller that waits becomes the runner: running.
 *     running    The runner finishes it: finished. The runner hands it over, for a
 *                failure that is only its own: idle, and a waiter becomes the runner.
 *     finished   Cannot be joined any more; every caller is told its outcome.
 *
 * A flight lives from the first join until the last caller has left, in any state.
 *
 * What a flight is about, what it yields, and whose failure is shared is the user's: it
 * embeds the flight as the first member of its own struct, and gives rules. Each caller
 * does this (see hub/shared_query.c):
 *
 *     struct hc_single_flight *flight = hc_single_flight_join(flights, key, err);
 *
 *     if (!flight)
 *         return -1;
 *     result = hc_single_flight_wait(flights, flight, caller, cancellation, err);
 *     if (result == HC_FLIGHT_RUN)
 *         result = run(flights, flight, err);
 *     else if (result == HC_FLIGHT_FINISHED)
 *         result = copy_outcome(flight, err);
 *     hc_single_flight_leave(flights, flight);
 *
 * The runner works without the lock. It takes the lock to note the outcome in the user's
 * struct and, in the same scope, to finish or hand over.
 */
#ifndef HC_BASE_SINGLE_FLIGHT_H
#define HC_BASE_SINGLE_FLIGHT_H

#include "cancellation.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/queue.h>

/* The first member of the user's struct. All members are for the lock's holder. */
struct hc_single_flight {
    LIST_ENTRY(hc_single_flight) link; /* while it may be joined */
    unsigned callers;                  /* that have joined and not left */
    bool has_runner;
    bool is_finished;
    pthread_cond_t changed;
};

/* What differs from user to user. All but `destroy` are called with the lock. */
struct hc_single_flight_rules {
    /* Whether the flight is the one for the key. */
    bool (*has_key)(const struct hc_single_flight *flight, const void *key);

    /* Allocates a flight for the key, zeroed but for the user's own members; NULL with
     * `err` when memory is short. */
    struct hc_single_flight *(*create)(const void *key, struct hc_error *err);

    /* Frees it, when the last caller has left. */
    void (*destroy)(struct hc_single_flight *flight);

    /* Optional: asked each time before `caller` becomes the runner or goes on waiting. 0
     * lets it; -1 with `err`, or HC_FLIGHT_FIRST_OWN and above, ends the wait with
     * that. */
    int (*decide)(const struct hc_single_flight *flight, const void *caller,
                  struct hc_error *err);
};

/* The flights of one user that may be joined. */
struct hc_single_flights {
    const struct hc_single_flight_rules *rules;
    struct {
        pthread_mutex_t
            lock; /* guards all members of all flights; never held across I/O */
        LIST_HEAD(, hc_single_flight) list;
    } shared;
};

/* `rules` is kept. */
void hc_single_flights_init(struct hc_single_flights *flights,
                            const struct hc_single_flight_rules *rules);

/* No flight may have a caller. */
void hc_single_flights_clear(struct hc_single_flights *flights);

/* The flight for the key, a new one if there is none; NULL as `create`. */
struct hc_single_flight *hc_single_flight_join(struct hc_single_flights *flights,
                                               const void *key, struct hc_error *err);

/* The last caller to leave destroys the flight. */
void hc_single_flight_leave(struct hc_single_flights *flights,
                            struct hc_single_flight *flight);

enum { HC_FLIGHT_FINISHED = 0, HC_FLIGHT_RUN = 1, HC_FLIGHT_FIRST_OWN = 2 };

/*
 * Waits until the flight is finished (HC_FLIGHT_FINISHED), or until the caller becomes
 * its runner (HC_FLIGHT_RUN), or as `decide` says. -1 with CANCELLED or DEADLINE_EXCEEDED
 * when the caller is cancelled while another one runs. The outcome of a finished flight
 * does not change any more: it may be read without the lock until the caller leaves.
 */
int hc_single_flight_wait(struct hc_single_flights *flights,
                          struct hc_single_flight *flight, const void *caller,
                          struct hc_cancellation *cancellation, struct hc_error *err);

/* For the runner, with the lock: the work is done, well or not, for all callers. */
void hc_single_flight_finish(struct hc_single_flight *flight);

/* For the runner, with the lock: it gives up for a reason of its own. A waiter, or the
 * next caller to join, becomes the runner. */
void hc_single_flight_hand_over(struct hc_single_flight *flight);

#endif
