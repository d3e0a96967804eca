/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first request of a large blob asks for a range, and its answer tells whether the
 * server knows ranges: that costs no request of its own. 206: other requests may run
 * beside it, at the address that answered, so that the Hub is asked once and not for
 * every range. 200: all bytes come from 0, and this request brings the whole blob alone.
 *
 * An address is unknown → being located (by one request, the others wait) → known, until
 * it is forgotten: a signed address expires, a mirror may lose a file.
 */
#include "http_source.h"

#include "segment.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/size.h>
#include <base/text.h>
#include <hub/url.h>

#include <inttypes.h>
#include <string.h>

enum {
    POLL_MS = 5,
    PAGE_MAX = 1024 * 1024 /* what is sent instead of a file, a login page, is less */
};

/* One request. */
struct http_read {
    struct hc_http_source *source;
    struct hc_segment *segment;
    bool locates;              /* the address, for all */
    bool has_enough;           /* the segment has, and ends the request */
    bool is_whole;             /* the answer begins at byte 0, and is to bring all */
    char location[HC_URL_MAX]; /* "": the Hub is asked */
    char came_from[HC_URL_MAX];
};

static struct hc_http_source *http_source_of(struct hc_byte_source *base)
{
    return (struct hc_http_source *)base;
}

static struct hc_pieces *source_pieces(const struct hc_http_source *source)
{
    return hc_ingest_pieces(source->download->ingest);
}

static uint64_t source_blob_size(const struct hc_http_source *source)
{
    return hc_pieces_size(source_pieces(source));
}

static int fail_whole_files_only(struct hc_error *err)
{
    return hc_fail(err, HC_HUB_UNREACHABLE,
                   "the server sends whole files only, and one is on its way");
}

/* ---- what the Hub's client calls while a request runs ---------------------------------
 */

/* 200 instead of a range. What is there already is not written again. */
static int read_restart(void *ctx, struct hc_error *err)
{
    struct http_read *read = ctx;
    struct hc_http_source *source = read->source;
    HC_LOCKED(&source->shared.lock);

    source->shared.kind = HC_HTTP_SERVER_SENDS_ALL;
    read->is_whole = true;
    read->segment->rest = (struct hc_span){.end = source_blob_size(source)};
    return source->shared.requests == 1 ? 0 : fail_whole_files_only(err);
}

/* Of a blob of unknown size, which comes over one connection, on the thread that owns the
 * ingest. */
static int read_set_size(void *ctx, uint64_t size, struct hc_error *err)
{
    const struct http_read *read = ctx;
    const struct hc_segmented_download *download = read->source->download;

    return hc_ingest_set_size(download->ingest, size, download->workers_cancellation,
                              err);
}

/* The first bytes are there: so the address is a good one. */
static void read_note_address(struct http_read *read)
{
    struct hc_http_source *source = read->source;
    struct hc_segment *segment = read->segment;
    HC_LOCKED(&source->shared.lock);

    if (segment->rest.start > 0 || segment->rest.end < source_blob_size(source))
        source->shared.kind = HC_HTTP_SERVER_SENDS_RANGES;
    if (read->locates) {
        segment->address_number = ++source->shared.address_number;
        source->shared.is_locating = false;
    }
    /* One that was forgotten meanwhile stays so. */
    if (read->locates || (segment->address_number == source->shared.address_number &&
                          source->shared.location[0] != '\0'))
        hc_url_copy(source->shared.location, read->came_from);
}

static int read_write(void *ctx, const void *bytes, size_t count, struct hc_error *err)
{
    struct http_read *read = ctx;
    int written;

    if (!read->segment->has_begun)
        read_note_address(read);
    written = hc_segment_write(read->segment, bytes, count, err);
    read->has_enough = written > 0;
    return written;
}

/* All wait for the address: that is not a matter of one connection. */
static bool read_watch(void *ctx, int64_t waited_ms)
{
    struct http_read *read = ctx;
    bool is_locating = read->locates && !read->segment->has_begun;

    read->has_enough = hc_segment_watch(read->segment, waited_ms, is_locating);
    return read->has_enough;
}

/* ---- a request ------------------------------------------------------------------------
 */

/* 1 entered; 0 another request asks the Hub for the address, which is to be awaited; -1
 * when this request would get in the way of one that brings the whole blob. */
static int read_try_enter(struct http_read *read)
{
    struct hc_http_source *source = read->source;
    bool has_address;
    HC_LOCKED(&source->shared.lock);

    has_address = source->shared.location[0] != '\0';
    if (source->shared.requests > 0 && source->shared.kind != HC_HTTP_SERVER_SENDS_RANGES)
        return -1;
    if (!has_address && source->shared.is_locating)
        return 0;
    read->locates = !has_address;
    source->shared.is_locating = !has_address;
    source->shared.requests++;
    hc_url_copy(read->location, source->shared.location);
    read->segment->address_number = source->shared.address_number;
    return 1;
}

static int read_enter(struct http_read *read, struct hc_error *err)
{
    struct hc_cancellation *cancellation = read->source->download->workers_cancellation;
    int entered;

    while ((entered = read_try_enter(read)) == 0) {
        if (hc_cancellation_sleep(cancellation, POLL_MS, err) < 0)
            return -1;
    }
    hc_segment_start_clock(read->segment);
    return entered < 0 ? fail_whole_files_only(err) : 0;
}

static void read_leave(const struct http_read *read)
{
    struct hc_http_source *source = read->source;
    HC_LOCKED(&source->shared.lock);

    source->shared.requests--;
    if (read->locates && !read->segment->has_begun)
        source->shared.is_locating = false;
}

/* After an answer that ended as HTTP says it should; `arrived` had before it. */
static int read_check_end(const struct http_read *read, uint64_t arrived,
                          struct hc_error *err)
{
    struct hc_http_source *source = read->source;
    uint64_t received = read->segment->received;
    uint64_t size = source_blob_size(source);

    if (!read->is_whole || received >= size)
        return 0;
    if (received < PAGE_MAX && hc_pieces_arrived(source_pieces(source)) > arrived) {
        HC_LOCKED(&source->shared.lock);

        source->shared.has_wrong_bytes = true;
    }
    return hc_fail(err, HC_BAD_HUB_REPLY,
                   "the answer for '%.120s' had %" PRIu64 " bytes of %" PRIu64,
                   source->download->request->file.path, received, size);
}

/* Before which byte the answer is to end, so that it brings the span and no more; 0 when
 * it is all that follows. */
static uint64_t read_end(const struct http_read *read)
{
    const struct hc_http_source *source = read->source;
    uint64_t end = read->segment->span.end;

    return end == source_blob_size(source) &&
                   hc_segmented_download_is_small(source->download)
               ? 0
               : end;
}

/*
 * A server that sends all is let to, but only while no other request runs. An answer that
 * said no length, and ended before it had sent the whole blob that it was to send, is
 * BAD_HUB_REPLY. When it was no more than a page is, what it brought is not the blob's.
 */
static int http_source_read(struct hc_byte_source *base, struct hc_segment *segment,
                            struct hc_error *err)
{
    struct hc_http_source *source = http_source_of(base);
    struct http_read read = {.source = source, .segment = segment};
    struct hc_hub_credentials credentials = source->credentials;
    uint64_t arrived = hc_pieces_arrived(source_pieces(source));
    struct hc_hub_download download = {.request = source->download->request,
                                       .offset = segment->span.start,
                                       .until = read_end(&read),
                                       .size = source_blob_size(source),
                                       .learn_size = read_set_size,
                                       .came_from = read.came_from,
                                       .was_redirected = &segment->was_redirected,
                                       .restart = read_restart,
                                       .write = read_write,
                                       .watch = read_watch,
                                       .ctx = &read};
    int result;

    if (read_enter(&read, err) < 0)
        return -1;
    download.location = read.location[0] ? read.location : NULL;
    credentials.cancellation = source->download->workers_cancellation;
    read.is_whole = download.offset == 0 && download.until == 0;
    result = hc_hub_get(source->hub, &download, &credentials, err);
    segment->was_redirected |= download.location != NULL;
    read_leave(&read);
    if (result < 0 || read.has_enough)
        return result < 0 ? -1 : 1;
    if (source_blob_size(source) == HC_SIZE_UNKNOWN &&
        read_set_size(&read, segment->rest.start, err) < 0)
        return -1;
    return read_check_end(&read, arrived, err);
}

/* ---- the source -----------------------------------------------------------------------
 */

/* Whether asking …/resolve instead may help: a signed address expires, a mirror forgets.
 */
static bool failure_may_be_of_address(const struct hc_error *err)
{
    switch (err->reason) {
    case HC_HUB_UNAUTHORIZED:
    case HC_GATED_REPO:
    case HC_REPO_NOT_FOUND:
    case HC_ENTRY_NOT_FOUND:
    case HC_REVISION_NOT_FOUND:
    case HC_BAD_HUB_REPLY:
        return true;
    default:
        return false;
    }
}

/* Bytes are wrong when all are there and more came, or a page came instead. */
static enum hc_read_failure http_source_classify(struct hc_byte_source *base,
                                                 const struct hc_segment *segment,
                                                 const struct hc_error *err)
{
    struct hc_http_source *source = http_source_of(base);
    bool has_wrong_bytes;

    {
        HC_LOCKED(&source->shared.lock);

        has_wrong_bytes = source->shared.has_wrong_bytes;
    }
    if (err->reason == HC_BAD_HUB_REPLY &&
        (has_wrong_bytes || hc_pieces_missing(source_pieces(source)) == 0))
        return HC_READ_WRONG_BYTES;
    if (failure_may_be_of_address(err))
        return segment && segment->was_redirected ? HC_READ_ADDRESS : HC_READ_CONNECTION;
    return err->reason == HC_HUB_UNREACHABLE || err->reason == HC_HUB_RATE_LIMITED
               ? HC_READ_CONNECTION
               : HC_READ_FINAL;
}

static void http_source_forget_address(struct hc_byte_source *base,
                                       const struct hc_segment *segment)
{
    struct hc_http_source *source = http_source_of(base);
    HC_LOCKED(&source->shared.lock);

    if (segment->address_number == source->shared.address_number)
        source->shared.location[0] = '\0';
}

static bool http_source_sends_ranges(struct hc_byte_source *base)
{
    struct hc_http_source *source = http_source_of(base);
    HC_LOCKED(&source->shared.lock);

    return source->shared.kind == HC_HTTP_SERVER_SENDS_RANGES;
}

/* A hash of scheme, host and port. */
static uint64_t http_source_host_key(struct hc_byte_source *base)
{
    struct hc_http_source *source = http_source_of(base);
    const char *url = source->shared.location;
    const char *host;
    size_t length = 0;
    HC_LOCKED(&source->shared.lock);

    host = strstr(url, "//");
    if (host)
        length = (size_t)(host - url) + 2 + strcspn(host + 2, "/?#");
    return length > 0 ? hc_hash_bytes(HC_HASH_START, url, length) : 0;
}

static const struct hc_byte_source http_source_functions = {
    .read = http_source_read,
    .classify = http_source_classify,
    .forget_address = http_source_forget_address,
    .sends_ranges = http_source_sends_ranges,
    .host_key = http_source_host_key,
};

void hc_http_source_init(struct hc_http_source *source,
                         const struct hc_segmented_download *download,
                         const struct hc_hub_credentials *credentials)
{
    const char *location = download->request->location;

    memset(source, 0, offsetof(struct hc_http_source, shared.location));
    source->base = http_source_functions;
    source->download = download;
    source->hub = download->hub;
    source->credentials = *credentials;
    (void)pthread_mutex_init(&source->shared.lock, NULL);
    (void)hc_format(source->shared.location, HC_URL_MAX, "%s", location ? location : "");
}

void hc_http_source_clear(struct hc_http_source *source)
{
    (void)pthread_mutex_destroy(&source->shared.lock);
}

void hc_http_source_restart(struct hc_http_source *source)
{
    source->shared.location[0] = '\0';
    source->shared.has_wrong_bytes = false;
}
