/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flight is in the list while it may be joined: until it is finished, or its last
 * caller has left. One lock guards the list and all flights. Each flight has a condition
 * of its own, on which its waiters sleep and look again after every change, so that a
 * change wakes no caller of another flight. The runner holds no lock while it works.
 */
#include "single_flight.h"

#include "cancellation.h"
#include "error.h"

void hc_single_flights_init(struct hc_single_flights *flights,
                            const struct hc_single_flight_rules *rules)
{
    flights->rules = rules;
    LIST_INIT(&flights->shared.list);
    (void)pthread_mutex_init(&flights->shared.lock, NULL);
}

void hc_single_flights_clear(struct hc_single_flights *flights)
{
    (void)pthread_mutex_destroy(&flights->shared.lock);
}

static struct hc_single_flight *
single_flights_find(const struct hc_single_flights *flights, const void *key)
{
    struct hc_single_flight *flight;

    LIST_FOREACH(flight, &flights->shared.list, link)
    {
        if (flights->rules->has_key(flight, key))
            return flight;
    }
    return NULL;
}

struct hc_single_flight *hc_single_flight_join(struct hc_single_flights *flights,
                                               const void *key, struct hc_error *err)
{
    struct hc_single_flight *flight;
    HC_LOCKED(&flights->shared.lock);

    flight = single_flights_find(flights, key);
    if (!flight) {
        flight = flights->rules->create(key, err);
        if (!flight)
            return NULL;
        hc_condition_init(&flight->changed);
        LIST_INSERT_HEAD(&flights->shared.list, flight, link);
    }
    flight->callers++;
    return flight;
}

static bool single_flight_drop_caller(struct hc_single_flights *flights,
                                      struct hc_single_flight *flight)
{
    HC_LOCKED(&flights->shared.lock);

    if (--flight->callers > 0)
        return false;
    if (!flight->is_finished)
        LIST_REMOVE(flight, link);
    return true;
}

void hc_single_flight_leave(struct hc_single_flights *flights,
                            struct hc_single_flight *flight)
{
    if (!single_flight_drop_caller(flights, flight))
        return;
    (void)pthread_cond_destroy(&flight->changed);
    flights->rules->destroy(flight);
}

int hc_single_flight_wait(struct hc_single_flights *flights,
                          struct hc_single_flight *flight, const void *caller,
                          struct hc_cancellation *cancellation, struct hc_error *err)
{
    const struct hc_single_flight_rules *rules = flights->rules;
    HC_LOCKED(&flights->shared.lock);

    while (!flight->is_finished) {
        int answer = rules->decide ? rules->decide(flight, caller, err) : 0;

        if (answer != 0)
            return answer;
        if (!flight->has_runner) {
            flight->has_runner = true;
            return HC_FLIGHT_RUN;
        }
        if (hc_cancellation_wait(cancellation, &flight->changed, &flights->shared.lock,
                                 HC_NO_DEADLINE, err) < 0 &&
            !flight->is_finished) /* an outcome that is there counts more */
            return -1;
    }
    return HC_FLIGHT_FINISHED;
}

void hc_single_flight_finish(struct hc_single_flight *flight)
{
    flight->has_runner = false;
    flight->is_finished = true;
    LIST_REMOVE(flight, link);
    (void)pthread_cond_broadcast(&flight->changed);
}

void hc_single_flight_hand_over(struct hc_single_flight *flight)
{
    flight->has_runner = false;
    (void)pthread_cond_broadcast(&flight->changed);
}
