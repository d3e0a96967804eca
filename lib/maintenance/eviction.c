/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of candidates, the plan and the replicas' lock belong to the thread whose turn
 * it is; the lock of this file guards the turn and the counts, and is not held while the
 * volume is worked on. A waiter comes every 50 ms to see whether it is its turn, and
 * leaves when another eviction has freed what it needs.
 */
#include "eviction.h"

#include "eviction_plan.h"
#include "orphans.h"
#include "replica_lock.h"
#include "trash.h"

#include <base/size.h>
#include <cache/occupancy.h>
#include <cache/usage.h>
#include <claim/claim_record.h>
#include <claim/reservation.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
    MARGIN_DIVISOR = 20,          /* of the limit or floor: what is freed beyond */
    POLL_MS = 50,                 /* for the turn */
    LIST_MAX_AGE_MS = 600 * 1000, /* of the candidates */
    RESCAN_MIN_MS = 100,          /* between two scans that found too little */
    FRUITLESS_MAX = 3             /* plans of which nothing was removed */
};

static const char lock_path[] = ".hubcache/eviction";

struct hc_eviction {
    const struct hc_cache *cache;      /* borrowed */
    const struct hc_hold_rules *rules; /* borrowed */
    struct hc_candidates candidates;
    struct {
        pthread_mutex_t lock;
        bool is_busy;
        struct hc_eviction_counts counts;
    } shared;
};

/* One eviction, on the stack of its thread, while it has the turn. */
struct eviction_run {
    struct hc_eviction *eviction;
    const struct hc_eviction_request *request;
    const struct hc_space_request *space; /* of a download; NULL: none asks */
    struct hc_removal_result *result;
    struct hc_replica_lock lock;
    uint64_t missing; /* bytes to free */
    uint64_t margin;  /* beyond them; for an eviction that was told how many, none */
    struct hc_eviction_plan plan; /* the last one */
    size_t first; /* the candidate that the next plan begins with; of a dry run, which
                     leaves the list as it is, after those of the plans before */
};

static void eviction_run_release(struct eviction_run *run)
{
    hc_eviction_plan_clear(&run->plan);
}

HC_DEFINE_AUTO_VALUE(eviction_run, eviction_run_release)

/* ---- what is missing --------------------------------------------------------------- */

/* All that partial files have; nothing is reserved for an eviction. */
static struct hc_claimed eviction_claimed(const void *ctx)
{
    const struct hc_cache *cache = ctx;
    const struct hc_claim_record first = {.began_us = INT64_MIN};

    return hc_claimed_bytes(cache, "", &first, hc_volume_now_ms(cache));
}

static uint64_t eviction_find_missing(const struct eviction_run *run)
{
    const struct hc_cache *cache = run->eviction->cache;
    const struct hc_space_request alone = {.fd = hc_cache_fd(cache),
                                           .folder = "",
                                           .claimed = eviction_claimed,
                                           .ctx = cache};

    if (!run->space && run->request->bytes > 0)
        return run->request->bytes;
    return hc_free_space_missing(hc_cache_free_space(cache),
                                 run->space ? run->space : &alone);
}

/*
 * Between the end of a removal and its entry in the occupancy of the process, a scan
 * would miss the files, and then subtract them: a scan ends while no replica evicts.
 */
int hc_eviction_measure(struct hc_eviction *eviction, bool is_urgent,
                        struct hc_cancellation *cancellation, struct hc_error *err)
{
    struct hc_occupancy *occupancy = hc_cache_occupancy(eviction->cache);
    const struct hc_occupancy_scan begun = hc_occupancy_begin_scan(occupancy);
    HC_AUTO_VALUE(hc_replica_lock) lock = {.cache = eviction->cache, .path = lock_path};
    uint64_t bytes;

    if (hc_usage_find_occupied(eviction->cache, is_urgent, cancellation, &bytes, err) < 0)
        return -1;
    while (!hc_replica_lock_try(&lock, hc_monotonic_ms())) {
        if (hc_cancellation_sleep(cancellation, POLL_MS, err) < 0)
            return -1;
    }
    hc_occupancy_end_scan(occupancy, &begun, bytes);
    return 0;
}

/* The first download of a process that no other process has told what the cache takes
 * waits for a scan. */
static int eviction_measure_first(struct hc_eviction *eviction,
                                  struct hc_cancellation *cancellation,
                                  struct hc_error *err)
{
    uint64_t bytes;

    if (hc_occupancy_find(hc_cache_occupancy(eviction->cache), &bytes) == 1)
        return 0;
    return hc_eviction_measure(eviction, true, cancellation, err);
}

/* ---- the turn ---------------------------------------------------------------------- */

static bool turn_take(struct hc_eviction *eviction)
{
    HC_LOCKED(&eviction->shared.lock);

    if (eviction->shared.is_busy)
        return false;
    eviction->shared.is_busy = true;
    eviction->shared.counts.running++;
    return true;
}

static void turn_give_back(struct hc_eviction *eviction, const struct eviction_run *run)
{
    HC_LOCKED(&eviction->shared.lock);

    eviction->shared.is_busy = false;
    eviction->shared.counts.running--;
    eviction->shared.counts.held_bytes = run->plan.held_bytes;
}

/* 1: it is this thread's turn, and this replica's; 0: nothing is missing any more; -1:
 * the caller has left. A dry run takes no lock of others. */
static int run_begin(struct eviction_run *run, struct hc_error *err)
{
    bool has_turn = false;

    for (;;) {
        bool has_lock;

        has_turn = has_turn || turn_take(run->eviction);
        has_lock = has_turn && (run->request->is_dry_run ||
                                hc_replica_lock_try(&run->lock, hc_monotonic_ms()));
        /* After the lock: the replica that had it has made room until then. */
        run->missing = eviction_find_missing(run);
        if (has_lock)
            return 1;
        if (run->missing > 0 &&
            hc_cancellation_sleep(run->request->cancellation, POLL_MS, err) == 0)
            continue;
        if (has_turn)
            turn_give_back(run->eviction, run);
        return run->missing > 0 ? -1 : 0;
    }
}

static void run_end(struct eviction_run *run)
{
    hc_replica_lock_release(&run->lock);
    turn_give_back(run->eviction, run);
}

/* ---- the plan ---------------------------------------------------------------------- */

static int run_make_plan(struct eviction_run *run, struct hc_error *err)
{
    const struct hc_eviction_scope scope = {.cache = run->eviction->cache,
                                            .rules = run->eviction->rules,
                                            .list = &run->eviction->candidates,
                                            .first = run->first,
                                            .missing = run->missing,
                                            .margin = run->margin,
                                            .result = run->space ? NULL : run->result,
                                            .cancellation = run->request->cancellation};

    return hc_eviction_plan_make(&run->plan, &scope, err);
}

/* How long the list is good for a download when it has too little: scans take a tenth of
 * the time at most. */
static int64_t candidates_pause_ms(const struct hc_candidates *list)
{
    return 9 * list->took_ms > RESCAN_MIN_MS ? 9 * list->took_ms : RESCAN_MIN_MS;
}

static int run_scan(struct eviction_run *run, struct hc_error *err)
{
    return hc_candidates_scan(&run->eviction->candidates, run->eviction->cache,
                              run->request->cancellation, err);
}

/* A process that was killed may have counted what it did not do, or have done what it did
 * not count. */
static int run_measure(struct eviction_run *run, struct hc_error *err)
{
    if (hc_usage_measure(run->eviction->cache, true, run->request->cancellation, err) < 0)
        return -1;
    run->missing = eviction_find_missing(run);
    return 0;
}

/* What killed processes have left goes before a revision that is in use. */
static void run_clean(const struct eviction_run *run)
{
    const struct hc_cache *cache = run->eviction->cache;
    const struct hc_strings *orphaned = &run->eviction->candidates.orphaned;
    int64_t now_ms = hc_volume_now_ms(cache);
    struct hc_repo repo;

    (void)hc_removal_sweep(cache, now_ms, HC_TRASH_STALE_MS);
    for (size_t i = 0; i < orphaned->count; i++) {
        if (hc_repo_parse_folder(&repo, orphaned->items[i]))
            (void)hc_orphans_remove(cache, &repo, now_ms, run->request->cancellation);
    }
}

/* The list has too little. */
static int run_look_again(struct eviction_run *run, struct hc_error *err)
{
    bool is_measured = run->space || run->request->bytes == 0;

    if (!run->request->is_dry_run)
        run_clean(run);
    if (!run->request->is_dry_run && is_measured && run_measure(run, err) < 0)
        return -1;
    return run_scan(run, err) < 0 ? -1 : run_make_plan(run, err);
}

/* A list that has enough revisions is good for long; before single files go, there may be
 * others. */
static int run_plan(struct eviction_run *run, struct hc_error *err)
{
    const struct hc_candidates *list = &run->eviction->candidates;
    int64_t age_ms = hc_monotonic_ms() - list->scanned_ms;

    if ((list->scanned_ms == 0 || age_ms > LIST_MAX_AGE_MS) && run_scan(run, err) < 0)
        return -1;
    if (run_make_plan(run, err) < 0)
        return -1;
    if ((run->plan.bytes >= run->missing && run->plan.file_count == 0) ||
        run->first > 0 || (run->space && age_ms < candidates_pause_ms(list)))
        return 0;
    return run_look_again(run, err);
}

/* ---- the removal ------------------------------------------------------------------- */

static const char evict_detail[] = "least recently used";

static void eviction_count(struct hc_eviction *eviction, uint64_t bytes,
                           unsigned revisions)
{
    HC_LOCKED(&eviction->shared.lock);

    eviction->shared.counts.evicted_bytes += bytes;
    eviction->shared.counts.evicted_revisions += revisions;
}

/* Removes a revision, or with a path a file of it. */
static int run_take(struct eviction_run *run, struct hc_removal *removal, size_t number,
                    const char *path, struct hc_error *err)
{
    const struct hc_candidate *candidate = &run->eviction->candidates.items[number];
    const char *commit = candidate->commit;
    size_t removed = run->result->removed_count;
    uint64_t freed = run->result->freed_bytes;
    struct hc_repo repo;

    if (hc_cancellation_check(run->request->cancellation, err) < 0)
        return -1;
    if (!hc_repo_parse_folder(&repo, candidate->folder))
        return 0;
    if (hc_removal_take(removal,
                        &(const struct hc_removal_request){.repo = &repo,
                                                           .commits = &commit,
                                                           .commit_count = 1,
                                                           .path = path,
                                                           .detail = evict_detail},
                        err) < 0)
        return -1;
    freed = run->result->freed_bytes - freed;
    run->missing = run->missing > freed ? run->missing - freed : 0;
    if (!run->request->is_dry_run && run->result->removed_count > removed)
        eviction_count(run->eviction, freed, path ? 0 : 1);
    return 0;
}

/* In its order. -1 leaves the rest. Removed or not, a revision leaves the list: a scan
 * finds it again. */
static int run_take_plan(struct eviction_run *run, struct hc_removal *removal,
                         struct hc_error *err)
{
    const struct hc_eviction_plan *plan = &run->plan;

    for (size_t i = 0; i < plan->revision_count; i++) {
        if (run_take(run, removal, plan->revisions[i], NULL, err) < 0)
            return -1;
        if (!run->request->is_dry_run)
            run->eviction->candidates.items[plan->revisions[i]].commit[0] = '\0';
    }
    for (size_t i = 0; i < plan->file_count; i++) {
        if (run_take(run, removal, plan->files[i].candidate, plan->files[i].path, err) <
            0)
            return -1;
    }
    return 0;
}

static void candidates_drop_removed(struct hc_candidates *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].commit[0])
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

/* Plans point into the list, so that it is sorted between them. */
static void run_sort(struct eviction_run *run)
{
    if (run->plan.has_moved)
        hc_candidates_sort(&run->eviction->candidates);
    run->plan.has_moved = false;
}

static int run_remove(struct eviction_run *run, struct hc_removal *removal,
                      struct hc_error *err)
{
    const struct hc_eviction_plan *plan = &run->plan;
    int taken = run_take_plan(run, removal, err);

    if (run->request->is_dry_run) {
        if (plan->revision_count > 0)
            run->first = plan->revisions[plan->revision_count - 1] + 1;
        return taken;
    }
    candidates_drop_removed(&run->eviction->candidates);
    run_sort(run);
    return taken;
}

/* A download takes all or nothing. */
static bool plan_is_worth_it(const struct eviction_run *run)
{
    return run->plan.revision_count + run->plan.file_count > 0 &&
           (!run->space || run->plan.bytes >= run->missing);
}

/*
 * Plans and removes until enough is free: a revision may be held by the time it is its
 * turn, or its files have other names, of which the last one frees the room.
 */
static int run_evict(struct eviction_run *run, struct hc_error *err)
{
    const struct hc_removal_options options = {.rules = run->eviction->rules,
                                               .is_dry_run = run->request->is_dry_run};
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(run->eviction->cache, &options, run->result, err);

    if (!removal)
        return -1;
    for (int fruitless = 0; fruitless < FRUITLESS_MAX && run->missing > 0; fruitless++) {
        size_t removed = run->result->removed_count;

        if (run_plan(run, err) < 0)
            return -1;
        if (!plan_is_worth_it(run))
            break;
        if (run_remove(run, removal, err) < 0)
            return -1;
        if (run->result->removed_count > removed)
            fruitless = -1;
    }
    run_sort(run);
    return 0;
}

/* ---- the interface ----------------------------------------------------------------- */

struct hc_eviction *hc_eviction_new(const struct hc_cache *cache,
                                    const struct hc_hold_rules *rules,
                                    struct hc_error *err)
{
    struct hc_eviction *eviction = calloc(1, sizeof *eviction);

    if (!eviction) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    eviction->cache = cache;
    eviction->rules = rules;
    (void)pthread_mutex_init(&eviction->shared.lock, NULL);
    return eviction;
}

void hc_eviction_free(struct hc_eviction *eviction)
{
    if (!eviction)
        return;
    hc_candidates_clear(&eviction->candidates);
    (void)pthread_mutex_destroy(&eviction->shared.lock);
    free(eviction);
}

/* With the turn. */
static int run_finish(struct eviction_run *run, struct hc_error *err)
{
    int evicted;

    if (run->space || run->request->bytes == 0)
        run->margin = hc_free_space_bounds(hc_cache_free_space(run->eviction->cache)) /
                      MARGIN_DIVISOR;
    evicted = run_evict(run, err);
    run->result->missing_bytes = run->missing;
    run_end(run);
    return evicted;
}

int hc_eviction_run(struct hc_eviction *eviction,
                    const struct hc_eviction_request *request,
                    struct hc_removal_result *result, struct hc_error *err)
{
    HC_AUTO_VALUE(eviction_run)
    run = {.eviction = eviction,
           .request = request,
           .result = result,
           .lock = {.cache = eviction->cache, .path = lock_path}};
    int begun;

    if (request->bytes == 0 &&
        eviction_measure_first(eviction, request->cancellation, err) < 0)
        return -1;
    begun = run_begin(&run, err);
    return begun <= 0 ? begun : run_finish(&run, err);
}

uint64_t hc_eviction_reclaim(void *ctx, const struct hc_space_request *space,
                             uint64_t bytes, struct hc_space_held *held)
{
    struct hc_eviction *eviction = ctx;
    const struct hc_eviction_request request = {.cancellation = space->cancellation};
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    HC_AUTO_VALUE(eviction_run)
    run = {.eviction = eviction,
           .request = &request,
           .space = space,
           .result = &result,
           .lock = {.cache = eviction->cache, .path = lock_path}};
    struct hc_error unused;
    int begun;

    (void)bytes; /* how many it is by then is found out with the turn */
    if (eviction_measure_first(eviction, space->cancellation, &unused) < 0)
        return 0;
    begun = run_begin(&run, &unused);
    if (begun <= 0)
        return begun == 0;
    if (run_finish(&run, &unused) < 0)
        return 0;
    *held = run.plan.held;
    return run.missing == 0; /* how much it is, the caller measures */
}

void hc_eviction_counts(struct hc_eviction *eviction, struct hc_eviction_counts *counts)
{
    HC_LOCKED(&eviction->shared.lock);

    *counts = eviction->shared.counts;
}
