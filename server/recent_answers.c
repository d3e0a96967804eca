/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lock guards the slots, held for a comparison. Nothing is allocated or freed under
 * it. A recent answer is one allocation, with the bytes of its request.
 */
#include "recent_answers.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct recent_answer {
    uint64_t hash;
    struct hc_keyed_hash caller;
    unsigned method;
    uint32_t policy;
    int64_t added_ns;
    struct hc_answer *answer;
    struct hc_reuse reuse;
    size_t size;
    uint8_t request[];
};

struct hc_recent_answers {
    struct {
        pthread_mutex_t lock;
        struct recent_answer *slots[HC_RECENT_ANSWERS];
    } shared;
};

static void recent_answer_free(struct recent_answer *kept)
{
    if (!kept)
        return;
    hc_answer_release(kept->answer);
    free(kept);
}

HC_DEFINE_AUTO(recent_answer, recent_answer_free)

struct hc_recent_answers *hc_recent_answers_new(struct hc_error *err)
{
    struct hc_recent_answers *recent = calloc(1, sizeof *recent);

    if (!recent) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&recent->shared.lock, NULL);
    return recent;
}

void hc_recent_answers_free(struct hc_recent_answers *recent)
{
    if (!recent)
        return;
    for (size_t i = 0; i < HC_RECENT_ANSWERS; i++)
        recent_answer_free(recent->shared.slots[i]);
    (void)pthread_mutex_destroy(&recent->shared.lock);
    free(recent);
}

static uint64_t key_hash(const struct hc_recent_key *key)
{
    uint64_t of_caller;

    memcpy(&of_caller, key->caller.bytes, sizeof of_caller);
    return hc_hash_bytes(HC_HASH_START ^ of_caller ^ key->method, key->bytes, key->size);
}

static bool recent_answer_has_key(const struct recent_answer *kept,
                                  const struct hc_recent_key *key, uint64_t hash)
{
    return kept->hash == hash && hc_keyed_hash_equals(&kept->caller, &key->caller) &&
           kept->method == key->method && kept->policy == key->policy &&
           kept->size == key->size && memcmp(kept->request, key->bytes, key->size) == 0;
}

struct hc_answer *hc_recent_answers_find(struct hc_recent_answers *recent,
                                         const struct hc_recent_key *key, int64_t now_ns)
{
    const struct recent_answer *kept;
    uint64_t hash;

    if (key->size > HC_RECENT_REQUEST_MAX)
        return NULL;
    hash = key_hash(key);

    HC_LOCKED(&recent->shared.lock);

    kept = recent->shared.slots[hash % HC_RECENT_ANSWERS];
    if (!kept || !recent_answer_has_key(kept, key, hash) ||
        !hc_reuse_is_valid(&kept->reuse, now_ns))
        return NULL;
    return hc_answer_hold(kept->answer);
}

bool hc_recent_answers_have(struct hc_recent_answers *recent,
                            const struct hc_recent_key *key,
                            const struct hc_answer *answer, int64_t now_ns)
{
    const uint64_t hash = key_hash(key);
    const struct recent_answer *kept;
    HC_LOCKED(&recent->shared.lock);

    kept = recent->shared.slots[hash % HC_RECENT_ANSWERS];
    return kept && recent_answer_has_key(kept, key, hash) &&
           now_ns < kept->added_ns + HC_RECENT_NS && kept->answer->size == answer->size &&
           memcmp(kept->answer->bytes, answer->bytes, answer->size) == 0;
}

void hc_recent_answers_add(struct hc_recent_answers *recent,
                           const struct hc_recent_key *key, struct hc_answer *answer,
                           const struct hc_reuse *reuse)
{
    HC_AUTO(recent_answer) *kept = NULL; /* at the end: the replaced one */
    struct recent_answer **slot;

    if (key->size > HC_RECENT_REQUEST_MAX || answer->size > HC_RECENT_ANSWER_MAX)
        return;
    kept = malloc(sizeof *kept + key->size);
    if (!kept)
        return;
    *kept = (struct recent_answer){.hash = key_hash(key),
                                   .caller = key->caller,
                                   .method = key->method,
                                   .policy = key->policy,
                                   .added_ns = hc_monotonic_ns(),
                                   .answer = hc_answer_hold(answer),
                                   .reuse = *reuse,
                                   .size = key->size};
    memcpy(kept->request, key->bytes, key->size);

    HC_LOCKED(&recent->shared.lock); /* released before the replaced one is freed */

    slot = &recent->shared.slots[kept->hash % HC_RECENT_ANSWERS];
    {
        struct recent_answer *replaced = *slot;

        *slot = kept;
        kept = replaced;
    }
}
