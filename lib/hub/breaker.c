/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repos and throttles have a fixed number of slots, which are searched one after the
 * other: there are few, and a request over the network follows. When all are taken, the
 * repo whose last failure is the oldest, or the throttle that ends first, is forgotten:
 * at worst a request is sent that need not have been.
 */
#include "breaker.h"

#include <stddef.h>

static const struct hc_keyed_hash any;

static struct hc_circuit *breaker_find_repo(struct hc_breaker *breaker,
                                            const struct hc_keyed_hash *repo)
{
    for (size_t i = 0; i < HC_BREAKER_REPOS; i++) {
        struct hc_circuit *slot = &breaker->repos[i];

        if (slot->failed_ms != 0 && hc_keyed_hash_equals(&slot->repo, repo))
            return slot;
    }
    return NULL;
}

/* The slot of the repo; a new one if it has none. */
static struct hc_circuit *breaker_take_repo(struct hc_breaker *breaker,
                                            const struct hc_keyed_hash *repo,
                                            int64_t now_ms)
{
    struct hc_circuit *slot = breaker_find_repo(breaker, repo);

    if (!slot) {
        slot = &breaker->repos[0];
        for (size_t i = 1; i < HC_BREAKER_REPOS; i++) {
            if (breaker->repos[i].failed_ms < slot->failed_ms)
                slot = &breaker->repos[i];
        }
        *slot = (struct hc_circuit){.repo = *repo};
    }
    slot->failed_ms = now_ms > 0 ? now_ms : 1;
    return slot;
}

static bool circuit_is_open(const struct hc_circuit *circuit)
{
    return circuit->failures >= HC_BREAKER_FAILURES;
}

/* The open circuit in the way of the request; NULL: none. */
static struct hc_circuit *breaker_circuit_of(struct hc_breaker *breaker,
                                             const struct hc_breaker_key *key)
{
    struct hc_circuit *slot = breaker_find_repo(breaker, &key->repo);

    if (circuit_is_open(&breaker->endpoint))
        return &breaker->endpoint;
    return slot && circuit_is_open(slot) ? slot : NULL;
}

/* A good response about one repo proves the endpoint, but not the other repos: their
 * circuits stay as they are, and each counts anew among the failures of the endpoint. */
void hc_breaker_record_success(struct hc_breaker *breaker,
                               const struct hc_breaker_key *key)
{
    struct hc_circuit *slot = breaker_find_repo(breaker, &key->repo);

    if (slot)
        *slot = (struct hc_circuit){0};
    breaker->endpoint = (struct hc_circuit){0};
    for (size_t i = 0; i < HC_BREAKER_REPOS; i++)
        breaker->repos[i].is_counted = false;
}

/* The failure that opens the circuit and that of a trial request begin a pause. Others
 * come from requests that were sent before it opened, and do not prolong the pause. */
static void circuit_add_failure(struct hc_circuit *circuit,
                                const struct hc_breaker_failure *failure)
{
    bool was_open = circuit_is_open(circuit);

    if (!was_open)
        circuit->failures++;
    if (!circuit_is_open(circuit))
        return;
    circuit->open_until_ms = failure->now_ms + HC_BREAKER_OPEN_MS;
    if (was_open && !failure->was_trial)
        return;
    circuit->trials_failed += was_open ? 1 : 0;
    circuit->trial_at_ms = failure->now_ms + failure->pause_ms;
    circuit->is_half_open = false;
}

/*
 * A request that no server had says nothing of its repo: it counts for the endpoint. One
 * that a server failed counts for the repo, and for the endpoint once per repo since the
 * last good response; while the endpoint's circuit is open it counts every time, for a
 * trial request of any repo tells whether it can close.
 */
void hc_breaker_record_failure(struct hc_breaker *breaker,
                               const struct hc_breaker_key *key,
                               const struct hc_breaker_failure *failure)
{
    struct hc_circuit *slot = breaker_find_repo(breaker, &key->repo);

    if (!failure->was_sent) {
        circuit_add_failure(&breaker->endpoint, failure);
        if (slot && failure->was_trial)
            circuit_add_failure(slot, failure);
        return;
    }
    slot = breaker_take_repo(breaker, &key->repo, failure->now_ms);
    circuit_add_failure(slot, failure);
    if (!slot->is_counted || circuit_is_open(&breaker->endpoint))
        circuit_add_failure(&breaker->endpoint, failure);
    slot->is_counted = true;
}

unsigned hc_breaker_pauses(struct hc_breaker *breaker, const struct hc_breaker_key *key)
{
    const struct hc_circuit *circuit = breaker_circuit_of(breaker, key);

    return circuit ? circuit->trials_failed + 1 : 0;
}

static bool throttle_applies(const struct hc_throttle *throttle,
                             const struct hc_breaker_key *key)
{
    if (throttle->reason == HC_HUB_RATE_LIMITED)
        return hc_keyed_hash_equals(&throttle->key, &key->token);
    return hc_keyed_hash_equals(&throttle->key, &any) ||
           hc_keyed_hash_equals(&throttle->key, &key->repo);
}

/* A shorter throttle than one that applies already is dropped: responses to requests that
 * were sent earlier arrive later, and must not let callers back too soon. */
void hc_breaker_throttle(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                         const struct hc_throttle *throttle, int64_t now_ms)
{
    const struct hc_throttle *longest = hc_breaker_find_throttle(breaker, key, now_ms);
    struct hc_throttle *slot = &breaker->throttles[0];

    if (longest && longest->until_ms >= throttle->until_ms)
        return;
    for (size_t i = 1; i < HC_BREAKER_THROTTLES; i++) {
        if (breaker->throttles[i].until_ms < slot->until_ms)
            slot = &breaker->throttles[i];
    }
    *slot = *throttle;
    if (throttle->reason == HC_HUB_RATE_LIMITED)
        slot->key = key->token;
    else
        slot->key = circuit_is_open(&breaker->endpoint) ? any : key->repo;
}

const struct hc_throttle *hc_breaker_find_throttle(const struct hc_breaker *breaker,
                                                   const struct hc_breaker_key *key,
                                                   int64_t now_ms)
{
    const struct hc_throttle *longest = NULL;

    for (size_t i = 0; i < HC_BREAKER_THROTTLES; i++) {
        const struct hc_throttle *throttle = &breaker->throttles[i];

        if (throttle->until_ms > now_ms && throttle_applies(throttle, key) &&
            (!longest || throttle->until_ms > longest->until_ms))
            longest = throttle;
    }
    return longest;
}

int64_t hc_breaker_open_ms(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                           int64_t now_ms)
{
    const struct hc_circuit *circuit = breaker_circuit_of(breaker, key);

    return circuit && circuit->open_until_ms > now_ms ? circuit->open_until_ms - now_ms
                                                      : 0;
}

int64_t hc_breaker_unavailable_ms(struct hc_breaker *breaker,
                                  const struct hc_breaker_key *key, int64_t now_ms)
{
    const struct hc_throttle *throttle = hc_breaker_find_throttle(breaker, key, now_ms);
    int64_t throttled_ms = throttle ? throttle->until_ms - now_ms : 0;
    int64_t open_ms =
        hc_breaker_open_ms(breaker, key, now_ms) > 0 ? HC_BREAKER_OPEN_MS : 0;

    return throttled_ms > open_ms ? throttled_ms : open_ms;
}

int64_t hc_breaker_try(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                       int64_t now_ms)
{
    struct hc_circuit *circuit = breaker_circuit_of(breaker, key);
    int64_t left_ms = hc_breaker_open_ms(breaker, key, now_ms);

    /* One try at a time: the others wait for what comes of it. */
    if (circuit && left_ms == 0)
        circuit->open_until_ms = now_ms + HC_BREAKER_OPEN_MS;
    return left_ms;
}

/* The count of failed trials tells a caller that has waited from one that has just come:
 * the latter waits for the next trial, and does not share the failure of the last one. */
enum hc_breaker_turn hc_breaker_acquire(struct hc_breaker *breaker,
                                        const struct hc_breaker_key *key,
                                        struct hc_breaker_wait *wait, int64_t now_ms)
{
    struct hc_circuit *circuit = breaker_circuit_of(breaker, key);

    if (!circuit)
        return HC_BREAKER_CLOSED;
    if (wait->is_waiting && circuit->trials_failed != wait->trials_failed)
        return HC_BREAKER_STILL_OPEN;
    wait->is_waiting = true;
    wait->trials_failed = circuit->trials_failed;
    wait->wait_ms = circuit->trial_at_ms > now_ms ? circuit->trial_at_ms - now_ms : 0;
    if (circuit->is_half_open || wait->wait_ms > 0)
        return HC_BREAKER_WAIT;
    circuit->is_half_open = true;
    return HC_BREAKER_HALF_OPEN;
}

void hc_breaker_release_trial(struct hc_breaker *breaker,
                              const struct hc_breaker_key *key)
{
    struct hc_circuit *slot = breaker_find_repo(breaker, &key->repo);

    breaker->endpoint.is_half_open = false;
    if (slot)
        slot->is_half_open = false;
}

bool hc_breaker_is_open(const struct hc_breaker *breaker)
{
    return breaker->endpoint.failures >= HC_BREAKER_FAILURES;
}

bool hc_breaker_is_throttled(const struct hc_breaker *breaker, int64_t now_ms)
{
    for (size_t i = 0; i < HC_BREAKER_THROTTLES; i++) {
        if (breaker->throttles[i].until_ms > now_ms)
            return true;
    }
    return false;
}
