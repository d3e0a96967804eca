/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which Hub tokens may have which repos, as the Hub said: an entry for each token, kept
 * as a keyed hash, endpoint and repo. The states of an entry:
 *
 *     granted   for the time to live. The hash of no token stands for every caller: the
 *               repo is public.
 *     expired   for as long again. It counts for a Hub that cannot be reached only.
 *     denied    for HC_ACCESS_DENIED_MS, with the Hub's refusal: not longer, for access
 *               may be given at any time.
 *     unknown   none of these
 *
 * The number of entries is bounded, a new one replaces that in its slot; there are fewer
 * slots for refusals, which are larger. Losing an entry costs a question. Times are
 * hc_monotonic_ms(), given by the caller. Callable from any thread.
 */
#ifndef HC_RESOLVER_ACCESS_MEMORY_H
#define HC_RESOLVER_ACCESS_MEMORY_H

#include <base/auto.h>
#include <base/hash.h>
#include <cache/memo.h>
#include <hubcache/error.h>

struct hc_access_memory;

enum {
    HC_ACCESS_SLOTS = 16384,
    HC_ACCESS_DENIED_SLOTS = 1024,
    HC_ACCESS_DENIED_MS = 10000
};

struct hc_access_key {
    struct hc_keyed_hash token; /* zero: of no token */
    const char *repo;           /* its folder; borrowed */
    uint64_t endpoint;          /* Optional: a hash of its URL; 0: that of the settings */
};

/* With a `ttl_ms` of 0 nothing is remembered. */
struct hc_access_memory *hc_access_memory_new(int64_t ttl_ms, struct hc_error *err);
void hc_access_memory_free(struct hc_access_memory *memory);
HC_DEFINE_AUTO(hc_access_memory, hc_access_memory_free)

void hc_access_memory_grant(struct hc_access_memory *memory,
                            const struct hc_access_key *key, int64_t now_ms);
void hc_access_memory_deny(struct hc_access_memory *memory,
                           const struct hc_access_key *key, int64_t now_ms,
                           const struct hc_error *refusal);

/* It is not known any more; what was answered by it is not to be answered again. */
void hc_access_memory_forget(struct hc_access_memory *memory,
                             const struct hc_access_key *key);

/* 1 granted, and for how long an answer that follows from it may be given again; 0 not
 * known; -1 denied, with the refusal. */
int hc_access_memory_find(struct hc_access_memory *memory,
                          const struct hc_access_key *key, int64_t now_ms,
                          struct hc_memo_term *term, struct hc_error *err);

/* Whether it is granted or expired. */
bool hc_access_memory_was_granted(struct hc_access_memory *memory,
                                  const struct hc_access_key *key, int64_t now_ms);

#endif
