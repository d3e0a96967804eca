/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a download needs of a source no more than the functions of byte_source.h: it
 * reads over several connections, and does what the source says of a failure. The source
 * here reads from memory, and is no server.
 */
#include "blob_id.h"
#include "cache_helper.h"
#include "ingest_fixture.h"

#include <base/error.h>
#include <transfer/segment.h>

#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { CHUNK = 256 * 1024, CONNECTIONS = 8 };

struct memory_source {
    struct hc_byte_source base;
    atomic_int failures_left;     /* so many reads fail, after a first chunk */
    enum hc_reason reason;        /* of these failures, */
    enum hc_read_failure failure; /* and what they say */
    atomic_uint reads;
    atomic_uint forgotten; /* addresses */
};

static void memory_pause(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    (void)nanosleep(&moment, NULL);
}

static int memory_read(struct hc_byte_source *base, struct hc_segment *segment,
                       struct hc_error *err)
{
    struct memory_source *source = (struct memory_source *)base;
    bool fails = atomic_fetch_sub(&source->failures_left, 1) > 0;
    uint64_t at = segment->span.start;
    int written = 0;

    atomic_fetch_add(&source->reads, 1);
    segment->was_redirected = true;
    while (at < segment->span.end && written == 0) {
        uint64_t left = segment->span.end - at;
        size_t count = left < CHUNK ? (size_t)left : CHUNK;

        memory_pause();
        written = hc_segment_write(segment, content + at, count, err);
        at += count;
        if (fails && written == 0)
            return hc_fail(err, source->reason, "a read failed on purpose");
    }
    return written;
}

static enum hc_read_failure memory_classify(struct hc_byte_source *base,
                                            const struct hc_segment *segment,
                                            const struct hc_error *err)
{
    const struct memory_source *source = (const struct memory_source *)base;

    (void)segment;
    return err->reason == source->reason ? source->failure : HC_READ_FINAL;
}

static void memory_forget_address(struct hc_byte_source *base,
                                  const struct hc_segment *segment)
{
    (void)segment;
    atomic_fetch_add(&((struct memory_source *)base)->forgotten, 1);
}

static bool memory_sends_ranges(struct hc_byte_source *base)
{
    (void)base;
    return true;
}

static uint64_t memory_host_key(struct hc_byte_source *base)
{
    (void)base;
    return 0;
}

static const struct hc_byte_source memory_functions = {
    .read = memory_read,
    .classify = memory_classify,
    .forget_address = memory_forget_address,
    .sends_ranges = memory_sends_ranges,
    .host_key = memory_host_key,
};

/* What a download of the content came to. */
struct download_outcome {
    int result;
    unsigned peak;
    unsigned retries;
};

static struct download_outcome download_content(struct fixture *f,
                                                struct memory_source *source)
{
    char endpoint[] = "http://127.0.0.1:9";
    const struct hc_settings settings = {.endpoint = endpoint,
                                         .retries = 2,
                                         .retry_base_ms = 1};
    const struct hc_blob_request request = {
        .blob = *BLOB_OF(f, content_etag),
        .file = {&f->repo, "0123456789012345678901234567890123456789", "content"},
        .size = SIZE};
    struct download_outcome outcome;
    struct hc_transfer_counts counts = {0};
    struct hc_segmented_download download;

    source->base = memory_functions;
    hc_segmented_download_init(&download);
    download.request = &request;
    download.source = &source->base;
    download.ingest = content_begin(f);
    download.hub = hc_hub_open(&settings, &f->err);
    download.budget = hc_budget_new(CONNECTIONS, &f->err);
    download.min_split_size = PIECE;
    download.counts = &counts;
    assert_non_null(download.ingest);
    assert_non_null(download.hub);
    assert_non_null(download.budget);
    outcome.result = hc_segmented_download_run(&download, &f->err);
    outcome.peak = download.shared.peak;
    outcome.retries = download.shared.retries;
    assert_int_equal(outcome.retries, atomic_load(&counts.retries));
    assert_int_equal(hc_budget_used(download.budget), 0);
    if (outcome.result == 0)
        assert_int_equal(hc_ingest_commit(download.ingest, NULL, &f->err), 0);
    hc_ingest_drop(download.ingest);
    hc_budget_free(download.budget);
    hc_hub_close(download.hub);
    hc_segmented_download_clear(&download);
    return outcome;
}

static void any_source_is_read_over_several_connections(void **state)
{
    struct fixture *f = *state;
    struct memory_source source = {0};
    const struct download_outcome outcome = download_content(f, &source);

    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.retries, 0);
    assert_true(outcome.peak > 1);
    assert_true(atomic_load(&source.reads) > 1);
}

static void a_read_whose_connection_broke_is_repeated(void **state)
{
    struct fixture *f = *state;
    struct memory_source source = {.failures_left = 2,
                                   .reason = HC_HUB_UNREACHABLE,
                                   .failure = HC_READ_CONNECTION};
    const struct download_outcome outcome = download_content(f, &source);

    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.retries, 2);
}

static void a_lost_address_is_asked_for_anew(void **state)
{
    struct fixture *f = *state;
    struct memory_source source = {.failures_left = 1,
                                   .reason = HC_HUB_UNAUTHORIZED,
                                   .failure = HC_READ_ADDRESS};
    const struct download_outcome outcome = download_content(f, &source);

    assert_int_equal(outcome.result, 0);
    assert_int_equal(outcome.retries, 1);
    assert_int_equal(atomic_load(&source.forgotten), 1);
}

static void a_final_failure_ends_the_download(void **state)
{
    struct fixture *f = *state;
    struct memory_source source = {.failures_left = 1000,
                                   .reason = HC_CACHE_IO,
                                   .failure = HC_READ_FINAL};
    const struct download_outcome outcome = download_content(f, &source);

    assert_int_equal(outcome.result, -1);
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    assert_int_equal(outcome.retries, 0);
}

static void wrong_bytes_end_the_download(void **state)
{
    struct fixture *f = *state;
    struct memory_source source = {.failures_left = 1,
                                   .reason = HC_HUB_UNREACHABLE,
                                   .failure = HC_READ_WRONG_BYTES};
    const struct download_outcome outcome = download_content(f, &source);

    assert_int_equal(outcome.result, -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(outcome.retries, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_cache, remove_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(any_source_is_read_over_several_connections),
        TEST(a_read_whose_connection_broke_is_repeated),
        TEST(a_lost_address_is_asked_for_anew),
        TEST(a_final_failure_ends_the_download),
        TEST(wrong_bytes_end_the_download),
    };

    return cmocka_run_group_tests(tests, content_make, content_free);
}
