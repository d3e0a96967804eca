/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock guards the slots, held for a comparison. Nothing is allocated or freed under
 * it.
 */
#include "access_memory.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct access_entry {
    struct hc_keyed_hash token;
    int64_t until_ms;
    struct hc_error *refusal; /* NULL: granted */
    char repo[];
};

struct hc_access_memory {
    int64_t ttl_ms;
    _Atomic uint32_t version; /* changes when something granted is so no more */
    struct {
        pthread_mutex_t lock;
        struct access_entry *slots[HC_ACCESS_SLOTS];
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
        access_entry_free(memory->shared.slots[i]);
    (void)pthread_mutex_destroy(&memory->shared.lock);
    free(memory);
}

static struct access_entry **memory_slot(struct hc_access_memory *memory,
                                         const struct hc_access_key *key)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, &key->token, sizeof key->token);

    hash = hc_hash_bytes(hash, key->repo, strlen(key->repo));
    return &memory->shared.slots[(hash ^ hash >> 32) % HC_ACCESS_SLOTS];
}

/* The lock is held. NULL: there is none. */
static const struct access_entry *memory_find(struct hc_access_memory *memory,
                                              const struct hc_access_key *key)
{
    const struct access_entry *entry = *memory_slot(memory, key);
    bool is_of_key = entry && hc_keyed_hash_equals(&entry->token, &key->token) &&
                     strcmp(entry->repo, key->repo) == 0;

    return is_of_key ? entry : NULL;
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

/* Puts `made`, or nothing if NULL, where the entry of the key was. */
static void memory_replace(struct hc_access_memory *memory,
                           const struct hc_access_key *key, struct access_entry *made)
{
    HC_AUTO(access_entry) *replaced = NULL;
    struct access_entry **slot = memory_slot(memory, key);
    const struct access_entry *old;
    HC_LOCKED(&memory->shared.lock); /* released before the replaced one is freed */

    old = memory_find(memory, key);
    if (!made && !old)
        return;
    if (old && !old->refusal && (!made || made->refusal))
        atomic_fetch_add(&memory->version, 1);
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
    const struct access_entry *entry;
    HC_LOCKED(&memory->shared.lock);

    entry = memory_find(memory, key);
    if (!entry || now_ms >= entry->until_ms)
        return 0;
    if (entry->refusal) {
        *err = *entry->refusal;
        return -1;
    }
    *term = (struct hc_memo_term){.until_ns = entry->until_ms * 1000 * 1000,
                                  .version = &memory->version,
                                  .seen = version};
    return 1;
}

bool hc_access_memory_was_granted(struct hc_access_memory *memory,
                                  const struct hc_access_key *key, int64_t now_ms)
{
    const struct access_entry *entry;
    HC_LOCKED(&memory->shared.lock);

    entry = memory_find(memory, key);
    return entry && !entry->refusal && now_ms < entry->until_ms + memory->ttl_ms;
}
