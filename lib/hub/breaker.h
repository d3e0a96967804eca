/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A circuit breaker: what is known of an endpoint from the requests that were sent to it
 * last. A circuit is of one repo, or of the endpoint as a whole. Its states:
 *
 *     closed      Requests are sent. A failure (no response, 408, 5xx) is counted; a good
 *                 response sets the count to zero. HC_BREAKER_FAILURES in a row: open.
 *     open        Callers with an older answer use it, and one of them tries every
 *                 HC_BREAKER_OPEN_MS (hc_breaker_try). Callers without one share one
 *                 back-off: at the end of each pause, one of them sends a trial request:
 *                 half-open (hc_breaker_acquire).
 *     half-open   The trial request is under way and the others wait for it. A good
 *                 response: closed. A failure: open, with a longer pause, and it is the
 *                 failure of all that waited. No trial after all (the caller left): open.
 *
 * The circuit of a repo opens when requests about that repo fail; that of the endpoint
 * when no connection can be made, or when requests about several repos fail with no good
 * response in between. So one broken repo never keeps callers from the others.
 *
 * Beside that, an endpoint is *throttled* until a time that it asked for, in any state:
 * by a 429 for the token that was told so (RFC 6585, 4), by a 5xx with Retry-After (RFC
 * 9110, 10.2.3) for the repo that was asked about, or for all repos while the endpoint's
 * circuit is open. A 429 is no failure of the circuit: the endpoint works.
 *
 * The pattern is M. Nygard's ("Release It!"); the reference client has none, and each of
 * its processes asks by itself (http_backoff() in utils/_http.py).
 *
 * Pure functions, the time is an argument; a breaker that threads share is guarded by its
 * owner's lock.
 */
#ifndef HC_HUB_BREAKER_H
#define HC_HUB_BREAKER_H

#include <base/hash.h>
#include <hubcache/error.h>

#include <stdbool.h>
#include <stdint.h>

enum {
    HC_BREAKER_FAILURES = 3,   /* in a row: the circuit opens */
    HC_BREAKER_OPEN_MS = 3000, /* between two tries of callers with an older answer */
    HC_BREAKER_REPOS = 32,
    HC_BREAKER_THROTTLES = 64
};

/* Zero: closed, no failure yet. */
struct hc_circuit {
    unsigned failures;      /* in a row; at HC_BREAKER_FAILURES it is open */
    int64_t open_until_ms;  /* for callers with an older answer */
    int64_t trial_at_ms;    /* for the others: when one of them sends a trial request */
    unsigned trials_failed; /* since it opened */
    bool is_half_open;

    /* Of a repo's circuit: */
    struct hc_keyed_hash repo;
    bool is_counted;   /* among the failures of the endpoint */
    int64_t failed_ms; /* when, last; 0: the slot is free */
};

struct hc_throttle {
    struct hc_keyed_hash key; /* of a token (HUB_RATE_LIMITED; zero: of no token), or of a
                                 repo (zero: of any) */
    enum hc_reason reason;
    int64_t until_ms;
};

/* Zero: all circuits are closed, and there is no throttle. */
struct hc_breaker {
    struct hc_circuit endpoint; /* of the endpoint as a whole */
    struct hc_circuit repos[HC_BREAKER_REPOS];
    struct hc_throttle throttles[HC_BREAKER_THROTTLES];
};

/* A request: with which token, about which repo. */
struct hc_breaker_key {
    struct hc_keyed_hash token; /* zero: none is sent */
    struct hc_keyed_hash repo;
};

/* A good response came. */
void hc_breaker_record_success(struct hc_breaker *breaker,
                               const struct hc_breaker_key *key);

struct hc_breaker_failure {
    bool was_sent;  /* a server had the request */
    bool was_trial; /* hc_breaker_acquire had said HC_BREAKER_HALF_OPEN */
    int64_t now_ms;
    int64_t pause_ms; /* before the next trial; see hc_breaker_pauses */
};
void hc_breaker_record_failure(struct hc_breaker *breaker,
                               const struct hc_breaker_key *key,
                               const struct hc_breaker_failure *failure);

/* How many pauses the circuit has been open for, the present one included, which the
 * length of the next one depends on; 0: it is closed. */
unsigned hc_breaker_pauses(struct hc_breaker *breaker, const struct hc_breaker_key *key);

/* Throttles until `throttle->until_ms`, unless that is so already: requests with the
 * token of `key` when the reason is HUB_RATE_LIMITED; else requests about its repo, or
 * about any repo while the circuit of the endpoint is open. */
void hc_breaker_throttle(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                         const struct hc_throttle *throttle, int64_t now_ms);

/* The longest throttle of such requests; NULL: none. */
const struct hc_throttle *hc_breaker_find_throttle(const struct hc_breaker *breaker,
                                                   const struct hc_breaker_key *key,
                                                   int64_t now_ms);

/* For how long the circuit is open to callers with an older answer; 0: it is closed, or
 * one of them may try. */
int64_t hc_breaker_open_ms(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                           int64_t now_ms);

/* How much another endpoint is to be preferred: the time that the throttle lasts, or
 * HC_BREAKER_OPEN_MS for any open circuit, for it is not known when that closes. */
int64_t hc_breaker_unavailable_ms(struct hc_breaker *breaker,
                                  const struct hc_breaker_key *key, int64_t now_ms);

/* hc_breaker_open_ms() for a caller with an older answer that is about to send its
 * request: when that is 0, the circuit is open again to the other ones until its request
 * ends. */
int64_t hc_breaker_try(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                       int64_t now_ms);

/* For metrics: whether the circuit of the endpoint as a whole is open, and whether it
 * throttles any caller. */
bool hc_breaker_is_open(const struct hc_breaker *breaker);
bool hc_breaker_is_throttled(const struct hc_breaker *breaker, int64_t now_ms);

enum hc_breaker_turn {
    HC_BREAKER_CLOSED,    /* send the request */
    HC_BREAKER_HALF_OPEN, /* send it, as the trial request for all */
    HC_BREAKER_WAIT,      /* another caller's trial is under way, or due in `wait_ms` */
    HC_BREAKER_STILL_OPEN /* a trial has failed since this caller began to wait */
};

/* What a caller has waited through; zero at first. */
struct hc_breaker_wait {
    bool is_waiting;
    unsigned trials_failed;
    int64_t wait_ms;
};

/* The turn of a caller without an older answer. A trial ends with
 * hc_breaker_record_success, hc_breaker_record_failure or hc_breaker_release_trial. */
enum hc_breaker_turn hc_breaker_acquire(struct hc_breaker *breaker,
                                        const struct hc_breaker_key *key,
                                        struct hc_breaker_wait *wait, int64_t now_ms);

/* The trial request was not sent, or ended without telling anything of the endpoint. */
void hc_breaker_release_trial(struct hc_breaker *breaker,
                              const struct hc_breaker_key *key);

#endif
