/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flights: blobs on their way, so that callers of this process who want the same blob
 * share one transfer. Of those aboard one leads and does the work on its own thread; the
 * others wait. A leader who leaves early hands over what has arrived; when nobody is
 * aboard any more it is left on the volume for who comes later.
 *
 * What is on its way is for those whom the Hub would give it to: the caller that begins a
 * flight asks the Hub with its own token; a caller with other credentials proves that the
 * Hub gives it the file before it waits for the bytes or takes them over. The calling
 * sequence, with an hc_flight_leave for every join:
 *
 *     flight = hc_flight_join(flights, &name, caller, &err);
 *     while ((turn = hc_flight_wait(flights, flight, caller, &err)) == HC_FLIGHT_PROVE)
 *         … ask the Hub with the caller's token, then hc_flight_admit(…)
 *     if (turn == HC_FLIGHT_LEAD) {
 *         … hc_flight_load(…), bring the bytes …
 *         hc_flight_land(…) or hc_flight_hand_over(…)
 *     }
 *     hc_flight_leave(flights, flight);
 *
 * Tokens are kept as keys only (base/keyed_hash.h).
 *
 * Callable from any thread.
 */
#ifndef HC_TRANSFER_FLIGHT_H
#define HC_TRANSFER_FLIGHT_H

#include "transfer.h"

#include <cache/lock.h>
#include <store/ingest.h>

struct hc_flights; /* those of one process; one lock guards them all */
struct hc_flight;

/* What a flight brings. A forced fetch does not share with one that may find the blob
 * there. */
struct hc_flight_name {
    const struct hc_repo *repo;
    const char *etag;
    bool is_forced;
};

/* What a flight has of the blob so far: the leader's to use, and to fill. */
struct hc_cargo {
    struct hc_lock *lock;
    struct hc_ingest *ingest;
};

struct hc_flights *hc_flights_new(struct hc_error *err);

/* Nobody may be aboard. */
void hc_flights_free(struct hc_flights *flights);
HC_DEFINE_AUTO(hc_flights, hc_flights_free)

/* The flight of that name, a new one to which the caller is admitted when there is none.
 * NULL when memory is short. */
struct hc_flight *hc_flight_join(struct hc_flights *flights,
                                 const struct hc_flight_name *name,
                                 const struct hc_caller *caller, struct hc_error *err);

/* The Hub has answered about the file with the caller's token: so it may have the blob. */
int hc_flight_admit(struct hc_flights *flights, struct hc_flight *flight,
                    const struct hc_caller *caller, struct hc_error *err);

/* The last one to leave drops the cargo. */
void hc_flight_leave(struct hc_flights *flights, struct hc_flight *flight);

enum { HC_FLIGHT_DONE = 0, HC_FLIGHT_LEAD = 1, HC_FLIGHT_PROVE = 2 };

/*
 * Waits until the blob is there (HC_FLIGHT_DONE), or it is the caller's turn to lead
 * (HC_FLIGHT_LEAD). HC_FLIGHT_PROVE, at once, when the caller is not admitted. -1 when the
 * flight failed, when a leader with the caller's token was turned away, or when the
 * caller's patience ended.
 */
int hc_flight_wait(struct hc_flights *flights, struct hc_flight *flight,
                   const struct hc_caller *caller, struct hc_error *err);

/*
 * For the leader: what is on board, and putting it there. Given cargo is the flight's.
 * An ingest that is restarted is loaded again: what it was given is lost.
 */
struct hc_cargo hc_flight_cargo(struct hc_flights *flights, struct hc_flight *flight);
void hc_flight_load(struct hc_flights *flights, struct hc_flight *flight,
                    struct hc_cargo cargo);

/* Requests that had to be repeated, for the leader to count. */
atomic_uint *hc_flight_retries(struct hc_flight *flight);

/* For the leader: it is over for all aboard, well (`failure` NULL) or not. Drops the
 * cargo. */
void hc_flight_land(struct hc_flights *flights, struct hc_flight *flight,
                    const struct hc_error *failure);

/*
 * For the leader: steps down for a reason that is its own. With `refused`, the Hub turned
 * it away: whoever has the same token shares the `refusal` rather than trying again.
 */
void hc_flight_hand_over(struct hc_flights *flights, struct hc_flight *flight,
                         const struct hc_caller *refused, const struct hc_error *refusal);

/* For the leader: another process brings the blob and has so many bytes; or no more. */
void hc_flight_sight(struct hc_flights *flights, struct hc_flight *flight,
                     const struct hc_arrival *elsewhere);

/* How the flight goes, forced or not, that brings this blob; zero without one. */
struct hc_course hc_flights_look(struct hc_flights *flights, const struct hc_repo *repo,
                                 const char *etag);

/* How many there are. */
unsigned hc_flights_count(struct hc_flights *flights);

/* How many are aboard the flights that bring it. */
unsigned hc_flights_aboard(struct hc_flights *flights, const struct hc_repo *repo,
                           const char *etag);

#endif
