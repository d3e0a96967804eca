/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a blob is brought: take its lock, look whether somebody else has brought it, begin
 * an ingest, have a stripe fill it, commit. A leg is one leader's part in
 * that; what it leaves on board of the flight, lock and ingest, the next leader goes on
 * with.
 */
#include "transfer.h"

#include "download_lock.h"
#include "segment_worker.h"
#include "segmented_download.h"
#include "shared_transfer.h"

#include <base/error.h>
#include <base/hash.h>
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

struct attempt {
    struct hc_transfers *transfers;
    struct hc_shared_transfer *shared;
    const struct hc_blob_request *request;
    const struct hc_hub_credentials *credentials;
    struct hc_partial_file partial;
    struct hc_download_lock download_lock;
    struct hc_byte_source source;
    struct hc_transfer report;
    bool has_begun;     /* to bring it */
    uint64_t size;      /* 0 while it is not known */
    uint64_t own_bytes; /* of the blob, for the sake of this process */
    bool is_fetched;    /* from the Hub, though it may have no bytes */
};

static void attempt_store_partial(const struct attempt *attempt)
{
    hc_shared_transfer_set_partial(attempt->transfers->active, attempt->shared,
                                   attempt->partial);
}

/* From byte 0, and nothing is given. */
static int attempt_restart(const struct attempt *attempt, struct hc_error *err)
{
    int result = hc_ingest_restart(attempt->partial.ingest, err);

    attempt_store_partial(attempt);
    return result;
}

/* What the network was faster than; the caller may leave meanwhile. */
static int attempt_hash_rest(struct attempt *attempt, struct hc_error *err)
{
    int result;

    do
        result = hc_cancellation_check(attempt->credentials->cancellation, err) < 0
                     ? -1
                     : hc_ingest_hash_next(attempt->partial.ingest, err);
    while (result > 0);
    return result;
}

static int attempt_download_and_commit(struct attempt *attempt, struct hc_error *err)
{
    if (hc_segmented_download_run(&attempt->source, attempt->transfers->budget, err) <
            0 ||
        attempt_hash_rest(attempt, err) < 0)
        return -1;
    return hc_ingest_commit(attempt->partial.ingest, err);
}

/* Which file it is whose bytes stayed wrong, and what can be done. */
static int attempt_fail_wrong_bytes(const struct attempt *attempt, struct hc_error *err)
{
    char subject[HC_TARGET_TEXT_SIZE];

    hc_byte_source_describe(&attempt->source, subject);
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
static int attempt_download_verified(struct attempt *attempt, struct hc_error *err)
{
    bool is_others = hc_ingest_resumed_bytes(attempt->partial.ingest) > 0 ||
                     hc_ingest_duplicate_bytes(attempt->partial.ingest) > 0;
    int attempts = is_others ? 3 : 2;

    while (attempt_download_and_commit(attempt, err) < 0) {
        bool is_wrong = err->reason == HC_CHECKSUM_MISMATCH ||
                        hc_byte_source_sent_wrong_bytes(&attempt->source, err);

        if (!is_wrong || --attempts == 0)
            return attempt_fail_wrong_bytes(attempt, err);
        hc_byte_source_forget_address(&attempt->source,
                                      attempt->source.shared.address_number);
        hc_byte_source_count_retry(&attempt->source);
        if (attempt_restart(attempt, err) < 0)
            return -1;
        attempt->source.shared.has_wrong_bytes = false;
    }
    return 0;
}

static uint64_t known_size(uint64_t size)
{
    return size == HC_SIZE_UNKNOWN ? 0 : size;
}

static int attempt_download(struct attempt *attempt, struct hc_error *err)
{
    int result;

    attempt->source.hub = attempt->transfers->hub;
    attempt->source.request = attempt->request;
    attempt->source.ingest = attempt->partial.ingest;
    attempt->source.retries = hc_shared_transfer_retries(attempt->shared);
    attempt->source.min_split_size = attempt->transfers->min_split_size;
    attempt->source.credentials = *attempt->credentials;
    if (hc_digest_kind_of(attempt->request->blob.etag) == HC_DIGEST_NONE)
        attempt->source.credentials.hub_only =
            true; /* a mirror's bytes could not be checked */
    hc_byte_source_init(&attempt->source);
    result = attempt_download_verified(attempt, err);
    attempt->report.fetched_bytes = attempt->source.shared.received;
    attempt->report.retries = attempt->source.shared.retries;
    attempt->report.connections = attempt->source.shared.peak;
    attempt->report.resumed_bytes = hc_ingest_resumed_bytes(attempt->partial.ingest);
    attempt->report.shared_bytes = hc_ingest_duplicate_bytes(attempt->partial.ingest);
    hc_byte_source_clear(&attempt->source);
    attempt->size = known_size(hc_pieces_size(hc_ingest_pieces(attempt->partial.ingest)));
    return result;
}

static void attempt_note_remote(void *ctx, uint64_t bytes, bool is_remote)
{
    struct attempt *attempt = ctx;

    hc_shared_transfer_set_remote(attempt->transfers->active, attempt->shared, bytes,
                                  is_remote);
}

/* Lock first: then what is found, or not, stays so. */
static int attempt_take_lock(struct attempt *attempt, struct hc_error *err)
{
    if (attempt->partial.lock)
        return 0;
    attempt->partial.lock = hc_download_lock_take(&attempt->download_lock, err);
    attempt_store_partial(attempt);
    return attempt->partial.lock ? 0 : -1;
}

/* 1 begun; 0 somebody else is at it, though we have the lock; -1. */
static int attempt_begin_ingest(struct attempt *attempt, struct hc_error *err)
{
    const struct hc_blob_request *request = attempt->request;
    const struct hc_ingest_options options = {
        .piece_length = hc_byte_source_piece_length(attempt->transfers->min_split_size),
        .stalled = attempt->download_lock.stalled,
        .cancellation = attempt->credentials->cancellation,
    };
    int begun = 1;

    if (!attempt->partial.ingest) {
        begun = hc_ingest_begin(attempt->transfers->cache, request, &options,
                                &attempt->partial.ingest, err);
        attempt_store_partial(attempt);
        attempt->download_lock.stalled[0] = '\0'; /* it says nothing of the next one */
        if (begun == 1 && request->is_forced && attempt_restart(attempt, err) < 0)
            return -1;
    }
    return begun;
}

/* Who was taken for dead lost its file, and waits for whoever has it now. */
static bool attempt_was_taken_over(struct attempt *attempt)
{
    struct hc_ingest *ingest = attempt->partial.ingest;

    if (!ingest || !hc_ingest_was_taken_over(ingest))
        return false;
    attempt->partial.ingest = NULL;
    attempt_store_partial(attempt);
    hc_ingest_drop(ingest);
    return true;
}

/* 0 the blob is there; 1 look again; -1. */
static int attempt_step(struct attempt *attempt, struct hc_error *err)
{
    int found, begun;

    if (attempt_take_lock(attempt, err) < 0)
        return -1;
    found = hc_download_lock_finds_blob(&attempt->download_lock, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    begun = attempt_begin_ingest(attempt, err);
    if (begun == 0)
        return hc_download_lock_await_claim(&attempt->download_lock, err) < 0 ? -1 : 1;
    attempt->has_begun = true;
    if (begun < 0 || attempt_download(attempt, err) < 0)
        return attempt_was_taken_over(attempt) ? 1 : -1;
    attempt->own_bytes =
        attempt->size - attempt->report.resumed_bytes - attempt->report.shared_bytes;
    attempt->is_fetched = attempt->own_bytes > 0 || attempt->size == 0;
    return 0;
}

/* Budget: none but the caller's deadline. The pause is the other owner's: an attempt ends
 * with 1 when another process has taken the file over, seconds after its last heartbeat. */
static int attempt_run(struct attempt *attempt, struct hc_error *err)
{
    int result;

    attempt->download_lock =
        (struct hc_download_lock){.cache = attempt->transfers->cache,
                                  .request = attempt->request,
                                  .cancellation = attempt->credentials->cancellation,
                                  .takeover_ms = attempt->transfers->takeover_ms,
                                  .note_remote = attempt_note_remote,
                                  .ctx = attempt};
    do
        result = attempt_step(attempt, err);
    while (result > 0);
    attempt->report.waited_ms = (uint64_t)attempt->download_lock.waited_ms;
    return result;
}

/* The leader's own affair: it left, */
static bool failure_is_of_the_caller(const struct hc_error *err)
{
    return err->reason == HC_CANCELLED || err->reason == HC_DEADLINE_EXCEEDED;
}

/* or the Hub would not have it, though it may have others. */
static bool failure_is_a_refusal(const struct hc_error *err)
{
    return err->reason == HC_HUB_UNAUTHORIZED || err->reason == HC_GATED_REPO ||
           err->reason == HC_REPO_NOT_FOUND;
}

/* Most blobs of a new commit are those of the one before. */
static bool attempt_found_the_blob(const struct attempt *attempt, enum hc_reason reason)
{
    return reason == HC_OK && !attempt->has_begun &&
           attempt->download_lock.waited_ms == 0;
}

/* Tells whoever watches, and nobody when nothing was done. */
static void attempt_report(const struct attempt *attempt, int64_t began_ms,
                           enum hc_reason reason)
{
    const struct hc_blob_request *request = attempt->request;
    struct hc_transfer report = attempt->report;

    if (!attempt->transfers->observer || attempt_found_the_blob(attempt, reason))
        return;
    report.repo_id = request->file.repo->id;
    report.repo_type = request->file.repo->type;
    report.path = request->file.path;
    report.etag = request->blob.etag;
    report.size_bytes = attempt->size;
    report.reason = reason;
    report.duration_ms = (uint64_t)(hc_monotonic_ms() - began_ms);
    attempt->transfers->observer(attempt->transfers->observer_ctx, &report);
}

static int attempt_lead(struct hc_transfers *transfers, struct attempt *attempt,
                        struct hc_error *err)
{
    int64_t began_ms = hc_monotonic_ms();
    int result;

    attempt->partial = hc_shared_transfer_partial(transfers->active, attempt->shared);
    result = attempt_run(attempt, err);
    attempt_report(attempt, began_ms, result < 0 ? err->reason : HC_OK);
    if (result == 0) {
        hc_shared_transfer_finish(transfers->active, attempt->shared, NULL);
        return 0;
    }
    if (failure_is_of_the_caller(err))
        hc_shared_transfer_hand_over(transfers->active, attempt->shared, NULL, NULL);
    else if (failure_is_a_refusal(err))
        hc_shared_transfer_hand_over(transfers->active, attempt->shared,
                                     attempt->credentials, err);
    else
        hc_shared_transfer_finish(transfers->active, attempt->shared, err);
    return -1;
}

/*
 * Bytes that come for another caller's token are for this one only if the Hub gives it the
 * file, too: an answer about it to its own token says so, be it the one that named the
 * blob just now. A mirror that names the same blob gives it to everybody.
 */
static int attempt_prove_access(const struct attempt *attempt, struct hc_error *err)
{
    const struct hc_blob_request *request = attempt->request;
    struct hc_metadata metadata = {0};

    if (request->location)
        return 0;
    if (hc_hub_head(attempt->transfers->hub, &request->file, attempt->credentials,
                    &metadata, err) < 0)
        return -1;
    if (!metadata.is_of_mirror || strcmp(metadata.etag, request->blob.etag) == 0)
        return 0;
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "file '%.120s' of %s '%s': the Hub cannot be asked whether the caller "
                   "may have it",
                   request->file.path, hc_repo_type_name(request->file.repo->type),
                   request->file.repo->id);
}

/* hc_shared_transfer_wait's answer, once the caller may have what is on board. */
static int attempt_await_role(const struct attempt *attempt, struct hc_error *err)
{
    struct hc_shared_transfers *active = attempt->transfers->active;
    int role;

    while ((role = hc_shared_transfer_wait(active, attempt->shared, attempt->credentials,
                                           err)) == HC_SHARED_TRANSFER_PROVE) {
        if (attempt_prove_access(attempt, err) < 0 ||
            hc_shared_transfer_admit(active, attempt->shared, attempt->credentials, err) <
                0)
            return -1;
    }
    return role;
}

/* As many connections as are wanted, or as the memory suffices for; one at least. */
static unsigned affordable_connections(const struct hc_settings *settings)
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
    transfers->budget = hc_budget_new(affordable_connections(settings), err);
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
                       const struct hc_hub_credentials *credentials,
                       struct hc_blob_result *result, struct hc_error *err)
{
    const struct hc_shared_transfer_key key = {.blob = request->blob,
                                               .is_forced = request->is_forced};
    struct attempt attempt = {.transfers = transfers,
                              .request = request,
                              .credentials = credentials,
                              .size = known_size(request->size)};
    int role;

    *result = (struct hc_blob_result){0};
    attempt.shared = hc_shared_transfer_join(transfers->active, &key, credentials, err);
    if (!attempt.shared)
        return -1;
    role = attempt_await_role(&attempt, err);
    if (role == HC_SHARED_TRANSFER_LEAD)
        role = attempt_lead(transfers, &attempt, err);
    result->fetched_bytes = attempt.own_bytes;
    result->is_fetched = attempt.is_fetched;
    result->retries = atomic_load(hc_shared_transfer_retries(attempt.shared));
    hc_shared_transfer_leave(transfers->active, attempt.shared);
    return role;
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
                                                  const struct hc_blob_id *blob)
{
    return hc_shared_transfers_progress(transfers->active, blob);
}

unsigned hc_transfers_waiting(struct hc_transfers *transfers,
                              const struct hc_blob_id *blob)
{
    return hc_shared_transfers_waiters(transfers->active, blob);
}
