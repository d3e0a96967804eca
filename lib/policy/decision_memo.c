/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of sets: a question belongs to one set, and takes the place of its oldest
 * decision. The question itself is kept, so that two questions never share a decision,
 * whatever their hashes are. Each set has its own lock, which is held for a comparison
 * and a copy.
 */
#include "decision_memo.h"

#include <base/error.h>
#include <base/hash.h>

#include <pthread.h>
#include <string.h>

/* One allocation: the numbers of the rules with files, then the question. */
struct remembered_decision {
    const struct hc_rule *rule;
    size_t key_size, file_rule_count;
    uint16_t file_rules[];
};

enum { SET_SIZE = 4, SETS = HC_DECISIONS_MAX / SET_SIZE };

struct hc_decision_memo {
    struct decision_set {
        pthread_mutex_t lock;
        unsigned oldest;
        uint64_t hashes[SET_SIZE];
        struct remembered_decision *decisions[SET_SIZE];
    } sets[SETS];
};

struct hc_decision_memo *hc_decision_memo_new(struct hc_error *err)
{
    struct hc_decision_memo *memo = calloc(1, sizeof *memo);

    if (!memo) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < SETS; i++)
        (void)pthread_mutex_init(&memo->sets[i].lock, NULL);
    return memo;
}

void hc_decision_memo_free(struct hc_decision_memo *memo)
{
    for (size_t i = 0; memo && i < SETS; i++) {
        for (size_t j = 0; j < SET_SIZE; j++)
            free(memo->sets[i].decisions[j]);
        (void)pthread_mutex_destroy(&memo->sets[i].lock);
    }
    free(memo);
}

/* With its NUL, so that no two lists of texts have the same bytes. */
static bool key_add(struct hc_question_key *key, const char *text)
{
    size_t size = strnlen(text, sizeof key->bytes) + 1;

    if (size > sizeof key->bytes - key->size) {
        key->size = 0;
        return false;
    }
    memcpy(key->bytes + key->size, text, size);
    key->size += size;
    return true;
}

static const char *text_or_empty(const char *text)
{
    return text ? text : "";
}

/* The first byte is never 0. */
void hc_question_key_init(struct hc_question_key *key,
                          const struct hc_policy_question *question)
{
    const struct hc_identity *identity = question->identity;
    const char head[] = {(char)('a' + question->type),
                         (char)('0' + (identity != NULL) +
                                2 * (identity && identity->kind) +
                                4 * (question->revision != NULL)),
                         '\0'};
    bool fits;

    key->size = 0;
    fits = key_add(key, head) && key_add(key, question->repo_id) &&
           key_add(key, text_or_empty(question->revision)) &&
           (!identity || (key_add(key, text_or_empty(identity->kind)) &&
                          key_add(key, text_or_empty(identity->name))));
    for (size_t i = 0; fits && identity && i < identity->group_count; i++)
        fits = key_add(key, identity->groups[i]);
    key->hash = hc_hash_bytes(HC_HASH_START, key->bytes, key->size);
}

static struct decision_set *decision_set(struct hc_decision_memo *memo,
                                         const struct hc_question_key *key)
{
    return &memo->sets[key->hash % SETS];
}

/* The lock is held. */
static const struct remembered_decision *
decision_set_find(const struct decision_set *set, const struct hc_question_key *key)
{
    for (size_t i = 0; i < SET_SIZE; i++) {
        const struct remembered_decision *decision = set->decisions[i];

        if (decision && set->hashes[i] == key->hash && decision->key_size == key->size &&
            memcmp(decision->file_rules + decision->file_rule_count, key->bytes,
                   key->size) == 0)
            return decision;
    }
    return NULL;
}

bool hc_decision_memo_find(struct hc_decision_memo *memo,
                           const struct hc_question_key *key,
                           struct hc_decision *decision)
{
    struct decision_set *set = decision_set(memo, key);
    HC_LOCKED(&set->lock);
    const struct remembered_decision *found = decision_set_find(set, key);
    size_t size = found ? found->file_rule_count * sizeof *found->file_rules : 0;

    if (!found)
        return false;
    if (size > 0) {
        decision->file_rules = malloc(size);
        if (!decision->file_rules)
            return false;
        memcpy(decision->file_rules, found->file_rules, size);
    }
    decision->file_rule_count = found->file_rule_count;
    decision->rule = found->rule;
    return true;
}

static struct remembered_decision *decision_remember(const struct hc_decision *decision,
                                                     const struct hc_question_key *key)
{
    size_t size = decision->file_rule_count * sizeof *decision->file_rules;
    struct remembered_decision *fresh;

    if (sizeof *fresh + size + key->size > HC_DECISION_SIZE_MAX)
        return NULL;
    fresh = malloc(sizeof *fresh + size + key->size);
    if (!fresh)
        return NULL;
    fresh->rule = decision->rule;
    fresh->key_size = key->size;
    fresh->file_rule_count = decision->file_rule_count;
    if (size > 0)
        memcpy(fresh->file_rules, decision->file_rules, size);
    memcpy(fresh->file_rules + fresh->file_rule_count, key->bytes, key->size);
    return fresh;
}

/* Two threads that put the same decision put it twice, which does no harm. */
void hc_decision_memo_put(struct hc_decision_memo *memo,
                          const struct hc_question_key *key,
                          const struct hc_decision *decision)
{
    HC_AUTO_FREE struct remembered_decision *fresh = decision_remember(decision, key);
    HC_AUTO_FREE struct remembered_decision *old = NULL;
    struct decision_set *set = decision_set(memo, key);
    HC_LOCKED(&set->lock); /* released before `old` is freed */

    if (!fresh)
        return;
    old = set->decisions[set->oldest];
    set->hashes[set->oldest] = key->hash;
    set->decisions[set->oldest] = hc_take(&fresh);
    set->oldest = (set->oldest + 1) % SET_SIZE;
}
