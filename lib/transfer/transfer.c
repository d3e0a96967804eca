/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fetch joins the shared transfer of its blob, and either waits for its leader or leads
 * it (blob_download.h). What is here is the caller's side of that: which caller may have
 * the bytes, which failures are a leader's own, and what the observer is told.
 */
#include "transfer.h"

#include "blob_download.h"

#include <base/error.h>

#include <stdlib.h>
#include <string.h>

enum { CONNECTION_MEMORY = 640 * 1024 /* curl's buffer, ours, and what TLS needs */ };

/* The leader has left, */
static bool failure_is_of_the_caller(const struct hc_error *err)
{
    return err->reason == HC_CANCELLED || err->reason == HC_DEADLINE_EXCEEDED;
}

/* or the Hub refuses its token, though it may accept another. */
static bool failure_is_a_refusal(const struct hc_error *err)
{
    return err->reason == HC_HUB_UNAUTHORIZED || err->reason == HC_GATED_REPO ||
           err->reason == HC_REPO_NOT_FOUND;
}

/* Tells the observer, unless nothing was done: most blobs of a new commit are those of
 * the one before. */
static void report_transfer(const struct hc_blob_download *download, int64_t began_ms,
                            enum hc_reason reason)
{
    const struct hc_transfers *transfers = download->transfers;
    const struct hc_blob_request *request = download->request;
    struct hc_transfer report = download->report;
    bool was_there = reason == HC_OK && !download->has_begun && report.waited_ms == 0;

    if (!transfers->observer || was_there)
        return;
    report.repo_id = request->file.repo->id;
    report.repo_type = request->file.repo->type;
    report.path = request->file.path;
    report.etag = request->blob.etag;
    report.reason = reason;
    report.duration_ms = (uint64_t)(hc_monotonic_ms() - began_ms);
    transfers->observer(transfers->observer_ctx, &report);
}

/* Ends the lead: `failure` is NULL when the blob is there. */
static void end_lead(const struct hc_blob_download *download,
                     const struct hc_error *failure)
{
    if (!failure)
        hc_shared_transfer_finish(download->shared, NULL);
    else if (failure_is_of_the_caller(failure))
        hc_shared_transfer_hand_over(download->shared, NULL, NULL);
    else if (failure_is_a_refusal(failure))
        hc_shared_transfer_hand_over(download->shared, download->credentials, failure);
    else
        hc_shared_transfer_finish(download->shared, failure);
}

/*
 * Bytes that come for another caller's token are for this one only if the Hub gives it
 * the file, too: an answer about it to its own token says so, be it the one that named
 * the blob just now. A mirror that names the same blob gives it to every caller.
 */
static int prove_access(const struct hc_blob_download *download, struct hc_error *err)
{
    const struct hc_blob_request *request = download->request;
    struct hc_metadata metadata = {0};

    if (request->location)
        return 0;
    if (hc_hub_head(download->transfers->hub, &request->file, download->credentials,
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

/* hc_shared_transfer_wait's answer, once the caller is proved to have access. */
static int transfer_await_role(const struct hc_blob_download *download,
                               struct hc_error *err)
{
    const struct hc_hub_credentials *credentials = download->credentials;
    int role;

    while ((role = hc_shared_transfer_wait(download->shared, credentials, err)) ==
           HC_SHARED_TRANSFER_PROVE) {
        if (prove_access(download, err) < 0 ||
            hc_shared_transfer_admit(download->shared, credentials, err) < 0)
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
    hc_shared_transfers_init(&transfers->active);
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
    hc_single_flights_clear(&transfers->active);
    free(transfers);
}

void hc_transfers_observe(struct hc_transfers *transfers, hc_transfer_fn fn, void *ctx)
{
    transfers->observer = fn;
    transfers->observer_ctx = ctx;
}

void hc_transfers_count(struct hc_transfers *transfers, unsigned *count,
                        unsigned *connections)
{
    *count = hc_shared_transfers_count(&transfers->active);
    *connections = hc_budget_used(transfers->budget);
}

void hc_transfers_list(struct hc_transfers *transfers, hc_running_transfer_fn fn,
                       void *ctx)
{
    hc_shared_transfers_list(&transfers->active, hc_monotonic_ms(), fn, ctx);
}

uint64_t hc_transfers_received(const struct hc_transfers *transfers)
{
    return atomic_load_explicit(&transfers->received, memory_order_relaxed);
}

int hc_transfers_fetch(struct hc_transfers *transfers,
                       const struct hc_blob_request *request,
                       const struct hc_hub_credentials *credentials,
                       struct hc_blob_result *result, struct hc_error *err)
{
    struct hc_blob_download download = {.transfers = transfers,
                                        .request = request,
                                        .credentials = credentials};
    struct hc_transfer_counts *counts;
    int role;

    *result = (struct hc_blob_result){0};
    download.shared =
        hc_shared_transfer_join(&transfers->active, request, credentials, err);
    if (!download.shared)
        return -1;
    counts = hc_shared_transfer_counts(download.shared);
    atomic_fetch_add(&counts->hurried, !credentials->is_background);
    role = transfer_await_role(&download, err);
    if (role == HC_SHARED_TRANSFER_LEAD) {
        int64_t began_ms = hc_monotonic_ms();

        role = hc_blob_download_run(&download, err);
        report_transfer(&download, began_ms, role < 0 ? err->reason : HC_OK);
        end_lead(&download, role < 0 ? err : NULL);
    }
    *result = download.result;
    result->retries = atomic_load(&counts->retries);
    atomic_fetch_sub(&counts->hurried, !credentials->is_background);
    hc_shared_transfer_leave(download.shared);
    return role;
}

struct hc_transfer_progress hc_transfers_progress(struct hc_transfers *transfers,
                                                  const struct hc_blob_id *blob)
{
    return hc_shared_transfers_progress(&transfers->active, blob);
}
