/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A roll-out of a kept revision, on the volume and so for all replicas:
 *
 *     whole      the ref names the commit that the Hub named last, with all its files
 *     behind     the Hub has named another one, or files are missing. The replica that
 *                has the lock fetches: blobs, then pointers, then the ref → whole
 *     failed     as behind, with a reason: asked again at the next interval. The old ref
 *                stays, and so does what has arrived
 *
 * If the branch moves again meanwhile, the commit that is being fetched becomes whole
 * first, and is named; the next interval finds it behind. A crash leaves a ref to the old
 * commit, and files of the new one that no ref names.
 *
 * What resolutions need of this is in memory: until when the ref may answer.
 */
#include "keep.h"

#include "resolution.h"

#include <base/cancellation.h>
#include <cache/ref.h>
#include <cache/roll_out.h>
#include <claim/claim_record.h>

#include <string.h>

enum { INTERVALS = 3 /* that a ref may answer without the Hub */ };

/* The caller of all requests of this file, for queues. */
static const uint64_t KEEPER = UINT64_C(0x6b65657065720001);

struct hc_keep {
    struct hc_repo repo;
    char *revision;
    atomic_uint holders;
    atomic_int_least64_t until_ms;    /* of the monotonic clock: the ref may answer */
    atomic_int_least64_t interval_ms; /* of the last question */
    struct {
        pthread_mutex_t lock;
        struct hc_roll_out roll_out;
        char commit[HC_COMMIT_SIZE]; /* that the ref names */
        bool is_fetching, is_remote;
    } shared;
};

struct hc_keeps {
    struct {
        pthread_mutex_t lock;
        uint32_t generation;    /* of the rules that the list is of */
        struct hc_keep **items; /* sorted */
        size_t count;
    } shared;
    atomic_size_t count; /* of the items: most processes keep nothing */
};

/* ---- one revision ------------------------------------------------------------------ */

struct hc_keep *hc_keep_hold(struct hc_keep *keep)
{
    atomic_fetch_add(&keep->holders, 1);
    return keep;
}

void hc_keep_release(struct hc_keep *keep)
{
    if (!keep || atomic_fetch_sub(&keep->holders, 1) > 1)
        return;
    (void)pthread_mutex_destroy(&keep->shared.lock);
    free(keep->revision);
    free(keep);
}

static struct hc_keep *keep_new(const struct hc_named_revision *named,
                                struct hc_error *err)
{
    HC_AUTO(hc_keep) *keep = calloc(1, sizeof *keep);

    if (!keep) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    atomic_store(&keep->holders, 1);
    (void)pthread_mutex_init(&keep->shared.lock, NULL);
    keep->revision = hc_text_copy(named->revision ? named->revision : "main", err);
    if (!keep->revision ||
        hc_repo_init(&keep->repo, named->type, named->repo_id, err) < 0 ||
        hc_revision_check(keep->revision, err) < 0)
        return NULL;
    return hc_take(&keep);
}

/* The sequence of the list. */
static int keep_compare_to(const struct hc_keep *keep, const char *folder,
                           const char *revision)
{
    int order = strcmp(keep->repo.folder, folder);

    return order != 0 ? order : strcmp(keep->revision, revision);
}

static int keep_compare(const void *one, const void *other)
{
    const struct hc_keep *const *a = one, *const *b = other;

    return keep_compare_to(*a, (*b)->repo.folder, (*b)->revision);
}

void hc_keep_look_at(struct hc_keep *keep, struct hc_keep_status *status)
{
    const struct hc_roll_out *roll_out = &keep->shared.roll_out;
    HC_LOCKED(&keep->shared.lock);

    *status = (struct hc_keep_status){.repo_type = keep->repo.type,
                                      .heard_ms = roll_out->heard_ms,
                                      .behind_since_ms = roll_out->behind_since_ms,
                                      .is_fetching = keep->shared.is_fetching,
                                      .is_remote = keep->shared.is_remote,
                                      .reason = roll_out->reason};
    (void)hc_format(status->repo_id, sizeof status->repo_id, "%s", keep->repo.id);
    if (hc_format(status->revision, sizeof status->revision, "%s", keep->revision) < 0)
        hc_text_excerpt(status->revision, sizeof status->revision, keep->revision);
    memcpy(status->commit, keep->shared.commit, sizeof status->commit);
    memcpy(status->newest, roll_out->commit, sizeof status->newest);
    memcpy(status->message, roll_out->message, sizeof status->message);
}

/* ---- all of them ------------------------------------------------------------------- */

struct hc_keeps *hc_keeps_new(struct hc_error *err)
{
    struct hc_keeps *keeps = calloc(1, sizeof *keeps);

    if (!keeps) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&keeps->shared.lock, NULL);
    return keeps;
}

static void items_free(struct hc_keep **items, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hc_keep_release(items[i]);
    free(items);
}

void hc_keeps_free(struct hc_keeps *keeps)
{
    if (!keeps)
        return;
    items_free(keeps->shared.items, keeps->shared.count);
    (void)pthread_mutex_destroy(&keeps->shared.lock);
    free(keeps);
}

/* With the lock. NULL: it is not kept. */
static struct hc_keep *keeps_search(const struct hc_keeps *keeps, const char *folder,
                                    const char *revision)
{
    size_t low = 0, high = keeps->shared.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = keep_compare_to(keeps->shared.items[middle], folder, revision);

        if (order == 0)
            return keeps->shared.items[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

bool hc_keeps_find(struct hc_keeps *keeps, const struct hc_repo *repo,
                   const char *revision, int64_t *left_ms)
{
    const struct hc_keep *keep;
    int64_t until_ms;

    *left_ms = 0;
    if (atomic_load_explicit(&keeps->count, memory_order_relaxed) == 0)
        return false;
    HC_LOCKED(&keeps->shared.lock);

    keep = keeps_search(keeps, repo->folder, revision);
    if (!keep)
        return false;
    until_ms = atomic_load(&keep->until_ms);
    if (until_ms > 0 && until_ms > hc_monotonic_ms())
        *left_ms = until_ms - hc_monotonic_ms();
    return true;
}

/* What the rules keep, sorted; those that were kept before are the same as before. */
static struct hc_keep **items_new(const struct hc_keeps *keeps,
                                  const struct hc_rules *rules, size_t *count,
                                  struct hc_error *err)
{
    size_t wanted = rules ? rules->keep_count : 0;
    struct hc_keep **items = calloc(wanted + 1, sizeof *items);

    *count = 0;
    if (!items) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    for (size_t i = 0; i < wanted; i++) {
        HC_AUTO(hc_keep) *fresh = keep_new(&rules->keep[i], err);
        struct hc_keep *known;

        if (!fresh && err->reason == HC_INTERNAL) { /* memory is short */
            items_free(items, *count);
            return NULL;
        }
        if (!fresh) /* the policy file has been checked: there is none */
            continue;
        known = keeps_search(keeps, fresh->repo.folder, fresh->revision);
        items[(*count)++] = known ? hc_keep_hold(known) : hc_take(&fresh);
    }
    qsort(items, *count, sizeof *items, keep_compare);
    return items;
}

static int keeps_update(struct hc_keeps *keeps, const struct hc_rules *rules,
                        struct hc_error *err)
{
    uint32_t generation = rules ? rules->generation : 0;
    struct hc_keep **items;
    size_t count;

    if (generation == keeps->shared.generation)
        return 0;
    items = items_new(keeps, rules, &count, err);
    if (!items)
        return -1;
    items_free(keeps->shared.items, keeps->shared.count);
    keeps->shared.items = items;
    keeps->shared.count = count;
    keeps->shared.generation = generation;
    atomic_store(&keeps->count, count);
    return 0;
}

int hc_keep_list(struct hc_resolver *resolver, struct hc_keep ***items, size_t *count,
                 struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(&resolver->policy);
    struct hc_keeps *keeps = resolver->keeps;
    HC_LOCKED(&keeps->shared.lock);

    if (keeps_update(keeps, rules, err) < 0)
        return -1;
    *items = calloc(keeps->shared.count + 1, sizeof **items);
    if (!*items)
        return hc_fail_memory(err);
    for (size_t i = 0; i < keeps->shared.count; i++)
        (*items)[i] = hc_keep_hold(keeps->shared.items[i]);
    *count = keeps->shared.count;
    return 0;
}

/* ---- asking ------------------------------------------------------------------------ */

/* The Hub as a whole does not answer: what it said before becomes old. Any other failure
 * is about the revision, or about this machine, and the ref is the best there is. */
static bool failure_is_of_the_hub(enum hc_reason reason)
{
    return reason == HC_HUB_UNREACHABLE || reason == HC_HUB_RATE_LIMITED ||
           reason == HC_CANCELLED || reason == HC_DEADLINE_EXCEEDED;
}

/* From now on, or since the Hub was heard, the ref may answer for some intervals. */
static void keep_extend(struct hc_keep *keep, const struct hc_roll_out *roll_out,
                        int64_t now_ms)
{
    bool is_of_the_hub = failure_is_of_the_hub(roll_out->reason);
    int64_t age_ms = is_of_the_hub ? now_ms - roll_out->heard_ms : 0, until_ms;

    if (is_of_the_hub && roll_out->heard_ms == 0)
        return;
    until_ms = hc_monotonic_ms() + INTERVALS * atomic_load(&keep->interval_ms) - age_ms;
    if (until_ms > atomic_load(&keep->until_ms))
        atomic_store(&keep->until_ms, until_ms);
}

static void keep_set_roll_out(struct hc_keep *keep, const struct hc_roll_out *roll_out,
                              const char *commit)
{
    HC_LOCKED(&keep->shared.lock);

    keep->shared.roll_out = *roll_out;
    memcpy(keep->shared.commit, commit, HC_COMMIT_SIZE);
}

/* What the ref names; "" when there is none. */
static int keep_read_ref(const struct hc_resolver *resolver, const struct hc_keep *keep,
                         char commit[HC_COMMIT_SIZE], struct hc_error *err)
{
    struct hc_ref ref;
    int found;

    if (hc_commit_is_valid(keep->revision)) {
        memcpy(commit, keep->revision, HC_COMMIT_SIZE);
        return 0;
    }
    found = hc_ref_find(resolver->cache, &keep->repo, keep->revision, &ref, err);
    if (found < 0)
        return -1;
    (void)hc_format(commit, HC_COMMIT_SIZE, "%s", found == 1 ? ref.commit : "");
    return 0;
}

/* The whole snapshot, as the Hub has it now. A stale answer is none. */
static int keep_resolve(struct hc_resolver *resolver, const struct hc_keep *keep,
                        bool is_dry_run, struct hc_cancellation *cancellation,
                        struct hc_snapshot *snapshot, struct hc_error *err)
{
    const struct hc_snapshot_request request = {
        .repo = {.id = keep->repo.id,
                 .type = keep->repo.type,
                 .revision = keep->revision},
        .list_files = !is_dry_run,
        .options = {.dry_run = is_dry_run,
                    .has_max_staleness = true,
                    .caller = KEEPER,
                    .is_background = true},
    };

    if (hc_snapshot_keep(resolver, &request, cancellation, snapshot, err) < 0)
        return -1;
    if (!snapshot->stale)
        return 0;
    hc_snapshot_clear(snapshot);
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "the Hub itself did not say what '%s' of '%s' means", keep->revision,
                   keep->repo.id);
}

static void roll_out_set_failure(struct hc_roll_out *roll_out, const struct hc_error *err)
{
    roll_out->reason = err->reason;
    (void)hc_format(roll_out->message, sizeof roll_out->message, "%s", err->message);
}

static void roll_out_set_heard(struct hc_roll_out *roll_out,
                               const struct hc_snapshot *snapshot, int64_t now_ms)
{
    memcpy(roll_out->commit, snapshot->commit_hash, HC_COMMIT_SIZE);
    roll_out->heard_ms = now_ms;
    roll_out->reason = HC_OK;
    roll_out->message[0] = '\0';
}

/* Asks the Hub, and writes down what it said. -1 with its failure. */
static int keep_ask_hub(struct hc_resolver *resolver, const struct hc_keep *keep,
                        const char *ref_commit, struct hc_cancellation *cancellation,
                        struct hc_roll_out *roll_out, struct hc_error *err)
{
    struct hc_snapshot snapshot = {0};
    struct hc_error unused;
    int result = keep_resolve(resolver, keep, true, cancellation, &snapshot, err);
    int64_t now_ms = hc_volume_now_ms(resolver->cache);
    bool is_whole = false;

    if (result == 0) {
        bool was_failing = roll_out->behind_since_ms > 0 && roll_out->reason != HC_OK &&
                           strcmp(roll_out->commit, snapshot.commit_hash) == 0;
        const struct hc_roll_out before = *roll_out;

        is_whole = snapshot.completeness == HC_COMPLETE &&
                   strcmp(snapshot.commit_hash, ref_commit) == 0;
        roll_out_set_heard(roll_out, &snapshot, now_ms);
        if (was_failing && !is_whole) { /* the fetch failed, and is still to be done */
            roll_out->reason = before.reason;
            memcpy(roll_out->message, before.message, sizeof before.message);
        }
        if (is_whole)
            roll_out->behind_since_ms = 0;
        else if (roll_out->behind_since_ms == 0)
            roll_out->behind_since_ms = now_ms;
    } else if (err->reason == HC_CANCELLED) {
        return -1;
    } else {
        roll_out_set_failure(roll_out, err);
    }
    (void)hc_roll_out_write(resolver->cache, &keep->repo, keep->revision, roll_out,
                            &unused);
    roll_out->asked_ms = now_ms;
    hc_snapshot_clear(&snapshot);
    return result;
}

/* Whether a replica has asked so recently that this one need not. */
static bool roll_out_is_recent(const struct hc_roll_out *roll_out, int64_t interval_ms,
                               int64_t now_ms)
{
    int64_t age_ms = now_ms - roll_out->asked_ms;

    return age_ms >= -interval_ms && age_ms < interval_ms / 4 * 3;
}

static bool roll_out_is_whole(const struct hc_roll_out *roll_out, const char *ref_commit)
{
    return roll_out->behind_since_ms == 0 && roll_out->commit[0] &&
           strcmp(roll_out->commit, ref_commit) == 0;
}

int hc_keep_ask(struct hc_resolver *resolver, struct hc_keep *keep, int64_t interval_ms,
                struct hc_cancellation *cancellation, struct hc_error *err)
{
    int64_t now_ms = hc_volume_now_ms(resolver->cache);
    char ref_commit[HC_COMMIT_SIZE];
    struct hc_roll_out roll_out;
    int result = 0;

    atomic_store(&keep->interval_ms, interval_ms);
    if (keep_read_ref(resolver, keep, ref_commit, err) < 0)
        return -1;
    if (hc_roll_out_find(resolver->cache, &keep->repo, keep->revision, &roll_out) != 1 ||
        !roll_out_is_recent(&roll_out, interval_ms, now_ms))
        result = keep_ask_hub(resolver, keep, ref_commit, cancellation, &roll_out, err);
    keep_set_roll_out(keep, &roll_out, ref_commit);
    keep_extend(keep, &roll_out, now_ms);
    return result < 0 ? -1 : !roll_out_is_whole(&roll_out, ref_commit);
}

/* ---- fetching ---------------------------------------------------------------------- */

static void keep_set_fetching(struct hc_keep *keep, bool is_fetching, bool is_remote)
{
    HC_LOCKED(&keep->shared.lock);

    keep->shared.is_fetching = is_fetching;
    keep->shared.is_remote = is_remote;
}

/* After a fetch: what is on the volume by now is read anew, for it may have taken hours,
 * in which this or another replica has asked the Hub again. */
static void keep_note_fetch(struct hc_resolver *resolver, struct hc_keep *keep,
                            const struct hc_snapshot *snapshot,
                            const struct hc_error *failure)
{
    int64_t now_ms = hc_volume_now_ms(resolver->cache);
    char ref_commit[HC_COMMIT_SIZE] = "";
    struct hc_roll_out roll_out;
    struct hc_error unused;

    (void)hc_roll_out_find(resolver->cache, &keep->repo, keep->revision, &roll_out);
    if (failure) {
        roll_out_set_failure(&roll_out, failure);
    } else if (!roll_out.commit[0] ||
               strcmp(roll_out.commit, snapshot->commit_hash) == 0) {
        roll_out_set_heard(&roll_out, snapshot, now_ms);
        roll_out.behind_since_ms = 0;
    } else { /* the branch has moved again */
        roll_out.reason = HC_OK;
        roll_out.message[0] = '\0';
        roll_out.behind_since_ms = now_ms;
    }
    (void)hc_roll_out_write(resolver->cache, &keep->repo, keep->revision, &roll_out,
                            &unused);
    (void)keep_read_ref(resolver, keep, ref_commit, &unused);
    keep_set_roll_out(keep, &roll_out, ref_commit);
    keep_extend(keep, &roll_out, now_ms);
}

int hc_keep_fetch(struct hc_resolver *resolver, struct hc_keep *keep,
                  struct hc_cancellation *cancellation, struct hc_snapshot *snapshot,
                  struct hc_error *err)
{
    HC_AUTO_CLOSE int lock = -1;
    int result;

    *snapshot = (struct hc_snapshot){0};
    if (!hc_roll_out_lock(resolver->cache, &keep->repo, keep->revision, &lock)) {
        keep_set_fetching(keep, false, true);
        return 0;
    }
    keep_set_fetching(keep, true, false);
    result = keep_resolve(resolver, keep, false, cancellation, snapshot, err);
    keep_set_fetching(keep, false, false);
    if (result == 0 || err->reason != HC_CANCELLED)
        keep_note_fetch(resolver, keep, snapshot, result < 0 ? err : NULL);
    return result < 0 ? -1 : 1;
}
