/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transfer is a flight (base/single_flight.h) that also knows which tokens the Hub has
 * accepted, and owns the partial file. The flights' lock guards every member and is never
 * held across I/O: a partial file is taken off under it and dropped outside. The leader
 * may use the partial file without the lock, as only the leader changes it; other callers
 * look at an ingest's figures only, under the lock.
 */
#include "shared_transfer.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/size.h>
#include <base/text.h>

#include <stdlib.h>
#include <string.h>

enum { RATE_EVERY_MS = 2000 };

struct hc_shared_transfer {
    struct hc_single_flight flight; /* first: a flight is cast to its transfer */
    struct hc_single_flights *flights;
    char folder[HC_REPO_FOLDER_MAX + 1];
    char etag[HC_ETAG_MAX + 1];
    bool is_forced;
    const struct hc_endpoint *endpoint; /* see struct hc_hub_credentials */
    struct hc_error outcome;            /* when finished; reason HC_OK: well */
    struct hc_keyed_hash *admitted;     /* tokens, */
    size_t admitted_count;
    struct hc_keyed_hash
        refused;             /* and, with `refusal`, that of a leader that was refused */
    struct hc_error refusal; /* reason HC_OK: none was */
    struct hc_partial_file partial;
    uint64_t remote_bytes;
    uint64_t remote_bytes_at_first; /* when another process was first seen to have it */
    bool is_remote;
    struct hc_transfer_counts counts;

    /* For listings. */
    char *path; /* a file that has this blob */
    uint64_t size;
    int64_t began_ms;
    struct transfer_sample {
        int64_t ms;
        uint64_t bytes;
    } samples[2]; /* of earlier listings, the newer one first */
};

/* What a transfer is found by, and begun with. */
struct transfer_key {
    struct hc_single_flights *flights;
    const struct hc_blob_request *request;
    struct hc_keyed_hash token;
    const struct hc_endpoint *endpoint;
};

static bool transfer_is_of(const struct hc_shared_transfer *transfer,
                           const struct hc_blob_id *blob)
{
    return strcmp(transfer->etag, blob->etag) == 0 &&
           strcmp(transfer->folder, blob->folder) == 0;
}

static bool transfer_has_admitted(const struct hc_shared_transfer *transfer,
                                  const struct hc_keyed_hash *token)
{
    for (size_t i = 0; i < transfer->admitted_count; i++) {
        if (hc_keyed_hash_equals(&transfer->admitted[i], token))
            return true;
    }
    return false;
}

static int transfer_add_token(struct hc_shared_transfer *transfer,
                              const struct hc_keyed_hash *token, struct hc_error *err)
{
    struct hc_keyed_hash *admitted =
        reallocarray(transfer->admitted, transfer->admitted_count + 1,
                     sizeof *transfer->admitted);

    if (!admitted)
        return hc_fail_memory(err);
    transfer->admitted = admitted;
    transfer->admitted[transfer->admitted_count++] = *token;
    return 0;
}

/* The lock goes last: the process that gets it next finds no half-written blob of
 * ours. */
static void partial_file_drop(struct hc_partial_file partial)
{
    hc_ingest_drop(partial.ingest);
    hc_blob_lock_release(partial.lock);
}

/* ---- the rules of the flight ----------------------------------------------------------
 */

static bool transfer_has_key(const struct hc_single_flight *flight, const void *key)
{
    const struct hc_shared_transfer *transfer = (const struct hc_shared_transfer *)flight;
    const struct transfer_key *wanted = key;

    return transfer->is_forced == wanted->request->is_forced &&
           transfer->endpoint == wanted->endpoint &&
           transfer_is_of(transfer, &wanted->request->blob);
}

static void transfer_destroy(struct hc_single_flight *flight)
{
    struct hc_shared_transfer *transfer = (struct hc_shared_transfer *)flight;

    partial_file_drop(transfer->partial);
    free(transfer->admitted);
    free(transfer->path);
    free(transfer);
}

static struct hc_single_flight *transfer_create(const void *key, struct hc_error *err)
{
    const struct transfer_key *begun = key;
    struct hc_shared_transfer *transfer = calloc(1, sizeof *transfer);

    if (!transfer) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    transfer->flights = begun->flights;
    (void)hc_format(transfer->folder, sizeof transfer->folder, "%s",
                    begun->request->blob.folder);
    (void)hc_format(transfer->etag, sizeof transfer->etag, "%s",
                    begun->request->blob.etag);
    transfer->is_forced = begun->request->is_forced;
    transfer->endpoint = begun->endpoint;
    transfer->size = begun->request->size;
    transfer->began_ms = hc_monotonic_ms();
    transfer->samples[0].ms = transfer->samples[1].ms = transfer->began_ms;
    transfer->path = hc_text_copy(begun->request->file.path, err);
    if (!transfer->path == !begun->request->file.path &&
        transfer_add_token(transfer, &begun->token, err) == 0)
        return &transfer->flight;
    free(transfer->path);
    free(transfer);
    return NULL;
}

/* Access first: a caller that has none is told nothing of the transfer. */
static int transfer_decide(const struct hc_single_flight *flight, const void *token,
                           struct hc_error *err)
{
    const struct hc_shared_transfer *transfer = (const struct hc_shared_transfer *)flight;

    if (!transfer_has_admitted(transfer, token))
        return HC_SHARED_TRANSFER_PROVE;
    if (transfer->refusal.reason == HC_OK ||
        !hc_keyed_hash_equals(&transfer->refused, token))
        return 0;
    *err = transfer->refusal;
    return -1;
}

void hc_shared_transfers_init(struct hc_single_flights *transfers)
{
    static const struct hc_single_flight_rules rules = {.has_key = transfer_has_key,
                                                        .create = transfer_create,
                                                        .destroy = transfer_destroy,
                                                        .decide = transfer_decide};

    hc_single_flights_init(transfers, &rules);
}

/* ---- callers --------------------------------------------------------------------------
 */

struct hc_shared_transfer *hc_shared_transfer_join(
    struct hc_single_flights *transfers, const struct hc_blob_request *request,
    const struct hc_hub_credentials *credentials, struct hc_error *err)
{
    const struct transfer_key key = {.flights = transfers,
                                     .request = request,
                                     .token = hc_keyed_hash_of(credentials->token),
                                     .endpoint = credentials->endpoint};

    return (struct hc_shared_transfer *)hc_single_flight_join(transfers, &key, err);
}

int hc_shared_transfer_admit(struct hc_shared_transfer *transfer,
                             const struct hc_hub_credentials *credentials,
                             struct hc_error *err)
{
    const struct hc_keyed_hash token = hc_keyed_hash_of(credentials->token);
    HC_LOCKED(&transfer->flights->shared.lock);

    return transfer_has_admitted(transfer, &token)
               ? 0
               : transfer_add_token(transfer, &token, err);
}

void hc_shared_transfer_leave(struct hc_shared_transfer *transfer)
{
    hc_single_flight_leave(transfer->flights, &transfer->flight);
}

int hc_shared_transfer_wait(struct hc_shared_transfer *transfer,
                            const struct hc_hub_credentials *credentials,
                            struct hc_error *err)
{
    const struct hc_keyed_hash token = hc_keyed_hash_of(credentials->token);
    int role = hc_single_flight_wait(transfer->flights, &transfer->flight, &token,
                                     credentials->cancellation, err);

    if (role != HC_FLIGHT_FINISHED || transfer->outcome.reason == HC_OK)
        return role;
    *err = transfer->outcome;
    return -1;
}

/* ---- the leader -----------------------------------------------------------------------
 */

const struct hc_partial_file *
hc_shared_transfer_partial(const struct hc_shared_transfer *transfer)
{
    return &transfer->partial;
}

void hc_shared_transfer_keep_lock(struct hc_shared_transfer *transfer,
                                  struct hc_blob_lock *lock)
{
    HC_LOCKED(&transfer->flights->shared.lock);

    transfer->partial.lock = lock;
}

/* Returns what was there before. */
static struct hc_ingest *transfer_swap_ingest(struct hc_shared_transfer *transfer,
                                              struct hc_ingest *ingest)
{
    struct hc_ingest *earlier;
    HC_LOCKED(&transfer->flights->shared.lock);

    earlier = transfer->partial.ingest;
    transfer->partial.ingest = ingest;
    return earlier;
}

void hc_shared_transfer_keep_ingest(struct hc_shared_transfer *transfer,
                                    struct hc_ingest *ingest)
{
    hc_ingest_drop(transfer_swap_ingest(transfer, ingest));
}

void hc_shared_transfer_set_remote(struct hc_shared_transfer *transfer, uint64_t bytes,
                                   bool is_remote)
{
    HC_LOCKED(&transfer->flights->shared.lock);

    if (!transfer->is_remote)
        transfer->remote_bytes_at_first = bytes;
    transfer->remote_bytes = bytes;
    transfer->is_remote = is_remote;
}

struct hc_transfer_counts *hc_shared_transfer_counts(struct hc_shared_transfer *transfer)
{
    return &transfer->counts;
}

void hc_shared_transfer_finish(struct hc_shared_transfer *transfer,
                               const struct hc_error *failure)
{
    const struct hc_partial_file partial = {.ingest =
                                                transfer_swap_ingest(transfer, NULL),
                                            .lock = transfer->partial.lock};

    hc_shared_transfer_keep_lock(transfer, NULL);
    partial_file_drop(partial);
    HC_LOCKED(&transfer->flights->shared.lock);

    if (failure)
        transfer->outcome = *failure;
    hc_single_flight_finish(&transfer->flight);
}

void hc_shared_transfer_hand_over(struct hc_shared_transfer *transfer,
                                  const struct hc_hub_credentials *refused,
                                  const struct hc_error *refusal)
{
    HC_LOCKED(&transfer->flights->shared.lock);

    transfer->refusal = refused ? *refusal : (struct hc_error){0};
    if (refused)
        transfer->refused = hc_keyed_hash_of(refused->token);
    hc_single_flight_hand_over(&transfer->flight);
}

/* ---- progress -------------------------------------------------------------------------
 */

static struct hc_transfer_progress
transfer_progress(const struct hc_shared_transfer *transfer)
{
    struct hc_ingest *ingest = transfer->partial.ingest;
    struct hc_transfer_progress progress = {.retries =
                                                atomic_load(&transfer->counts.retries)};

    if (ingest) {
        progress.bytes = hc_pieces_arrived(hc_ingest_pieces(ingest));
        progress.reused_bytes = hc_ingest_reused_bytes(ingest);
    } else if (transfer->is_remote) {
        progress.bytes = transfer->remote_bytes;
        progress.reused_bytes = transfer->remote_bytes_at_first;
        progress.is_remote = true;
    }
    return progress;
}

struct hc_transfer_progress
hc_shared_transfers_progress(struct hc_single_flights *transfers,
                             const struct hc_blob_id *blob)
{
    const struct hc_single_flight *flight;
    struct hc_transfer_progress progress = {0};
    HC_LOCKED(&transfers->shared.lock);

    LIST_FOREACH(flight, &transfers->shared.list, link)
    {
        const struct hc_shared_transfer *transfer =
            (const struct hc_shared_transfer *)flight;

        if (transfer_is_of(transfer, blob) && progress.bytes == 0)
            progress = transfer_progress(transfer);
    }
    return progress;
}

/* The size that was told when it began, or by the Hub since; 0: none yet. */
static uint64_t transfer_size(const struct hc_shared_transfer *transfer)
{
    struct hc_ingest *ingest = transfer->partial.ingest;
    uint64_t size = transfer->size;

    if (ingest)
        size = hc_pieces_size(hc_ingest_pieces(ingest));
    return size == HC_SIZE_UNKNOWN ? 0 : size;
}

/* Bytes a second since a sample that is old enough to divide by its age. */
static uint64_t transfer_rate(struct hc_shared_transfer *transfer, uint64_t bytes,
                              int64_t now_ms)
{
    struct transfer_sample *samples = transfer->samples;
    uint64_t gained = bytes > samples[1].bytes ? bytes - samples[1].bytes : 0;
    int64_t passed_ms = now_ms - samples[1].ms;

    if (now_ms - samples[0].ms >= RATE_EVERY_MS) {
        samples[1] = samples[0];
        samples[0] = (struct transfer_sample){.ms = now_ms, .bytes = bytes};
    }
    return passed_ms > 0 ? gained * 1000 / (uint64_t)passed_ms : 0;
}

/* Bytes that were there before, and those of another process before it was seen, have
 * come at no rate. */
static void transfer_list(struct hc_shared_transfer *transfer, int64_t now_ms,
                          hc_running_transfer_fn fn, void *ctx)
{
    const struct hc_transfer_progress progress = transfer_progress(transfer);
    struct hc_running_transfer running = {
        .path = transfer->path ? transfer->path : "",
        .etag = transfer->etag,
        .size_bytes = transfer_size(transfer),
        .done_bytes = progress.bytes,
        .age_ms = (uint64_t)(now_ms - transfer->began_ms),
        .callers = transfer->flight.callers,
        .connections = atomic_load(&transfer->counts.connections),
        .retries = progress.retries,
        .is_remote = progress.is_remote,
    };
    struct hc_repo repo;
    uint64_t gained = 0;

    if (progress.bytes > progress.reused_bytes)
        gained = progress.bytes - progress.reused_bytes;
    running.bytes_per_second = transfer_rate(transfer, gained, now_ms);
    running.repo_id = transfer->folder;
    if (hc_repo_parse_folder(&repo, transfer->folder)) {
        running.repo_id = repo.id;
        running.repo_type = repo.type;
    }
    fn(ctx, &running);
}

void hc_shared_transfers_list(struct hc_single_flights *transfers, int64_t now_ms,
                              hc_running_transfer_fn fn, void *ctx)
{
    struct hc_single_flight *flight;
    HC_LOCKED(&transfers->shared.lock);

    LIST_FOREACH(flight, &transfers->shared.list, link)
    {
        transfer_list((struct hc_shared_transfer *)flight, now_ms, fn, ctx);
    }
}

unsigned hc_shared_transfers_count(struct hc_single_flights *transfers)
{
    const struct hc_single_flight *flight;
    unsigned count = 0;
    HC_LOCKED(&transfers->shared.lock);

    LIST_FOREACH(flight, &transfers->shared.list, link)
    {
        count++;
    }
    return count;
}
