/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock guards the slots, held for a comparison. Nothing is allocated or freed under
 * it. What is known of a key is in one of its two slots at most.
 */
#include "access_memory.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { NS_PER_MS = 1000 * 1000 };

struct access_entry {
    struct hc_keyed_hash token;
    uint64_t endpoint;
    int64_t until_ms;
    struct hc_error *refusal; /* NULL: granted */
    char repo[];
};

struct hc_access_memory {
    int64_t ttl_ms;
    _Atomic uint32_t version; /* changes when something granted is so no more */
    struct {
        pthread_mutex_t lock;
        struct access_entry *granted[HC_ACCESS_SLOTS];
        struct access_entry *denied[HC_ACCESS_DENIED_SLOTS];
    } shared;
};

static void access_entry_free(struct access_entry *entry)
{
    if (!entry)
        return;
    free(entry->refusal);
    free(entry);
}

HC_DEFINE_AUTO(access_entry, access_entry_free)

struct hc_access_memory *hc_access_memory_new(int64_t ttl_ms, struct hc_error *err)
{
    struct hc_access_memory *memory = calloc(1, sizeof *memory);

    if (!memory) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    memory->ttl_ms = ttl_ms;
    (void)pthread_mutex_init(&memory->shared.lock, NULL);
    return memory;
}

void hc_access_memory_free(struct hc_access_memory *memory)
{
    if (!memory)
        return;
    for (size_t i = 0; i < HC_ACCESS_SLOTS; i++)
        access_entry_free(memory->shared.granted[i]);
    for (size_t i = 0; i < HC_ACCESS_DENIED_SLOTS; i++)
        access_entry_free(memory->shared.denied[i]);
    (void)pthread_mutex_destroy(&memory->shared.lock);
    free(memory);
}

static size_t access_key_hash(const struct hc_access_key *key)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, &key->token, sizeof key->token);

    hash = hc_hash_bytes(hash, &key->endpoint, sizeof key->endpoint);
    hash = hc_hash_bytes(hash, key->repo, strlen(key->repo));
    return (size_t)(hash ^ hash >> 32);
}

static struct access_entry **granted_slot(struct hc_access_memory *memory,
                                          const struct hc_access_key *key)
{
    return &memory->shared.granted[access_key_hash(key) % HC_ACCESS_SLOTS];
}

static struct access_entry **denied_slot(struct hc_access_memory *memory,
                                         const struct hc_access_key *key)
{
    return &memory->shared.denied[access_key_hash(key) % HC_ACCESS_DENIED_SLOTS];
}

static bool access_entry_has_key(const struct access_entry *entry,
                                 const struct hc_access_key *key)
{
    return entry && hc_keyed_hash_equals(&entry->token, &key->token) &&
           entry->endpoint == key->endpoint && strcmp(entry->repo, key->repo) == 0;
}

/* NULL when memory is short: then it is not remembered. */
static struct access_entry *access_entry_new(const struct hc_access_key *key,
                                             int64_t until_ms,
                                             const struct hc_error *refusal)
{
    size_t size = strlen(key->repo) + 1;
    HC_AUTO(access_entry) *entry = calloc(1, sizeof *entry + size);

    if (!entry)
        return NULL;
    entry->token = key->token;
    entry->endpoint = key->endpoint;
    entry->until_ms = until_ms;
    memcpy(entry->repo, key->repo, size);
    if (!refusal)
        return hc_take(&entry);
    entry->refusal = malloc(sizeof *refusal);
    if (!entry->refusal)
        return NULL;
    *entry->refusal = *refusal;
    return hc_take(&entry);
}

/* The lock is held. The entry of the key leaves its slot, for the caller to free. */
static struct access_entry *access_entry_take(struct access_entry **slot,
                                              const struct hc_access_key *key)
{
    return access_entry_has_key(*slot, key) ? hc_take(slot) : NULL;
}

/* Puts `made`, unless it is NULL, in the place of what is known of the key. */
static void memory_replace(struct hc_access_memory *memory,
                           const struct hc_access_key *key, struct access_entry *made)
{
    bool is_granted = made && !made->refusal;
    HC_AUTO(access_entry) *granted = NULL;
    HC_AUTO(access_entry) *denied = NULL;
    HC_AUTO(access_entry) *replaced = NULL;
    struct access_entry **slot =
        is_granted ? granted_slot(memory, key) : denied_slot(memory, key);
    HC_LOCKED(&memory->shared.lock); /* released before what is replaced is freed */

    granted = access_entry_take(granted_slot(memory, key), key);
    denied = access_entry_take(denied_slot(memory, key), key);
    if (granted && !is_granted)
        atomic_fetch_add(&memory->version, 1);
    if (!made)
        return;
    replaced = *slot;
    *slot = made;
}

void hc_access_memory_grant(struct hc_access_memory *memory,
                            const struct hc_access_key *key, int64_t now_ms)
{
    memory_replace(memory, key, access_entry_new(key, now_ms + memory->ttl_ms, NULL));
}

void hc_access_memory_deny(struct hc_access_memory *memory,
                           const struct hc_access_key *key, int64_t now_ms,
                           const struct hc_error *refusal)
{
    int64_t for_ms =
        memory->ttl_ms < HC_ACCESS_DENIED_MS ? memory->ttl_ms : HC_ACCESS_DENIED_MS;

    memory_replace(memory, key, access_entry_new(key, now_ms + for_ms, refusal));
}

void hc_access_memory_forget(struct hc_access_memory *memory,
                             const struct hc_access_key *key)
{
    memory_replace(memory, key, NULL);
}

int hc_access_memory_find(struct hc_access_memory *memory,
                          const struct hc_access_key *key, int64_t now_ms,
                          struct hc_memo_term *term, struct hc_error *err)
{
    uint32_t version = atomic_load(&memory->version);
    const struct access_entry *granted, *denied;
    HC_LOCKED(&memory->shared.lock);

    granted = *granted_slot(memory, key);
    if (access_entry_has_key(granted, key) && now_ms < granted->until_ms) {
        *term = (struct hc_memo_term){.until_ns = granted->until_ms * NS_PER_MS,
                                      .version = &memory->version,
                                      .seen = version};
        return 1;
    }
    denied = *denied_slot(memory, key);
    if (!access_entry_has_key(denied, key) || now_ms >= denied->until_ms)
        return 0;
    *err = *denied->refusal;
    return -1;
}

bool hc_access_memory_was_granted(struct hc_access_memory *memory,
                                  const struct hc_access_key *key, int64_t now_ms)
{
    const struct access_entry *entry;
    HC_LOCKED(&memory->shared.lock);

    entry = *granted_slot(memory, key);
    return access_entry_has_key(entry, key) && now_ms < entry->until_ms + memory->ttl_ms;
}
