/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of slots by the hash of the path, a few slots per hash. One lock guards it,
 * held for a comparison and a copy; nothing is allocated or freed under it, but for an
 * entry that has to make room. An entry, with its path and its text, is one allocation.
 */
#include "memo.h"

#include <base/cancellation.h>
#include <base/file.h>
#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { MEMO_WAYS = 4, MEMO_SETS = HC_MEMO_SLOTS / MEMO_WAYS, NS_PER_MS = 1000000 };

struct memo_entry {
    uint64_t hash;
    struct hc_file_state state;
    int64_t looked_ns;
    int64_t mtime_ms;
    uint32_t version; /* of the look */
    unsigned files;   /* that the look looked at */
    size_t size;      /* of the allocation */
    size_t text;      /* where it begins in `path` */
    bool is_settled;
    bool is_direct;
    bool is_due; /* a caller was told to have it confirmed */
    char path[]; /* the text follows its NUL */
};

struct memo_set {
    struct memo_entry *ways[MEMO_WAYS];
};

struct hc_memo {
    atomic_int_least64_t interval_ns;
    atomic_int_least64_t median_ns; /* of what looks take; 0: there was none */
    atomic_uint quick_looks_due;    /* since a look took very long */
    _Atomic uint32_t versions[MEMO_SETS];
    struct {
        pthread_mutex_t lock;
        struct memo_set sets[MEMO_SETS];
        size_t entries;
        size_t bytes;
        size_t hand; /* the set that makes room next */
    } shared;
};

/* The ctime, not the mtime: a program that writes in place may set that back. */
static struct hc_file_state memo_file_state(const struct stat *status)
{
    return hc_file_state_of(status, &status->st_ctim);
}

struct hc_memo *hc_memo_new(struct hc_error *err)
{
    struct hc_memo *memo = calloc(1, sizeof *memo);

    if (!memo) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&memo->shared.lock, NULL);
    return memo;
}

void hc_memo_free(struct hc_memo *memo)
{
    if (!memo)
        return;
    for (size_t i = 0; i < HC_MEMO_SLOTS; i++)
        free(memo->shared.sets[i / MEMO_WAYS].ways[i % MEMO_WAYS]);
    (void)pthread_mutex_destroy(&memo->shared.lock);
    free(memo);
}

void hc_memo_set_interval(struct hc_memo *memo, int64_t interval_ms)
{
    int64_t interval_ns = 0;

    if (__builtin_mul_overflow(interval_ms, NS_PER_MS, &interval_ns))
        interval_ns = INT64_MAX;
    atomic_store(&memo->interval_ns, interval_ns);
}

struct hc_memo_look hc_memo_begin_look(const struct hc_memo *memo, const char *path)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, path, strlen(path));

    return (struct hc_memo_look){
        .path = path,
        .hash = hash,
        .began_ns = hc_monotonic_ns(),
        .version = atomic_load(&memo->versions[hash % MEMO_SETS]),
    };
}

/* ---- what looks take --------------------------------------------------------------- */

/*
 * An eighth towards each new value, whatever its size: this settles at the median, so
 * that a few looks that a busy machine delayed do not make a volume slow. The first look
 * of all decides until the next one.
 */
static void memo_add_to_median(struct hc_memo *memo, int64_t took_ns)
{
    int64_t median_ns = atomic_load_explicit(&memo->median_ns, memory_order_relaxed);
    int64_t step_ns = median_ns / 8 + 1;

    if (median_ns == 0)
        median_ns = took_ns < HC_MEMO_SLOW_NS ? took_ns : HC_MEMO_SLOW_NS;
    else if (took_ns > median_ns)
        median_ns += step_ns;
    else if (took_ns < median_ns)
        median_ns -= step_ns;
    atomic_store_explicit(&memo->median_ns, median_ns, memory_order_relaxed);
}

/* Threads that count at the same time may lose a look. */
static void memo_add_duration(struct hc_memo *memo, int64_t took_ns)
{
    unsigned due = atomic_load_explicit(&memo->quick_looks_due, memory_order_relaxed);

    memo_add_to_median(memo, took_ns);
    if (took_ns >= HC_MEMO_HANG_NS || (due > 0 && took_ns > NS_PER_MS))
        due = HC_MEMO_HANG_LOOKS;
    else if (due == 0)
        return;
    else
        due--;
    atomic_store_explicit(&memo->quick_looks_due, due, memory_order_relaxed);
}

bool hc_memo_median_is_slow(const struct hc_memo *memo)
{
    return atomic_load_explicit(&memo->median_ns, memory_order_relaxed) >=
           HC_MEMO_SLOW_NS;
}

bool hc_memo_is_slow(const struct hc_memo *memo)
{
    return hc_memo_median_is_slow(memo) ||
           atomic_load_explicit(&memo->quick_looks_due, memory_order_relaxed) > 0;
}

static int64_t memo_lifetime_ns(const struct hc_memo *memo,
                                const struct memo_entry *entry)
{
    int64_t interval_ns = atomic_load_explicit(&memo->interval_ns, memory_order_relaxed);
    int64_t quick_ns = HC_MEMO_QUICK_LOOKS * (int64_t)entry->files *
                       atomic_load_explicit(&memo->median_ns, memory_order_relaxed);

    return hc_memo_median_is_slow(memo) || interval_ns < quick_ns ? interval_ns
                                                                  : quick_ns;
}

/* ---- under the lock ---------------------------------------------------------------- */

/* The slot that has the path; NULL: none. */
static struct memo_entry **memo_slot_find(struct hc_memo *memo, const char *path,
                                          uint64_t hash)
{
    struct memo_entry **ways = memo->shared.sets[hash % MEMO_SETS].ways;

    for (size_t i = 0; i < MEMO_WAYS; i++) {
        if (ways[i] && ways[i]->hash == hash && strcmp(ways[i]->path, path) == 0)
            return &ways[i];
    }
    return NULL;
}

/* The slot for a new entry: an empty one, or the one that was looked at longest ago. */
static struct memo_entry **memo_slot_choose(struct hc_memo *memo, uint64_t hash)
{
    struct memo_entry **ways = memo->shared.sets[hash % MEMO_SETS].ways;
    struct memo_entry **oldest = &ways[0];

    for (size_t i = 0; i < MEMO_WAYS; i++) {
        if (!ways[i])
            return &ways[i];
        if (ways[i]->looked_ns < (*oldest)->looked_ns)
            oldest = &ways[i];
    }
    return oldest;
}

/* Returns what was there, for the caller to free. */
static struct memo_entry *memo_slot_set(struct hc_memo *memo, struct memo_entry **slot,
                                        struct memo_entry *entry)
{
    struct memo_entry *replaced = *slot;

    memo->shared.entries += (entry ? 1 : 0);
    memo->shared.bytes += entry ? entry->size : 0;
    memo->shared.entries -= (replaced ? 1 : 0);
    memo->shared.bytes -= replaced ? replaced->size : 0;
    *slot = entry;
    return replaced;
}

/* Goes round the table, so that in the long run each entry makes room in its turn. */
static void memo_make_room(struct hc_memo *memo)
{
    while (memo->shared.bytes > HC_MEMO_BYTES) {
        struct memo_set *set = &memo->shared.sets[memo->shared.hand++ % MEMO_SETS];

        for (size_t i = 0; i < MEMO_WAYS; i++)
            free(memo_slot_set(memo, &set->ways[i], NULL));
    }
}

/* Whether this process wrote to the path, or to another of its set, since the look
 * began. */
static bool memo_look_is_outdated(const struct hc_memo *memo,
                                  const struct hc_memo_look *look)
{
    return atomic_load(&memo->versions[look->hash % MEMO_SETS]) != look->version;
}

/* ---- the interface ----------------------------------------------------------------- */

/*
 * On a slow volume the fact may be given again until it is due to be confirmed: a caller
 * has to be told so.
 */
static struct hc_memo_term memo_entry_term(const struct hc_memo *memo,
                                           const struct memo_entry *entry)
{
    int64_t lifetime_ns = memo_lifetime_ns(memo, entry), until_ns;

    if (hc_memo_median_is_slow(memo))
        lifetime_ns /= 2;
    if (__builtin_add_overflow(entry->looked_ns, lifetime_ns, &until_ns))
        until_ns = INT64_MAX;
    return (struct hc_memo_term){
        .until_ns = until_ns,
        .version = &memo->versions[entry->hash % MEMO_SETS],
        .seen = entry->version,
    };
}

static void memo_fact_fill(const struct hc_memo *memo, struct hc_memo_fact *fact,
                           const struct memo_entry *entry)
{
    fact->term = memo_entry_term(memo, entry);
    fact->size = (uint64_t)entry->state.size;
    fact->mtime_ms = entry->mtime_ms;
    fact->is_direct = entry->is_direct;
    fact->is_due = false;
    (void)hc_format(fact->text, sizeof fact->text, "%s", entry->path + entry->text);
}

bool hc_memo_find(struct hc_memo *memo, const struct hc_memo_look *look,
                  const struct stat *status, struct hc_memo_fact *fact)
{
    const struct hc_file_state state = memo_file_state(status);
    const int64_t took_ns = hc_monotonic_ns() - look->began_ns;
    struct memo_entry **slot;

    HC_LOCKED(&memo->shared.lock);

    slot = memo_slot_find(memo, look->path, look->hash);
    if (!slot || !(*slot)->is_settled || !hc_file_state_equals(&(*slot)->state, &state))
        return false;
    memo_add_duration(memo, took_ns);
    if (!memo_look_is_outdated(memo, look)) {
        (*slot)->looked_ns = look->began_ns;
        (*slot)->version = look->version;
        (*slot)->mtime_ms = hc_file_time_ms(&status->st_mtim);
        (*slot)->is_due = false;
    }
    memo_fact_fill(memo, fact, *slot);
    return true;
}

/* NULL when memory is short, or the path is too long. */
static struct memo_entry *memo_entry_new(const struct hc_memo_look *look,
                                         const char *text)
{
    size_t path_size = strlen(look->path) + 1, text_size = strlen(text) + 1;
    size_t size = sizeof(struct memo_entry) + path_size + text_size;
    struct memo_entry *entry = path_size <= HC_MEMO_PATH_MAX + 1 ? malloc(size) : NULL;

    if (!entry)
        return NULL;
    *entry = (struct memo_entry){
        .hash = look->hash,
        .looked_ns = look->began_ns,
        .version = look->version,
        .files = 1,
        .size = size,
        .text = path_size,
    };
    memcpy(entry->path, look->path, path_size);
    memcpy(entry->path + path_size, text, text_size);
    return entry;
}

/* The entry is made before the lock is taken; it, or the one that it replaces, is freed
 * after. */
static void memo_put(struct hc_memo *memo, const struct hc_memo_look *look,
                     struct memo_entry *entry)
{
    HC_AUTO_FREE struct memo_entry *left = entry;
    struct memo_entry **slot;

    HC_LOCKED(&memo->shared.lock); /* released before `left` is freed */

    if (memo_look_is_outdated(memo, look))
        return;
    slot = memo_slot_find(memo, look->path, look->hash);
    if (!slot)
        slot = memo_slot_choose(memo, look->hash);
    left = memo_slot_set(memo, slot, entry);
    memo_make_room(memo);
}

void hc_memo_store(struct hc_memo *memo, const struct hc_memo_look *look,
                   const struct stat *status, const struct hc_memo_fact *fact)
{
    struct memo_entry *entry = memo_entry_new(look, fact->text);

    memo_add_duration(memo, hc_monotonic_ns() - look->began_ns);
    if (!entry)
        return;
    entry->state = memo_file_state(status);
    entry->mtime_ms = hc_file_time_ms(&status->st_mtim);
    entry->is_direct = fact->is_direct;
    entry->is_settled = time(NULL) - status->st_ctim.tv_sec >= HC_MEMO_MIN_AGE_S;
    memo_put(memo, look, entry);
}

void hc_memo_store_proved(struct hc_memo *memo, const struct hc_memo_look *look,
                          unsigned files, const char *text)
{
    struct memo_entry *entry = memo_entry_new(look, text);

    if (!entry)
        return;
    entry->files = files;
    memo_put(memo, look, entry);
}

bool hc_memo_recall(struct hc_memo *memo, const char *path, struct hc_memo_fact *fact)
{
    const struct hc_memo_look now = hc_memo_begin_look(memo, path);
    int64_t age_ns, lifetime_ns;
    struct memo_entry **slot;

    HC_LOCKED(&memo->shared.lock);

    slot = memo_slot_find(memo, path, now.hash);
    if (!slot)
        return false;
    age_ns = now.began_ns - (*slot)->looked_ns;
    lifetime_ns = memo_lifetime_ns(memo, *slot);
    if (age_ns >= lifetime_ns)
        return false;
    memo_fact_fill(memo, fact, *slot);
    fact->is_due =
        !(*slot)->is_due && age_ns >= lifetime_ns / 2 && hc_memo_median_is_slow(memo);
    (*slot)->is_due = (*slot)->is_due || fact->is_due;
    return true;
}

struct hc_memo_term hc_memo_look_term(const struct hc_memo *memo,
                                      const struct hc_memo_look *look)
{
    return (struct hc_memo_term){.until_ns = INT64_MAX,
                                 .version = &memo->versions[look->hash % MEMO_SETS],
                                 .seen = look->version};
}

void hc_memo_forget(struct hc_memo *memo, const char *path)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, path, strlen(path));
    HC_AUTO_FREE struct memo_entry *removed = NULL;
    struct memo_entry **slot;

    atomic_fetch_add(&memo->versions[hash % MEMO_SETS], 1);

    HC_LOCKED(&memo->shared.lock); /* released before `removed` is freed */

    slot = memo_slot_find(memo, path, hash);
    if (slot)
        removed = memo_slot_set(memo, slot, NULL);
}

void hc_memo_store_absent(struct hc_memo *memo, const struct hc_memo_look *look)
{
    memo_add_duration(memo, hc_monotonic_ns() - look->began_ns);
    hc_memo_forget(memo, look->path);
}

void hc_memo_count(struct hc_memo *memo, size_t *entries, size_t *bytes)
{
    HC_LOCKED(&memo->shared.lock);

    *entries = memo->shared.entries;
    *bytes = memo->shared.bytes;
}

/* ---- answers from several facts ---------------------------------------------------- */

void hc_reuse_add(struct hc_reuse *reuse, const struct hc_memo_term *term)
{
    static const struct hc_memo_term none = {.until_ns = 0};

    if (!reuse)
        return;
    if (reuse->count < HC_REUSE_TERMS)
        reuse->terms[reuse->count++] = *term;
    else
        reuse->terms[0] = none;
}

void hc_reuse_limit(struct hc_reuse *reuse, int64_t until_ns)
{
    for (unsigned i = 0; reuse && i < reuse->count; i++) {
        if (reuse->terms[i].until_ns > until_ns)
            reuse->terms[i].until_ns = until_ns;
    }
}

bool hc_reuse_is_valid(const struct hc_reuse *reuse, int64_t now_ns)
{
    bool is_valid = reuse->count > 0;

    for (unsigned i = 0; is_valid && i < reuse->count; i++) {
        const struct hc_memo_term *term = &reuse->terms[i];

        is_valid = now_ns < term->until_ns && atomic_load(term->version) == term->seen;
    }
    return is_valid;
}
