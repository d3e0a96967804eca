/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of callers that have leases, by their keyed hash: with tens of thousands of
 * callers the lock is held as short as with one. A look at the volume makes a new table
 * without the lock, and replaces the old one: leases that are taken meanwhile may be
 * missing until the next look.
 */
#include "lease_quota.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>
#include <claim/claim_record.h>
#include <claim/lease.h>

#include <pthread.h>
#include <string.h>

struct caller_leases {
    struct hc_keyed_hash caller;
    unsigned count;
    bool is_used; /* false: an empty place of the table */
};

/* A caller is at the place that its hash names, or at the next that is empty. */
struct caller_table {
    struct caller_leases *places;
    size_t count, capacity; /* a power of two, and at most half of it is used; or 0 */
};

struct hc_lease_quota {
    unsigned leases_per_caller;
    struct {
        pthread_mutex_t lock;
        struct caller_table callers;
        int64_t looked_ms; /* 0: never */
    } shared;
};

static struct hc_keyed_hash caller_key(const char *kind, const char *name)
{
    char text[HC_LEASE_KIND_SIZE + HC_LEASE_CALLER_SIZE] = "";

    (void)hc_format(text, sizeof text, "%s:%s", kind, name);
    return hc_keyed_hash_of(text);
}

static struct hc_keyed_hash identity_key(const struct hc_identity *identity)
{
    return caller_key(identity ? identity->kind : "", identity ? identity->name : "");
}

/* The place of the caller; the empty one that it gets, if it is new. */
static struct caller_leases *caller_table_find(const struct caller_table *table,
                                               const struct hc_keyed_hash *caller)
{
    size_t at;

    memcpy(&at, caller->bytes, sizeof at);
    for (;; at++) {
        struct caller_leases *place = &table->places[at & (table->capacity - 1)];

        if (!place->is_used || hc_keyed_hash_equals(&place->caller, caller))
            return place;
    }
}

static bool caller_table_grow(struct caller_table *table)
{
    struct caller_table grown = {.count = table->count,
                                 .capacity = table->capacity ? 2 * table->capacity : 32};

    grown.places = calloc(grown.capacity, sizeof *grown.places);
    if (!grown.places)
        return false;
    for (size_t i = 0; i < table->capacity; i++) {
        if (table->places[i].is_used)
            *caller_table_find(&grown, &table->places[i].caller) = table->places[i];
    }
    free(table->places);
    *table = grown;
    return true;
}

/* NULL: it is new, and memory is short. */
static struct caller_leases *caller_table_get(struct caller_table *table,
                                              const struct hc_keyed_hash *caller)
{
    struct caller_leases *place;

    if (2 * table->count >= table->capacity && !caller_table_grow(table))
        return NULL;
    place = caller_table_find(table, caller);
    if (!place->is_used) {
        *place = (struct caller_leases){.caller = *caller, .is_used = true};
        table->count++;
    }
    return place;
}

struct hc_lease_quota *hc_lease_quota_new(unsigned leases_per_caller,
                                          struct hc_error *err)
{
    struct hc_lease_quota *quota = calloc(1, sizeof *quota);

    if (!quota) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    quota->leases_per_caller = leases_per_caller;
    (void)pthread_mutex_init(&quota->shared.lock, NULL);
    return quota;
}

void hc_lease_quota_free(struct hc_lease_quota *quota)
{
    if (!quota)
        return;
    (void)pthread_mutex_destroy(&quota->shared.lock);
    free(quota->shared.callers.places);
    free(quota);
}

/* 1: counted; 0: the caller seems to have too many; -1: no memory. */
static int quota_count(struct hc_lease_quota *quota, const struct hc_keyed_hash *caller)
{
    struct caller_leases *leases;
    HC_LOCKED(&quota->shared.lock);

    leases = caller_table_get(&quota->shared.callers, caller);
    if (!leases)
        return -1;
    if (leases->count >= quota->leases_per_caller)
        return 0;
    leases->count++;
    return 1;
}

/* Whether a look at the volume is due; of several threads, one is told so. */
static bool quota_is_look_due(struct hc_lease_quota *quota, int64_t now_ms)
{
    HC_LOCKED(&quota->shared.lock);

    if (quota->shared.looked_ms != 0 &&
        now_ms - quota->shared.looked_ms < HC_LEASES_COUNTED_EVERY_MS)
        return false;
    quota->shared.looked_ms = now_ms;
    return true;
}

static void quota_look(struct hc_lease_quota *quota, const struct hc_cache *cache)
{
    HC_AUTO_VALUE(hc_lease_list)
    leases = hc_lease_list(cache, NULL, NULL, hc_volume_now_ms(cache));
    struct caller_table callers = {0};

    while (hc_lease_list_next(&leases)) {
        struct hc_keyed_hash key = caller_key(leases.lease.kind, leases.lease.caller);
        struct caller_leases *caller = caller_table_get(&callers, &key);

        if (caller)
            caller->count++;
    }
    HC_LOCKED(&quota->shared.lock);
    free(quota->shared.callers.places);
    quota->shared.callers = callers;
}

int hc_lease_quota_add(struct hc_lease_quota *quota, const struct hc_cache *cache,
                       const struct hc_identity *identity, int64_t now_ms,
                       struct hc_error *err)
{
    const struct hc_keyed_hash caller = identity_key(identity);
    int counted = quota_count(quota, &caller);

    if (counted == 0 && quota_is_look_due(quota, now_ms)) {
        quota_look(quota, cache);
        counted = quota_count(quota, &caller);
    }
    if (counted == 1)
        return 0;
    if (counted < 0)
        return hc_fail_memory(err);
    (void)hc_fail(err, HC_POLICY_DENIED,
                  "%s%s has %u leases, as many as a caller may have: release some, or "
                  "raise --leases-per-caller",
                  identity ? "caller " : "the anonymous callers",
                  identity ? identity->name : "", quota->leases_per_caller);
    (void)hc_format(err->rule, sizeof err->rule, "leases-per-caller");
    return -1;
}

void hc_lease_quota_remove(struct hc_lease_quota *quota,
                           const struct hc_identity *identity)
{
    const struct hc_keyed_hash caller = identity_key(identity);
    struct caller_leases *leases;
    HC_LOCKED(&quota->shared.lock);

    leases = caller_table_get(&quota->shared.callers, &caller);
    if (leases && leases->count > 0)
        leases->count--;
}
