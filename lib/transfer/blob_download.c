/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step is all states from the lock on; a step that finds another process at work is
 * followed by the next one. Everything here runs on the leader's thread; other callers
 * see the partial file only through the shared transfer, which owns it.
 *
 * The lock comes before the look for the blob, so that what is found, or not, stays so;
 * the claim before the file (store/ingest.h); the duplicate before the check of the free
 * space, for it needs none.
 */
#include "blob_download.h"

#include "download_lock.h"
#include "http_source.h"
#include "segmented_download.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/size.h>
#include <hub/response.h>

/* A piece is an eighth of the largest blob that comes over one connection, within
 * bounds. */
enum { PIECES_OF_SMALL = 8, PIECE_MIN = 64 * 1024 };

/* ---- sources --------------------------------------------------------------------------
 */

/* Another repo's file with the same bytes (store/duplicate.h). */
static int duplicate_source_fill(struct hc_byte_source *source,
                                 const struct hc_blob_request *request,
                                 struct hc_ingest *ingest, struct hc_error *err)
{
    (void)source;
    return hc_ingest_use_duplicate(ingest, request, err);
}

/* Those that may fill the file at once, in the order in which they are asked. */
static struct hc_byte_source filling_sources[] = {{.fill = duplicate_source_fill}};

/* 1 every byte is there; 0 no source has it at once; -1. */
static int ingest_fill_from_sources(const struct hc_blob_request *request,
                                    struct hc_ingest *ingest, struct hc_error *err)
{
    int filled = 0;

    for (size_t i = 0;
         i < sizeof filling_sources / sizeof *filling_sources && filled == 0; i++)
        filled = filling_sources[i].fill(&filling_sources[i], request, ingest, err);
    return filled;
}

/* ---- lock wait, claim, resume ---------------------------------------------------------
 */

static const struct hc_partial_file *partial_of(const struct hc_blob_download *download)
{
    return hc_shared_transfer_partial(download->shared);
}

static void blob_download_note_remote(void *ctx, uint64_t bytes, bool is_remote)
{
    struct hc_blob_download *download = ctx;

    hc_shared_transfer_set_remote(download->shared, bytes, is_remote);
}

static int blob_download_take_lock(struct hc_blob_download *download,
                                   struct hc_download_lock *wait, struct hc_error *err)
{
    struct hc_blob_lock *lock;

    if (partial_of(download)->lock)
        return 0;
    lock = hc_download_lock_take(wait, err);
    if (lock)
        hc_shared_transfer_keep_lock(download->shared, lock);
    return lock ? 0 : -1;
}

static uint64_t choose_piece_length(uint64_t min_split_size)
{
    uint64_t length = min_split_size / PIECES_OF_SMALL;

    if (length > HC_PIECES_LENGTH)
        return HC_PIECES_LENGTH;
    return length > PIECE_MIN ? length : PIECE_MIN;
}

/* What a new ingest has before the first read: bytes of an earlier one, those of a
 * duplicate, or, when the fetch is forced, none. */
static int ingest_prepare(const struct hc_blob_request *request, struct hc_ingest *ingest,
                          struct hc_cancellation *cancellation, struct hc_error *err)
{
    if (!request->is_forced && hc_ingest_resumed_bytes(ingest) == 0 &&
        ingest_fill_from_sources(request, ingest, err) < 0)
        return -1;
    if (hc_ingest_check_space(ingest, cancellation, err) < 0)
        return -1;
    return request->is_forced ? hc_ingest_restart(ingest, err) : 0;
}

/* 1 begun; 0 another claim of the blob is alive, though the lock is ours; -1. */
static int blob_download_begin_ingest(struct hc_blob_download *download,
                                      struct hc_download_lock *wait, struct hc_error *err)
{
    const struct hc_transfers *transfers = download->transfers;
    const struct hc_claim_options options = {.piece_length = choose_piece_length(
                                                 transfers->min_split_size),
                                             .stalled = wait->stalled,
                                             .cancellation =
                                                 download->credentials->cancellation};
    HC_AUTO(hc_ingest) *ingest = NULL;
    int begun;

    if (partial_of(download)->ingest)
        return 1;
    begun = hc_ingest_begin(transfers->cache, download->request, &options, &ingest, err);
    wait->stalled[0] = '\0'; /* it says nothing of the next claim */
    if (begun <= 0)
        return begun;
    if (ingest_prepare(download->request, ingest, options.cancellation, err) < 0)
        return -1;
    hc_shared_transfer_keep_ingest(download->shared, hc_take(&ingest));
    return 1;
}

/* ---- transfer, hash, finish -----------------------------------------------------------
 */

/* What the network was faster than; the caller may leave meanwhile. */
static int segments_hash_rest(struct hc_segmented_download *segments,
                              struct hc_error *err)
{
    int hashed;

    do
        hashed = hc_cancellation_check(segments->cancellation, err) < 0
                     ? -1
                     : hc_ingest_hash_next(segments->ingest, err);
    while (hashed > 0);
    return hashed;
}

/* Names the file with the wrong bytes, and says what can be done. */
static int segments_fail_wrong_bytes(const struct hc_segmented_download *segments,
                                     struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    if (err->reason != HC_CHECKSUM_MISMATCH)
        return -1;
    hc_segmented_download_describe(segments, text);
    return hc_context(err,
                      "%s: fetched again, and still not what the Hub says it is; check "
                      "for a proxy or a cache on the way that changes bytes, then ask "
                      "again",
                      text);
}

/*
 * Wrong bytes may have come from a resumed answer or a bad cache on the way: once more.
 * Wrong bytes that an earlier transfer or another repo left do not count. Budget: three
 * attempts at most; no pause, for each brings the whole blob.
 */
static int segments_read_until_right(struct hc_segmented_download *segments,
                                     struct hc_http_source *source, struct hc_error *err)
{
    bool has_others_bytes = hc_ingest_reused_bytes(segments->ingest) > 0;
    int attempts = has_others_bytes ? 3 : 2;

    while (hc_segmented_download_run(segments, err) < 0 ||
           segments_hash_rest(segments, err) < 0 ||
           hc_ingest_commit(segments->ingest, segments->request, err) < 0) {
        bool is_wrong =
            err->reason == HC_CHECKSUM_MISMATCH ||
            source->base.classify(&source->base, NULL, err) == HC_READ_WRONG_BYTES;

        if (!is_wrong || --attempts == 0)
            return segments_fail_wrong_bytes(segments, err);
        hc_segmented_download_count_retry(segments);
        hc_http_source_restart(source);
        if (hc_ingest_restart(segments->ingest, err) < 0)
            return -1;
    }
    return 0;
}

static uint64_t known_size(uint64_t size)
{
    return size == HC_SIZE_UNKNOWN ? 0 : size;
}

static void blob_download_report(struct hc_transfer *report,
                                 const struct hc_segmented_download *segments)
{
    report->fetched_bytes = segments->shared.received;
    report->retries = segments->shared.retries;
    report->connections = segments->shared.peak;
    report->resumed_bytes = hc_ingest_resumed_bytes(segments->ingest);
    report->shared_bytes = hc_ingest_duplicate_bytes(segments->ingest);
    report->size_bytes = known_size(hc_pieces_size(hc_ingest_pieces(segments->ingest)));
}

static int blob_download_transfer(struct hc_blob_download *download, struct hc_error *err)
{
    const struct hc_transfers *transfers = download->transfers;
    struct hc_hub_credentials credentials = *download->credentials;
    struct hc_segmented_download segments;
    struct hc_http_source source;
    int result;

    if (hc_digest_kind_of(download->request->blob.etag) == HC_DIGEST_NONE)
        credentials.hub_only = true; /* a mirror's bytes could not be checked */
    hc_segmented_download_init(&segments);
    segments.request = download->request;
    segments.ingest = partial_of(download)->ingest;
    segments.hub = transfers->hub;
    segments.budget = transfers->budget;
    segments.cancellation = credentials.cancellation;
    segments.caller_key = credentials.key;
    segments.min_split_size = transfers->min_split_size;
    segments.counts = hc_shared_transfer_counts(download->shared);
    segments.received = &download->transfers->received;
    segments.source = &source.base;
    hc_http_source_init(&source, &segments, &credentials);
    result = segments_read_until_right(&segments, &source, err);
    blob_download_report(&download->report, &segments);
    hc_http_source_clear(&source);
    hc_segmented_download_clear(&segments);
    return result;
}

/* A process that was taken for dead has lost its file, and waits for the process that has
 * taken it over. */
static bool blob_download_was_taken_over(struct hc_blob_download *download)
{
    const struct hc_ingest *ingest = partial_of(download)->ingest;

    if (!ingest || !hc_ingest_was_taken_over(ingest))
        return false;
    hc_shared_transfer_keep_ingest(download->shared, NULL);
    return true;
}

/* ---- the whole ------------------------------------------------------------------------
 */

/* 0 the blob is there; 1 once more, from the lock on; -1. */
static int blob_download_step(struct hc_blob_download *download,
                              struct hc_download_lock *wait, struct hc_error *err)
{
    struct hc_transfer *report = &download->report;
    int found, begun;

    if (blob_download_take_lock(download, wait, err) < 0)
        return -1;
    found = hc_download_lock_finds_blob(wait, err);
    if (found != 0)
        return found < 0 ? -1 : 0;
    begun = blob_download_begin_ingest(download, wait, err);
    if (begun == 0)
        return hc_download_lock_await_claim(wait, err) < 0 ? -1 : 1;
    download->has_begun = true;
    if (begun < 0 || blob_download_transfer(download, err) < 0)
        return blob_download_was_taken_over(download) ? 1 : -1;
    download->result.fetched_bytes =
        report->size_bytes - report->resumed_bytes - report->shared_bytes;
    download->result.is_fetched =
        download->result.fetched_bytes > 0 || report->size_bytes == 0;
    return 0;
}

/* Budget: none but the caller's deadline. The pause is in the other process: a step
 * ends with 1 when another process has taken the file over, seconds after its last
 * heartbeat. */
int hc_blob_download_run(struct hc_blob_download *download, struct hc_error *err)
{
    struct hc_download_lock wait = {.cache = download->transfers->cache,
                                    .request = download->request,
                                    .cancellation = download->credentials->cancellation,
                                    .takeover_ms = download->transfers->takeover_ms,
                                    .note_remote = blob_download_note_remote,
                                    .ctx = download};
    int result;

    download->report.size_bytes = known_size(download->request->size);
    do
        result = blob_download_step(download, &wait, err);
    while (result > 0);
    download->report.waited_ms = (uint64_t)wait.waited_ms;
    return result;
}
