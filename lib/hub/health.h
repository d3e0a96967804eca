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
 * over (hc_health_probe), and callers without one share one back-off: one of them asks at
 * the end of each pause (hc_health_turn).
 *
 * Pure functions, the time is an argument; the owner of a shared one has a lock.
 */
#ifndef HC_HUB_HEALTH_H
#define HC_HUB_HEALTH_H

#include <base/keyed_hash.h>
#include <hubcache/error.h>

#include <stdbool.h>
#include <stdint.h>

enum {
    HC_FAILURES_MAX = 3, /* then it is down */
    HC_DOWN_MS = 3000,   /* between two questions of callers with an older answer */
    HC_HEALTH_REPOS = 32,
    HC_HEALTH_PAUSES = 64
};

/* Zero: no failure yet. */
struct hc_outage {
    unsigned failures;      /* in a row; at HC_FAILURES_MAX it is down */
    int64_t down_until_ms;  /* for callers with an older answer */
    int64_t probe_at_ms;    /* for the others: when one of them asks again */
    unsigned probes_failed; /* since it began */
    bool is_probed;         /* one of them is asking */
};

/* The newest failures of one repo. */
struct hc_repo_health {
    struct hc_keyed_hash repo;
    struct hc_outage outage;
    bool is_counted;   /* among the failures of the endpoint */
    int64_t failed_ms; /* when, last; 0: the place is free */
};

struct hc_health_pause {
    struct hc_keyed_hash
        of; /* a token (with RATE_LIMITED) or a repo; zero: no token, any repo */
    enum hc_reason reason;
    int64_t until_ms;
};

/* Zero: nothing is known, and nothing held against it. */
struct hc_health {
    struct hc_outage whole;
    struct hc_repo_health repos[HC_HEALTH_REPOS];
    struct hc_health_pause pauses[HC_HEALTH_PAUSES];
};

/* Who asks, and about what. */
struct hc_asker {
    struct hc_keyed_hash token; /* zero: none is sent */
    struct hc_keyed_hash repo;
};

/* It gave a good answer. */
void hc_health_rise(struct hc_health *health, const struct hc_asker *asker);

/* How a request failed. */
struct hc_health_failure {
    bool was_sent;  /* a server had the request */
    bool was_probe; /* hc_health_turn had said HC_TURN_PROBE */
    int64_t now_ms;
    int64_t pause_ms; /* before the next probe; see hc_health_probes */
};
void hc_health_fail(struct hc_health *health, const struct hc_asker *asker,
                    const struct hc_health_failure *failure);

/* How many probes in a row have failed: what the next pause depends on. */
unsigned hc_health_probes(struct hc_health *health, const struct hc_asker *asker);

/* It wants no question for `ms`: with RATE_LIMITED of this token, else about this repo or,
 * while all of it is down, about any. */
void hc_health_hold(struct hc_health *health, const struct hc_asker *asker,
                    const struct hc_health_pause *pause, int64_t now_ms);

/* The longest pause that holds for the asker; NULL: none. */
const struct hc_health_pause *hc_health_held(const struct hc_health *health,
                                             const struct hc_asker *asker,
                                             int64_t now_ms);

/* How long it still counts as down for callers with an older answer; 0: it is up, or may
 * be. */
int64_t hc_health_down_ms(struct hc_health *health, const struct hc_asker *asker,
                          int64_t now_ms);

/*
 * How good it would be to ask another endpoint first: the pause, or being down. It is not
 * known when what is down comes back, so one is as good as the other there.
 */
int64_t hc_health_away_ms(struct hc_health *health, const struct hc_asker *asker,
                          int64_t now_ms);

/* hc_health_down_ms for a caller with an older answer that is about to ask: 0 to one of
 * them now and then, which is to find out. */
int64_t hc_health_probe(struct hc_health *health, const struct hc_asker *asker,
                        int64_t now_ms);

enum hc_download_lock {
    HC_TURN_ASK,   /* it is not down */
    HC_TURN_PROBE, /* it is, and this caller finds out for all whether it still is */
    HC_TURN_WAIT,  /* another caller is about to, or will be in `wait_ms` */
    HC_TURN_SHARED /* another one has, since this caller began to wait: it still is */
};

/*
 * The turn of a caller without an older answer. `seen` is zero at first and keeps what the
 * caller has waited through. A probe ends with hc_health_rise, hc_health_fail or
 * hc_health_leave.
 */
struct hc_turn_seen {
    bool is_waiting;
    unsigned probes_failed;
    int64_t wait_ms;
};
enum hc_download_lock hc_health_turn(struct hc_health *health,
                                     const struct hc_asker *asker,
                                     struct hc_turn_seen *seen, int64_t now_ms);

/* The caller that was to find out leaves without having heard anything. */
void hc_health_leave(struct hc_health *health, const struct hc_asker *asker);

#endif
