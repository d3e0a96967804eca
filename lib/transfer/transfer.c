/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a blob is brought: take its lock, look whether somebody else has brought it, begin
 * an ingest, have a stripe fill it, commit. A leg is one leader's part in
 * that; what it leaves on board of the flight, lock and ingest, the next leader goes on
 * with.
 */
#include "transfer.h"

#include "download_lock.h"
#include "shared_transfer.h"
#include "stripe.h"
#include "worker.h"

#include <base/digest.h>
#include <base/error.h>
#include <base/size.h>

#include <stdlib.h>
#include <string.h>

enum { CONNECTION_MEMORY = 640 * 1024 /* curl's buffer, ours, and what TLS needs */ };

struct hc_transfers {
    const struct hc_cache *cache;
    struct hc_hub *hub;
    struct hc_shared_transfers *active;
    struct hc_budget *budget;
    uint64_t min_split_size;
    int64_t takeover_ms;
    hc_transfer_fn observer;
    void *observer_ctx;
};

struct leg {
    struct hc_transfers *transfers;
    struct hc_shared_transfer *flight;
    const struct hc_blob_request *request;
    const struct hc_caller *caller;
    struct hc_partial_file cargo;
    struct hc_download_lock download_lock;
    struct hc_origin origin;
    struct hc_transfer report;
    bool has_begun;   /* to bring it */
    uint64_t size;    /* 0 while it is not known */
    uint64_t brought; /* of the blob, for the sake of this process */
    bool is_fetched;  /* from the Hub, though it may have no bytes */
};

static void load(const struct leg *leg)
{
    hc_shared_transfer_set_partial(leg->transfers->active, leg->flight, leg->cargo);
}

/* From byte 0, and nothing is given. */
static int restart(const struct leg *leg, struct hc_error *err)
{
    int result = hc_ingest_restart(leg->cargo.ingest, err);

    load(leg);
    return result;
}

/* What the network was faster than; the caller may leave meanwhile. */
static int hash_rest(struct leg *leg, struct hc_error *err)
{
    int result;

    do
        result = hc_cancellation_check(leg->caller->call, err) < 0
                     ? -1
                     : hc_ingest_hash(leg->cargo.ingest, err);
    while (result > 0);
    return result;
}

static int fill_and_commit(struct leg *leg, struct hc_error *err)
{
    if (hc_stripe_bring(&leg->origin, leg->transfers->budget, err) < 0 ||
        hash_rest(leg, err) < 0)
        return -1;
    return hc_ingest_commit(leg->cargo.ingest, err);
}

/* Which file it is whose bytes stayed wrong, and what can be done. */
static int fail_wrong(const struct leg *leg, struct hc_error *err)
{
    char subject[HC_SUBJECT_SIZE];

    hc_origin_describe(&leg->origin, subject);
    if (err->reason != HC_CHECKSUM_MISMATCH)
        return -1;
    return hc_context(err,
                      "%s: fetched again, and still not what the Hub says it is; check "
                      "for a proxy or a cache on the way that changes bytes, then ask "
                      "again",
                      subject);
}

/*
 * Wrong bytes may have come from a resumed answer or a bad cache on the way: once more.
 * That others left wrong bytes behind does not count. Budget: three attempts at most; no
 * pause, for each brings the whole blob.
 */
static int bring(struct leg *leg, struct hc_error *err)
{
    bool is_others = hc_ingest_inherited(leg->cargo.ingest) > 0 ||
                     hc_ingest_shared(leg->cargo.ingest) > 0;
    int attempts = is_others ? 3 : 2;

    while (fill_and_commit(leg, err) < 0) {
        bool is_wrong =
            err->reason == HC_CHECKSUM_MISMATCH || hc_origin_is_wrong(&leg->origin, err);

        if (!is_wrong || --attempts == 0)
            return fail_wrong(leg, err);
        hc_origin_forget(&leg->origin, leg->origin.shared.address);
        hc_origin_note_retry(&leg->origin);
        if (restart(leg, err) < 0)
            return -1;
        leg->origin.shared.is_wrong = false;
    }
    return 0;
}

static uint64_t known(uint64_t size)
{
    return size == HC_SIZE_UNKNOWN ? 0 : size;
}

static int bring_from_origin(struct leg *leg, struct hc_error *err)
{
    int result;

    leg->origin.hub = leg->transfers->hub;
    leg->origin.request = leg->request;
    leg->origin.ingest = leg->cargo.ingest;
    leg->origin.min_split_size = leg->transfers->min_split_size;
    leg->origin.caller = *leg->caller;
    if (hc_digest_kind_of(leg->request->etag) == HC_DIGEST_NONE)
        leg->origin.caller.hub_only = true; /* a mirror's bytes could not be checked */
    hc_origin_init(&leg->origin);
    result = bring(leg, err);
    leg->report.fetched_bytes = leg->origin.shared.received;
    leg->report.retries = leg->origin.shared.retries;
    leg->report.connections = leg->origin.shared.most;
    leg->report.resumed_bytes = hc_ingest_inherited(leg->cargo.ingest);
    leg->report.shared_bytes = hc_ingest_shared(leg->cargo.ingest);
    hc_origin_clear(&leg->origin);
    leg->size = known(hc_pieces_size(hc_ingest_pieces(leg->cargo.ingest)));
    return result;
}

static void sight(void *ctx, const struct hc_blob_progress *remote)
{
    struct leg *leg = ctx;

    hc_shared_transfer_set_remote(leg->transfers->active, leg->flight, remote);
}

/* Lock first: then what is found, or not, stays so. */
static int take_lock(struct leg *leg, struct hc_error *err)
{
    if (leg->cargo.lock)
        return 0;
    leg->cargo.lock = hc_download_lock_take(&leg->download_lock, err);
    load(leg);
    return leg->cargo.lock ? 0 : -1;
}

/* 1 begun; 0 somebody else is at it, though we have the lock; -1. */
static int begin_ingest(struct leg *leg, struct hc_error *err)
{
    const struct hc_blob_request *request = leg->request;
    const struct hc_ingest_plan plan = {
        .repo = request->repo,
        .etag = request->etag,
        .size = request->size,
        .piece = hc_origin_piece(leg->transfers->min_split_size),
        .stuck = leg->download_lock.stalled,
        .call = leg->caller->call,
        .may_share = !request->force,
    };
    int begun = 1;

    if (!leg->cargo.ingest) {
        begun = hc_ingest_begin(leg->transfers->cache, &plan, &leg->cargo.ingest, err);
        load(leg);
        leg->download_lock.stalled[0] = '\0'; /* it says nothing of the next one */
        if (begun == 1 && request->force && restart(leg, err) < 0)
            return -1;
    }
    return begun;
}

/* Who was taken for dead lost its file, and waits for whoever has it now. */
static bool is_robbed(struct leg *leg)
{
    struct hc_ingest *ingest = leg->cargo.ingest;

    if (!ingest || !hc_ingest_is_robbed(ingest))
        return false;
    leg->cargo.ingest = NULL;
    load(leg);
    hc_ingest_drop(ingest);
    return true;
}

/* 0 the blob is there; 1 look again; -1. */
static int attempt(struct leg *leg, struct hc_error *err)
{
    int found, begun;

    if (take_lock(leg, err) < 0)
        return -1;
    found = hc_download_lock_finds_blob(&leg->download_lock, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    begun = begin_ingest(leg, err);
    if (begun == 0)
        return hc_download_lock_await_claim(&leg->download_lock, err) < 0 ? -1 : 1;
    leg->has_begun = true;
    if (begun < 0 || bring_from_origin(leg, err) < 0)
        return is_robbed(leg) ? 1 : -1;
    leg->brought = leg->size - leg->report.resumed_bytes - leg->report.shared_bytes;
    leg->is_fetched = leg->brought > 0 || leg->size == 0;
    return 0;
}

/* Budget: none but the caller's deadline. The pause is the other owner's: an attempt ends
 * with 1 when another process has taken the file over, seconds after its last heartbeat. */
static int fly(struct leg *leg, struct hc_error *err)
{
    int result;

    leg->download_lock =
        (struct hc_download_lock){.cache = leg->transfers->cache,
                                  .request = leg->request,
                                  .call = leg->caller->call,
                                  .takeover_ms = leg->transfers->takeover_ms,
                                  .note_remote = sight,
                                  .ctx = leg};
    do
        result = attempt(leg, err);
    while (result > 0);
    leg->report.waited_ms = (uint64_t)leg->download_lock.waited_ms;
    return result;
}

/* The leader's own affair: it left, */
static bool is_leaving(const struct hc_error *err)
{
    return err->reason == HC_CANCELLED || err->reason == HC_DEADLINE_EXCEEDED;
}

/* or the Hub would not have it, though it may have others. */
static bool is_refused(const struct hc_error *err)
{
    return err->reason == HC_HUB_UNAUTHORIZED || err->reason == HC_GATED_REPO ||
           err->reason == HC_REPO_NOT_FOUND;
}

/* Most blobs of a new commit are those of the one before. */
static bool was_there(const struct leg *leg, enum hc_reason reason)
{
    return reason == HC_OK && !leg->has_begun && leg->download_lock.waited_ms == 0;
}

/* Tells whoever watches, and nobody when nothing was done. */
static void tell(const struct leg *leg, int64_t began_ms, enum hc_reason reason)
{
    const struct hc_blob_request *request = leg->request;
    struct hc_transfer report = leg->report;

    if (!leg->transfers->observer || was_there(leg, reason))
        return;
    report.repo_id = request->repo->id;
    report.repo_type = request->repo->type;
    report.path = request->path;
    report.etag = request->etag;
    report.size_bytes = leg->size;
    report.reason = reason;
    report.duration_ms = (uint64_t)(hc_monotonic_ms() - began_ms);
    leg->transfers->observer(leg->transfers->observer_ctx, &report);
}

static int lead(struct hc_transfers *transfers, struct leg *leg, struct hc_error *err)
{
    int64_t began_ms = hc_monotonic_ms();
    int result;

    leg->cargo = hc_shared_transfer_partial(transfers->active, leg->flight);
    result = fly(leg, err);
    tell(leg, began_ms, result < 0 ? err->reason : HC_OK);
    if (result == 0) {
        hc_shared_transfer_finish(transfers->active, leg->flight, NULL);
        return 0;
    }
    if (is_leaving(err))
        hc_shared_transfer_hand_over(transfers->active, leg->flight, NULL, NULL);
    else if (is_refused(err))
        hc_shared_transfer_hand_over(transfers->active, leg->flight, leg->caller, err);
    else
        hc_shared_transfer_finish(transfers->active, leg->flight, err);
    return -1;
}

/*
 * Bytes that come for another caller's token are for this one only if the Hub gives it the
 * file, too: an answer about it to its own token says so, be it the one that named the
 * blob just now. A mirror that names the same blob gives it to everybody.
 */
static int prove_access(const struct leg *leg, struct hc_error *err)
{
    const struct hc_blob_request *request = leg->request;
    const struct hc_place place = {request->repo, request->commit, request->path};
    struct hc_metadata metadata = {0};

    if (request->location)
        return 0;
    if (hc_hub_head(leg->transfers->hub, &place, leg->caller, &metadata, err) < 0)
        return -1;
    if (!metadata.is_of_mirror || strcmp(metadata.etag, request->etag) == 0)
        return 0;
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "file '%.120s' of %s '%s': the Hub cannot be asked whether the caller "
                   "may have it",
                   request->path, hc_repo_type_name(request->repo->type),
                   request->repo->id);
}

/* hc_shared_transfer_wait's answer, once the caller may have what is on board. */
static int await_turn(const struct leg *leg, struct hc_error *err)
{
    struct hc_shared_transfers *flights = leg->transfers->active;
    int role;

    while ((role = hc_shared_transfer_wait(flights, leg->flight, leg->caller, err)) ==
           HC_SHARED_TRANSFER_PROVE) {
        if (prove_access(leg, err) < 0 ||
            hc_shared_transfer_admit(flights, leg->flight, leg->caller, err) < 0)
            return -1;
    }
    return role;
}

/* As many connections as are wanted, or as the memory suffices for; one at least. */
static unsigned affordable(const struct hc_settings *settings)
{
    uint64_t memory =
        settings->download_memory ? settings->download_memory : HC_DOWNLOAD_MEMORY;
    uint64_t most = memory / CONNECTION_MEMORY;

    if (most > settings->connections)
        most = settings->connections;
    return most > 0 ? (unsigned)most : 1;
}

struct hc_transfers *hc_transfers_open(const struct hc_cache *cache, struct hc_hub *hub,
                                       const struct hc_settings *settings,
                                       struct hc_error *err)
{
    HC_AUTO(hc_transfers) *transfers = calloc(1, sizeof *transfers);

    if (!transfers) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    transfers->cache = cache;
    transfers->hub = hub;
    transfers->active = hc_shared_transfers_new(err);
    if (!transfers->active)
        return NULL;
    transfers->min_split_size =
        settings->min_split_size ? settings->min_split_size : HC_MIN_SPLIT_SIZE;
    transfers->takeover_ms =
        settings->takeover_ms ? settings->takeover_ms : HC_TAKEOVER_MS;
    transfers->budget = hc_budget_new(affordable(settings), err);
    return transfers->budget ? hc_take(&transfers) : NULL;
}

void hc_transfers_close(struct hc_transfers *transfers)
{
    if (!transfers)
        return;
    hc_budget_free(transfers->budget);
    hc_shared_transfers_free(transfers->active);
    free(transfers);
}

int hc_transfers_fetch(struct hc_transfers *transfers,
                       const struct hc_blob_request *request,
                       const struct hc_caller *caller, uint64_t *fetched_bytes,
                       struct hc_error *err)
{
    const struct hc_shared_transfer_key name = {.repo = request->repo,
                                                .etag = request->etag,
                                                .is_forced = request->force};
    struct hc_blob_request aboard = *request;
    struct leg leg = {.transfers = transfers, .request = &aboard, .caller = caller};
    int result;

    leg.size = known(aboard.size);
    *fetched_bytes = 0;
    leg.flight = hc_shared_transfer_join(transfers->active, &name, caller, err);
    if (!leg.flight)
        return -1;
    aboard.retries = hc_shared_transfer_retries(leg.flight);
    result = await_turn(&leg, err);
    if (result == HC_SHARED_TRANSFER_LEAD)
        result = lead(transfers, &leg, err);
    *fetched_bytes = leg.brought;
    if (request->is_fetched)
        *request->is_fetched = leg.is_fetched;
    if (request->retries)
        (void)atomic_fetch_add(request->retries, atomic_load(aboard.retries));
    hc_shared_transfer_leave(transfers->active, leg.flight);
    return result;
}

void hc_transfers_observe(struct hc_transfers *transfers, hc_transfer_fn fn, void *ctx)
{
    transfers->observer = fn;
    transfers->observer_ctx = ctx;
}

void hc_transfers_count(struct hc_transfers *transfers, unsigned *count,
                        unsigned *connections)
{
    *count = hc_shared_transfers_count(transfers->active);
    *connections = hc_budget_used(transfers->budget);
}

struct hc_transfer_progress hc_transfers_progress(struct hc_transfers *transfers,
                                                  const struct hc_repo *repo,
                                                  const char *etag)
{
    return hc_shared_transfers_progress(transfers->active, repo, etag);
}

unsigned hc_transfers_waiting(struct hc_transfers *transfers, const struct hc_repo *repo,
                              const char *etag)
{
    return hc_shared_transfers_waiters(transfers->active, repo, etag);
}
