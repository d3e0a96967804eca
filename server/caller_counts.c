/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table with open addressing, twice as large as there are callers in it, from which
 * nothing is removed. The hash of a slot is written last, so a thread that finds it may
 * read the rest without the lock. That of the others is slot SLOTS.
 */
#include "caller_counts.h"

#include "exposition.h"

#include <base/error.h>

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

enum { SLOTS = 2 * HC_CALLERS_COUNTED };

struct slot {
    atomic_uint_least64_t hash; /* 0: free */
    atomic_uint_least64_t ok, failed;
    enum hc_caller_kind kind;
    char name[HC_CALLER_NAME_MAX + 1];
};

struct hc_caller_counts {
    struct slot slots[SLOTS + 1];
    atomic_uint used; /* changes with the lock */
    struct {
        pthread_mutex_t lock;
    } shared;
};

struct hc_caller_counts *hc_caller_counts_new(struct hc_error *err)
{
    struct hc_caller_counts *counts = calloc(1, sizeof *counts);

    if (counts)
        (void)pthread_mutex_init(&counts->shared.lock, NULL);
    else
        (void)hc_fail_memory(err);
    return counts;
}

void hc_caller_counts_free(struct hc_caller_counts *counts)
{
    if (!counts)
        return;
    (void)pthread_mutex_destroy(&counts->shared.lock);
    free(counts);
}

/* The caller's slot, or the free one where it belongs. */
static struct slot *slot_find(struct hc_caller_counts *counts, uint64_t hash)
{
    size_t i = hash % SLOTS;
    uint64_t found;

    while ((found = atomic_load_explicit(&counts->slots[i].hash, memory_order_acquire)) !=
               0 &&
           found != hash)
        i = (i + 1) % SLOTS;
    return &counts->slots[i];
}

static struct slot *slot_take(struct hc_caller_counts *counts,
                              const struct hc_caller *caller)
{
    struct slot *slot;
    size_t length = strnlen(caller->name, HC_CALLER_NAME_MAX);
    HC_LOCKED(&counts->shared.lock);

    slot = slot_find(counts, caller->hash);
    if (atomic_load(&slot->hash) != 0) /* another thread was faster */
        return slot;
    if (atomic_load(&counts->used) == HC_CALLERS_COUNTED)
        return &counts->slots[SLOTS];
    atomic_fetch_add(&counts->used, 1);
    slot->kind = caller->kind;
    memcpy(slot->name, caller->name, length);
    slot->name[length] = '\0';
    atomic_store_explicit(&slot->hash, caller->hash, memory_order_release);
    return slot;
}

void hc_caller_counts_add(struct hc_caller_counts *counts, const struct hc_caller *caller,
                          bool is_ok)
{
    struct slot *slot = slot_find(counts, caller->hash);

    if (atomic_load_explicit(&slot->hash, memory_order_relaxed) == 0)
        slot = atomic_load(&counts->used) < HC_CALLERS_COUNTED ? slot_take(counts, caller)
                                                               : &counts->slots[SLOTS];
    atomic_fetch_add_explicit(is_ok ? &slot->ok : &slot->failed, 1, memory_order_relaxed);
}

static void slot_write(const char *name, const char *kind, const char *outcome,
                       uint64_t count, FILE *out)
{
    if (count == 0)
        return;
    (void)fputs("hubcache_caller_requests_total{caller=\"", out);
    hc_exposition_label(out, name);
    (void)fprintf(out, "\",kind=\"%s\",outcome=\"%s\"} %" PRIu64 "\n", kind, outcome,
                  count);
}

void hc_caller_counts_write(struct hc_caller_counts *counts, FILE *out)
{
    hc_exposition_head(out, "hubcache_caller_requests_total", "counter",
                       "Calls that are over of callers that have proved an identity; "
                       "kind \"other\": of all but the first 32.");
    for (size_t i = 0; i <= SLOTS; i++) {
        struct slot *slot = &counts->slots[i];
        bool is_named = atomic_load_explicit(&slot->hash, memory_order_acquire) != 0;
        const char *kind = is_named ? hc_caller_kind_name(slot->kind) : "other";

        slot_write(slot->name, kind, "ok", atomic_load(&slot->ok), out);
        slot_write(slot->name, kind, "failed", atomic_load(&slot->failed), out);
    }
}
