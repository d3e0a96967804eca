/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flight is in the list while it may still be joined; who is aboard is a count. The
 * list's lock guards every member of every flight and is never held across I/O: cargo is
 * taken off under it and dropped outside. The leader may use the cargo without it, as
 * nobody else changes it meanwhile; others only ever look at an ingest's offset, under
 * the lock.
 */
#include "flight.h"

#include <base/cancellation.h>
#include <base/condition.h>
#include <base/error.h>
#include <base/keyed_hash.h>
#include <base/text.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* A caller's cancellation does not reach a flight's condition: waiters look this often.
 */
enum { GLANCE_MS = 100 };

struct hc_flight {
    LIST_ENTRY(hc_flight) link;
    char folder[HC_REPO_FOLDER_MAX + 1];
    char etag[HC_ETAG_MAX + 1];
    bool is_forced;
    unsigned aboard;
    bool is_led;
    bool has_landed;
    struct hc_error outcome;        /* reason HC_OK: well */
    struct hc_keyed_hash *admitted; /* credentials, */
    size_t admitted_count;
    struct hc_keyed_hash
        refused;             /* and, with `refusal`, those of a leader that was refused */
    struct hc_error refusal; /* reason HC_OK: none was */
    struct hc_cargo cargo;
    struct hc_arrival elsewhere;
    atomic_uint retries;
    uint64_t given; /* what was there when we loaded the ingest, or sighted who has it */
    pthread_cond_t news;
};

struct hc_flights {
    struct {
        pthread_mutex_t lock;
        LIST_HEAD(, hc_flight) list;
    } shared;
};

static void lock(struct hc_flights *flights)
{
    (void)pthread_mutex_lock(&flights->shared.lock);
}

static void unlock(struct hc_flights *flights)
{
    (void)pthread_mutex_unlock(&flights->shared.lock);
}

static bool is_named(const struct hc_flight *flight, const struct hc_repo *repo,
                     const char *etag)
{
    return strcmp(flight->etag, etag) == 0 && strcmp(flight->folder, repo->folder) == 0;
}

static struct hc_flight *find(struct hc_flights *flights,
                              const struct hc_flight_name *name)
{
    struct hc_flight *flight;

    LIST_FOREACH(flight, &flights->shared.list, link)
    {
        if (is_named(flight, name->repo, name->etag) &&
            flight->is_forced == name->is_forced)
            return flight;
    }
    return NULL;
}

static bool is_admitted(const struct hc_flight *flight, const struct hc_keyed_hash *key)
{
    for (size_t i = 0; i < flight->admitted_count; i++) {
        if (hc_keyed_hash_equals(&flight->admitted[i], key))
            return true;
    }
    return false;
}

static int admit(struct hc_flight *flight, const struct hc_keyed_hash *key,
                 struct hc_error *err)
{
    struct hc_keyed_hash *admitted =
        reallocarray(flight->admitted, flight->admitted_count + 1,
                     sizeof *flight->admitted);

    if (!admitted)
        return hc_fail_memory(err);
    flight->admitted = admitted;
    flight->admitted[flight->admitted_count++] = *key;
    return 0;
}

static struct hc_flight *make(const struct hc_flight_name *name,
                              const struct hc_keyed_hash *key, struct hc_error *err)
{
    struct hc_flight *flight = calloc(1, sizeof *flight);

    if (!flight) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (admit(flight, key, err) < 0) {
        free(flight);
        return NULL;
    }
    (void)hc_format(flight->folder, sizeof flight->folder, "%s", name->repo->folder);
    (void)hc_format(flight->etag, sizeof flight->etag, "%s", name->etag);
    flight->is_forced = name->is_forced;
    hc_condition_init(&flight->news);
    return flight;
}

/* The lock goes last: whoever gets it next finds no half-written blob of ours. */
static void drop_cargo(struct hc_cargo cargo)
{
    hc_ingest_drop(cargo.ingest);
    hc_lock_release(cargo.lock);
}

static void scrap(struct hc_flight *flight)
{
    drop_cargo(flight->cargo);
    free(flight->admitted);
    (void)pthread_cond_destroy(&flight->news);
    free(flight);
}

static void glance(struct hc_flights *flights, struct hc_flight *flight,
                   struct hc_cancellation *call)
{
    int64_t left = hc_cancellation_remaining_ms(call);
    hc_condition_wait(&flight->news, &flights->shared.lock,
                      left < GLANCE_MS ? left : GLANCE_MS);
}

/* Whether waiting is over, under the lock; then `*answer` is hc_flight_wait's. */
static bool is_decided(struct hc_flight *flight, const struct hc_keyed_hash *key,
                       int *answer, struct hc_error *err)
{
    const struct hc_error *failure = NULL;

    *answer = HC_FLIGHT_DONE;
    if (flight->has_landed) {
        failure = &flight->outcome;
    } else if (!is_admitted(flight, key)) {
        *answer = HC_FLIGHT_PROVE;
        return true;
    } else if (flight->refusal.reason != HC_OK &&
               hc_keyed_hash_equals(&flight->refused, key)) {
        failure = &flight->refusal;
    } else if (flight->is_led) {
        return false;
    }

    if (!failure) {
        flight->is_led = true;
        *answer = HC_FLIGHT_LEAD;
    } else if (failure->reason != HC_OK) {
        *err = *failure;
        *answer = -1;
    }
    return true;
}

struct hc_flights *hc_flights_new(struct hc_error *err)
{
    struct hc_flights *flights = calloc(1, sizeof *flights);

    if (!flights) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&flights->shared.lock, NULL);
    LIST_INIT(&flights->shared.list);
    return flights;
}

void hc_flights_free(struct hc_flights *flights)
{
    if (!flights)
        return;
    (void)pthread_mutex_destroy(&flights->shared.lock);
    free(flights);
}

struct hc_flight *hc_flight_join(struct hc_flights *flights,
                                 const struct hc_flight_name *name,
                                 const struct hc_caller *caller, struct hc_error *err)
{
    const struct hc_keyed_hash key = hc_keyed_hash_of(caller->token);
    struct hc_flight *flight;

    lock(flights);
    flight = find(flights, name);
    if (!flight) {
        flight = make(name, &key, err);
        if (flight)
            LIST_INSERT_HEAD(&flights->shared.list, flight, link);
    }
    if (flight)
        flight->aboard++;
    unlock(flights);
    return flight;
}

int hc_flight_admit(struct hc_flights *flights, struct hc_flight *flight,
                    const struct hc_caller *caller, struct hc_error *err)
{
    const struct hc_keyed_hash key = hc_keyed_hash_of(caller->token);
    int result = 0;

    lock(flights);
    if (!is_admitted(flight, &key))
        result = admit(flight, &key, err);
    unlock(flights);
    return result;
}

void hc_flight_leave(struct hc_flights *flights, struct hc_flight *flight)
{
    bool is_last;

    lock(flights);
    is_last = --flight->aboard == 0;
    if (is_last && !flight->has_landed)
        LIST_REMOVE(flight, link);
    unlock(flights);
    if (is_last)
        scrap(flight);
}

int hc_flight_wait(struct hc_flights *flights, struct hc_flight *flight,
                   const struct hc_caller *caller, struct hc_error *err)
{
    const struct hc_keyed_hash key = hc_keyed_hash_of(caller->token);
    int answer;

    lock(flights);
    while (!is_decided(flight, &key, &answer, err)) {
        if (hc_cancellation_check(caller->call, err) < 0) {
            answer = -1;
            break;
        }
        glance(flights, flight, caller->call);
    }
    unlock(flights);
    return answer;
}

struct hc_cargo hc_flight_cargo(struct hc_flights *flights, struct hc_flight *flight)
{
    struct hc_cargo cargo;

    lock(flights);
    cargo = flight->cargo;
    unlock(flights);
    return cargo;
}

void hc_flight_load(struct hc_flights *flights, struct hc_flight *flight,
                    struct hc_cargo cargo)
{
    lock(flights);
    flight->cargo = cargo;
    flight->given =
        cargo.ingest ? hc_ingest_inherited(cargo.ingest) + hc_ingest_shared(cargo.ingest)
                     : 0;
    unlock(flights);
}

atomic_uint *hc_flight_retries(struct hc_flight *flight)
{
    return &flight->retries;
}

void hc_flight_land(struct hc_flights *flights, struct hc_flight *flight,
                    const struct hc_error *failure)
{
    struct hc_cargo cargo = hc_flight_cargo(flights, flight);

    hc_flight_load(flights, flight, (struct hc_cargo){0});
    drop_cargo(cargo);
    lock(flights);
    flight->has_landed = true;
    if (failure)
        flight->outcome = *failure;
    LIST_REMOVE(flight, link); /* who comes now looks on the disk first */
    (void)pthread_cond_broadcast(&flight->news);
    unlock(flights);
}

void hc_flight_hand_over(struct hc_flights *flights, struct hc_flight *flight,
                         const struct hc_caller *refused, const struct hc_error *refusal)
{
    lock(flights);
    flight->refusal = refused ? *refusal : (struct hc_error){0};
    if (refused)
        flight->refused = hc_keyed_hash_of(refused->token);
    flight->is_led = false;
    (void)pthread_cond_broadcast(&flight->news);
    unlock(flights);
}

void hc_flight_sight(struct hc_flights *flights, struct hc_flight *flight,
                     const struct hc_arrival *elsewhere)
{
    lock(flights);
    if (!flight->elsewhere.is_elsewhere)
        flight->given = elsewhere->bytes;
    flight->elsewhere = *elsewhere;
    unlock(flights);
}

static struct hc_course course_of(const struct hc_flight *flight)
{
    struct hc_ingest *ingest = flight->cargo.ingest;
    struct hc_course course = {.arrival = flight->elsewhere,
                               .given = flight->given,
                               .retries = atomic_load(&flight->retries)};

    if (ingest)
        course.arrival =
            (struct hc_arrival){.bytes = hc_pieces_arrived(hc_ingest_pieces(ingest))};
    return course;
}

struct hc_course hc_flights_look(struct hc_flights *flights, const struct hc_repo *repo,
                                 const char *etag)
{
    const struct hc_flight *flight;
    struct hc_course course = {0};

    lock(flights);
    LIST_FOREACH(flight, &flights->shared.list, link)
    {
        if (is_named(flight, repo, etag) && course.arrival.bytes == 0)
            course = course_of(flight);
    }
    unlock(flights);
    return course;
}

unsigned hc_flights_count(struct hc_flights *flights)
{
    const struct hc_flight *flight;
    unsigned count = 0;

    lock(flights);
    LIST_FOREACH(flight, &flights->shared.list, link)
    {
        count++;
    }
    unlock(flights);
    return count;
}

unsigned hc_flights_aboard(struct hc_flights *flights, const struct hc_repo *repo,
                           const char *etag)
{
    const struct hc_flight *flight;
    unsigned aboard = 0;

    lock(flights);
    LIST_FOREACH(flight, &flights->shared.list, link)
    {
        if (is_named(flight, repo, etag))
            aboard += flight->aboard;
    }
    unlock(flights);
    return aboard;
}
