/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much each caller has had fetched, by the records of the volume (fetched.h), and how
 * much more is promised to downloads of this process. A total is that of one caller and
 * one rule. A blob counts once: for the caller in its record, or, as long as it has none,
 * for the first caller that has reserved it.
 *
 * Nothing is read, and nothing remembered, before the first refresh. That reads every
 * record; each later one looks at the directory of each repo, and reads the records that
 * are new: those that this process writes and removes are known at once. It remembers 72
 * bytes for each record. Callable from any thread.
 */
#ifndef HC_CACHE_FETCHED_TOTALS_H
#define HC_CACHE_FETCHED_TOTALS_H

#include "fetched.h"

#include <base/cancellation.h>

struct hc_fetched_totals; /* of a cache: hc_cache_fetched_totals() */
struct hc_fetched_reservation;

enum { HC_FETCHED_TOTALS_MAX = 4096 /* all others are one total, without a caller */ };

struct hc_fetched_totals *hc_fetched_totals_new(struct hc_error *err);
void hc_fetched_totals_free(struct hc_fetched_totals *totals);
HC_DEFINE_AUTO(hc_fetched_totals, hc_fetched_totals_free)

/* Takes in what has changed on the volume, unless that was begun within `max_age_ms`
 * before the call, or since. -1: a directory cannot be read, or the cancellation, which
 * may be NULL, says so. */
int hc_fetched_totals_refresh(const struct hc_cache *cache, int64_t max_age_ms,
                              struct hc_cancellation *cancellation, struct hc_error *err);

struct hc_fetched_total {
    const struct hc_identity *identity; /* NULL: anonymous callers */
    const char *rule;                   /* "": no rule */
    uint64_t bytes;                     /* on the volume */
    uint64_t blobs;
    uint64_t reserved_bytes; /* promised to downloads of this process */
};

/* Must neither block nor call the totals. */
typedef void (*hc_fetched_total_fn)(void *ctx, const struct hc_fetched_total *total);

/* Calls `fn` for each total that is not zero, in no order. */
void hc_fetched_totals_list(const struct hc_cache *cache, hc_fetched_total_fn fn,
                            void *ctx);

/* ---- reservations ------------------------------------------------------------------ */

struct hc_fetched_want {
    const char *etag; /* any text that names the blob within its repo */
    uint64_t bytes;
};

struct hc_fetched_request {
    const char *folder; /* of the repo */
    const struct hc_identity *identity;
    const struct hc_fetched_want *wants;
    size_t count;
    uint64_t limit; /* of the bytes of all callers that `counts` accepts */
    bool (*counts)(const void *ctx, const struct hc_identity *identity);
    const void *ctx;
};

struct hc_fetched_balance {
    uint64_t used;   /* by these callers, reserved bytes included */
    uint64_t needed; /* by the request, for blobs that do not count yet */
};

/*
 * All or nothing, in one step for all threads: 1 and the reservation; 0 when used and
 * needed bytes exceed the limit, unless none are needed; -1 when memory is short. To be
 * called after a refresh.
 */
int hc_fetched_reserve(const struct hc_cache *cache,
                       const struct hc_fetched_request *request,
                       struct hc_fetched_balance *balance,
                       struct hc_fetched_reservation **reservation, struct hc_error *err);

/* What has no record by then does not count any more. NULL is fine. */
void hc_fetched_reservation_drop(struct hc_fetched_reservation *reservation);
HC_DEFINE_AUTO(hc_fetched_reservation, hc_fetched_reservation_drop)

/* ---- for fetched.c ----------------------------------------------------------------- */

/* This process has written the record, as the file `inode`, or removed it. */
void hc_fetched_totals_add(struct hc_fetched_totals *totals,
                           const struct hc_blob_request *request, uint64_t bytes,
                           uint64_t inode);
void hc_fetched_totals_remove(struct hc_fetched_totals *totals,
                              const struct hc_blob_id *blob);

#endif
