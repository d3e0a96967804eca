/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of sets with four places each. The first bytes of the hash choose the set: no
 * caller can choose the SHA-256 of a credential that hubcache accepts, so the sets fill
 * evenly, and what is compared has no secret to reveal by its time.
 */
#include "caller_memory.h"

#include <base/error.h>

#include <openssl/crypto.h>
#include <string.h>

enum { PLACES = 4, SETS = HC_CALLER_MEMORY_MAX / PLACES };

struct remembered {
    struct hc_credential_hash hash;
    struct hc_caller *caller; /* NULL: the place is free */
    int64_t end_s;
    uint64_t used; /* when, counted in uses of the memory */
};

struct hc_caller_memory {
    uint64_t uses;
    struct remembered places[SETS][PLACES];
};

struct hc_caller_memory *hc_caller_memory_new(struct hc_error *err)
{
    struct hc_caller_memory *memory = calloc(1, sizeof *memory);

    if (!memory)
        (void)hc_fail_memory(err);
    return memory;
}

static void remembered_forget(struct remembered *place)
{
    hc_caller_release(place->caller);
    *place = (struct remembered){.caller = NULL};
}

static struct remembered *memory_set(struct hc_caller_memory *memory,
                                     const struct hc_credential_hash *hash)
{
    uint32_t number;

    memcpy(&number, hash->bytes + sizeof hash->bytes - sizeof number, sizeof number);
    return memory->places[number % SETS];
}

/* NULL: no place has it. */
static struct remembered *memory_find(struct hc_caller_memory *memory,
                                      const struct hc_credential_hash *hash)
{
    struct remembered *set = memory_set(memory, hash);

    for (size_t i = 0; i < PLACES; i++) {
        if (set[i].caller &&
            CRYPTO_memcmp(set[i].hash.bytes, hash->bytes, sizeof hash->bytes) == 0)
            return &set[i];
    }
    return NULL;
}

struct hc_caller *hc_caller_memory_recall(struct hc_caller_memory *memory,
                                          const struct hc_credential_hash *hash,
                                          int64_t now_s)
{
    struct remembered *place = memory_find(memory, hash);

    if (!place)
        return NULL;
    if (now_s >= place->end_s) {
        remembered_forget(place);
        return NULL;
    }
    place->used = ++memory->uses;
    return hc_caller_hold(place->caller);
}

void hc_caller_memory_keep(struct hc_caller_memory *memory,
                           const struct hc_credential_hash *hash,
                           struct hc_caller *caller, int64_t end_s)
{
    struct remembered *set = memory_set(memory, hash);
    struct remembered *place = memory_find(memory, hash);

    for (size_t i = 0; !place && i < PLACES; i++) {
        if (!set[i].caller)
            place = &set[i];
    }
    if (!place) {
        place = set;
        for (size_t i = 1; i < PLACES; i++) {
            if (set[i].used < place->used)
                place = &set[i];
        }
    }
    remembered_forget(place);
    *place = (struct remembered){.hash = *hash,
                                 .caller = hc_caller_hold(caller),
                                 .end_s = end_s,
                                 .used = ++memory->uses};
}

void hc_caller_memory_forget_all(struct hc_caller_memory *memory)
{
    for (size_t set = 0; set < SETS; set++) {
        for (size_t i = 0; i < PLACES; i++)
            remembered_forget(&memory->places[set][i]);
    }
}

void hc_caller_memory_free(struct hc_caller_memory *memory)
{
    if (!memory)
        return;
    hc_caller_memory_forget_all(memory);
    free(memory);
}
