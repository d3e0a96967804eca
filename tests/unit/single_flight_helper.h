/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How tests know that all their threads have joined a single flight.
 */
#ifndef HC_UNIT_SINGLE_FLIGHT_HELPER_H
#define HC_UNIT_SINGLE_FLIGHT_HELPER_H

#include <base/auto.h>
#include <base/single_flight.h>

#include <time.h>

/* The callers of all flights that may be joined. */
static inline unsigned single_flights_callers(struct hc_single_flights *flights)
{
    const struct hc_single_flight *flight;
    unsigned callers = 0;
    HC_LOCKED(&flights->shared.lock);

    LIST_FOREACH(flight, &flights->shared.list, link)
    {
        callers += flight->callers;
    }
    return callers;
}

/* Returns when there are as many; a test that hangs here has failed. */
static inline void single_flights_await_callers(struct hc_single_flights *flights,
                                                unsigned count)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    while (single_flights_callers(flights) < count)
        (void)nanosleep(&moment, NULL);
}

#endif
