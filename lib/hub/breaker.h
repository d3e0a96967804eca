/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of an endpoint from the callers that asked it last: that it wants to be
 * left alone for a while, or that it is down.
 *
 * A pause is for the token that was told to pause (a 429), or for the repo that was asked
 * about (a 5xx with Retry-After). An outage is of one repo, when requests about it fail
 * several times in a row, or of the whole endpoint, when no connection can be made, or
 * requests about several repos fail with no good answer in between: so one broken repo
 * never closes the endpoint for the others.
 *
 * In an outage, callers with an older answer find out every few seconds whether it is
 * over (hc_breaker_try), and callers without one share one back-off: one of them asks at
 * the end of each pause (hc_breaker_acquire).
 *
 * Pure functions, the time is an argument; the owner of a shared one has a lock.
 */
#ifndef HC_HUB_BREAKER_H
#define HC_HUB_BREAKER_H

#include <base/hash.h>
#include <hubcache/error.h>

#include <stdbool.h>
#include <stdint.h>

enum {
    HC_BREAKER_FAILURES = 3,   /* then it is down */
    HC_BREAKER_OPEN_MS = 3000, /* between two questions of callers with an older answer */
    HC_BREAKER_REPOS = 32,
    HC_BREAKER_THROTTLES = 64
};

/* Zero: no failure yet. */
struct hc_circuit {
    unsigned failures;      /* in a row; at HC_BREAKER_FAILURES it is down */
    int64_t open_until_ms;  /* for callers with an older answer */
    int64_t trial_at_ms;    /* for the others: when one of them asks again */
    unsigned trials_failed; /* since it began */
    bool is_half_open;      /* one of them is asking */
};

/* The newest failures of one repo. */
struct hc_repo_circuit {
    struct hc_keyed_hash repo;
    struct hc_circuit circuit;
    bool is_counted;   /* among the failures of the endpoint */
    int64_t failed_ms; /* when, last; 0: the place is free */
};

struct hc_throttle {
    struct hc_keyed_hash
        key; /* a token (with RATE_LIMITED) or a repo; zero: no token, any repo */
    enum hc_reason reason;
    int64_t until_ms;
};

/* Zero: nothing is known, and nothing held against it. */
struct hc_breaker {
    struct hc_circuit endpoint;
    struct hc_repo_circuit repos[HC_BREAKER_REPOS];
    struct hc_throttle throttles[HC_BREAKER_THROTTLES];
};

/* Who asks, and about what. */
struct hc_breaker_key {
    struct hc_keyed_hash token; /* zero: none is sent */
    struct hc_keyed_hash repo;
};

/* It gave a good answer. */
void hc_breaker_record_success(struct hc_breaker *breaker,
                               const struct hc_breaker_key *key);

/* How a request failed. */
struct hc_breaker_failure {
    bool was_sent;  /* a server had the request */
    bool was_trial; /* hc_breaker_acquire had said HC_BREAKER_HALF_OPEN */
    int64_t now_ms;
    int64_t pause_ms; /* before the next probe; see hc_breaker_pauses */
};
void hc_breaker_record_failure(struct hc_breaker *breaker,
                               const struct hc_breaker_key *key,
                               const struct hc_breaker_failure *failure);

/* How many probes in a row have failed: what the next pause depends on. */
unsigned hc_breaker_pauses(struct hc_breaker *breaker, const struct hc_breaker_key *key);

/* It wants no question for `ms`: with RATE_LIMITED of this token, else about this repo or,
 * while all of it is down, about any. */
void hc_breaker_throttle(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                         const struct hc_throttle *throttle, int64_t now_ms);

/* The longest pause that holds for the asker; NULL: none. */
const struct hc_throttle *hc_breaker_find_throttle(const struct hc_breaker *breaker,
                                                   const struct hc_breaker_key *key,
                                                   int64_t now_ms);

/* How long it still counts as down for callers with an older answer; 0: it is up, or may
 * be. */
int64_t hc_breaker_open_ms(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                           int64_t now_ms);

/*
 * How good it would be to ask another endpoint first: the pause, or being down. It is not
 * known when what is down comes back, so one is as good as the other there.
 */
int64_t hc_breaker_unavailable_ms(struct hc_breaker *breaker,
                                  const struct hc_breaker_key *key, int64_t now_ms);

/* hc_breaker_open_ms for a caller with an older answer that is about to ask: 0 to one of
 * them now and then, which is to find out. */
int64_t hc_breaker_try(struct hc_breaker *breaker, const struct hc_breaker_key *key,
                       int64_t now_ms);

enum hc_breaker_turn {
    HC_BREAKER_CLOSED,    /* it is not down */
    HC_BREAKER_HALF_OPEN, /* it is, and this caller finds out for all whether it still is */
    HC_BREAKER_WAIT,      /* another caller is about to, or will be in `wait_ms` */
    HC_BREAKER_STILL_OPEN /* another one has, since this caller began to wait: it still is */
};

/*
 * The turn of a caller without an older answer. `seen` is zero at first and keeps what the
 * caller has waited through. A probe ends with hc_breaker_record_success, hc_breaker_record_failure or
 * hc_breaker_release_trial.
 */
struct hc_breaker_wait {
    bool is_waiting;
    unsigned trials_failed;
    int64_t wait_ms;
};
enum hc_breaker_turn hc_breaker_acquire(struct hc_breaker *breaker,
                                        const struct hc_breaker_key *key,
                                        struct hc_breaker_wait *seen, int64_t now_ms);

/* The caller that was to find out leaves without having heard anything. */
void hc_breaker_release_trial(struct hc_breaker *breaker,
                              const struct hc_breaker_key *key);

#endif
