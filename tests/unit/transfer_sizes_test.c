/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a file of any size arrives whole, over one connection or many, in one go
 * or after any number of cuts, whichever hash names it. The sizes lie around every
 * boundary that the engine knows, and at random.
 */
#include "blob_id.h"
#include "random.h"
#include "temp_dir.h"
#include "transfer_fixture.h"

#include <base/size.h>
#include <cache/pointer.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 64 };

static const uint64_t kib = 1024, mib = UINT64_C(1) << 20;
static const uint64_t split_size = UINT64_C(2) << 20;

/* How a file is fetched. */
struct way {
    unsigned connections;
    uint64_t min_split_size; /* 0: the default */
    bool is_lfs;
    bool is_cut;      /* the first answer ends early, and the transfer goes on */
    bool is_left;     /* all answers do; a later transfer goes on from a partial file */
    uint64_t chunk;   /* bytes that answers are sent by, at most; 0: as they come */
    bool is_unsized;  /* nothing has told the size */
    bool is_unending; /* and no answer has a Content-Length: its end tells */
};

static void way_file_name(uint64_t size, const struct way *way, char name[NAME])
{
    (void)snprintf(name, NAME, "%" PRIu64 ".%s", size, way->is_lfs ? "lfs" : "git");
}

static void way_serve(struct fixture *f, uint64_t size, const struct way *way)
{
    char name[NAME];

    way_file_name(size, way, name);
    test_hub_add_generated(f->server, name, size, 7, way->is_lfs);
}

static void server_commit(struct fixture *f)
{
    test_hub_commit(f->server, "models/org/m", "main", f->commit);
}

static void transfers_reopen(struct fixture *f, const struct way *way)
{
    const struct hc_settings settings = {.connections = way->connections,
                                         .min_split_size = way->min_split_size};

    hc_transfers_close(f->transfers);
    f->transfers = hc_transfers_open(f->cache, f->hub, &settings, &f->err);
    assert_non_null(f->transfers);
}

static void server_cut_at(struct fixture *f, uint64_t at, unsigned times)
{
    inject_rule(f, (struct test_hub_rule){.method = "GET",
                                          .contains = "",
                                          .times = times,
                                          .fault = TEST_HUB_CUT,
                                          .number = at});
    inject_rule(f, (struct test_hub_rule){.method = "GET",
                                          .on_cdn = true,
                                          .times = times,
                                          .fault = TEST_HUB_CUT,
                                          .number = at});
}

static void way_fail(const struct fixture *f, uint64_t size, const struct way *way)
{
    fail_msg("%" PRIu64 " bytes, %u connections, split from %" PRIu64
             "%s%s%s%s%s: %s: %s",
             size, way->connections, way->min_split_size, way->is_lfs ? ", LFS" : ", git",
             way->is_cut ? ", cut" : "", way->is_left ? ", left" : "",
             way->is_unsized ? ", unsized" : "", way->is_unending ? ", unending" : "",
             hc_reason_name(f->err.reason), f->err.message);
}

/* As fetch_file(), by what the HEAD said, or less. */
static int way_fetch_file(struct fixture *f, const char *name, const struct way *way)
{
    const struct hc_hub_credentials credentials = {0};
    struct hc_metadata metadata = metadata_of(f, name);
    struct hc_blob_request request;
    struct hc_blob_result result;

    if (way->is_unsized)
        metadata.size = HC_SIZE_UNKNOWN;
    request = blob_request_of(f, name, &metadata);
    return hc_transfers_fetch(f->transfers, &request, &credentials, &result, &f->err);
}

static void hide_lengths(struct fixture *f)
{
    for (int on_cdn = 0; on_cdn < 2; on_cdn++)
        inject_rule(f, (struct test_hub_rule){.method = "GET",
                                              .on_cdn = on_cdn,
                                              .fault = TEST_HUB_HEADER,
                                              .name = "Content-Length"});
}

static void send_in_chunks(struct fixture *f, uint64_t chunk)
{
    for (int on_cdn = 0; on_cdn < 2; on_cdn++)
        inject_rule(f, (struct test_hub_rule){.method = "GET",
                                              .on_cdn = on_cdn,
                                              .fault = TEST_HUB_CHUNKS,
                                              .number = chunk});
}

/* Fetches the file of that size; `at` is where answers end. */
static void way_expect_whole(struct fixture *f, uint64_t size, const struct way *way,
                             uint64_t at)
{
    struct hc_metadata metadata;
    uint64_t there = 0;
    char name[NAME];

    way_file_name(size, way, name);
    metadata = metadata_of(f, name);
    if (way->is_left) {
        server_cut_at(f, at, 0);
        (void)way_fetch_file(f, name, way);
        test_hub_clear_rules(f->server);
    } else if (way->is_cut) {
        server_cut_at(f, at, 1);
    }
    if (way->is_unending)
        hide_lengths(f);
    if (way->chunk > 0)
        send_in_chunks(f, way->chunk);
    if (way_fetch_file(f, name, way) < 0)
        way_fail(f, size, way);
    test_hub_clear_rules(f->server);
    assert_int_equal(hc_blob_find(f->cache, BLOB_OF(f, metadata.etag), &there, &f->err),
                     1);
    assert_int_equal(there, size);
    assert_int_equal(temp_dir_count(f->dir, "models--org--m/blobs"), 1);
    temp_dir_remove(temp_dir_path(f->dir, "models--org--m"));
}

/* In eighths of the split size, which are the pieces: nothing, one, two, four (as many as
 * there must be), five; what still comes over one connection, and two that do not. */
static const uint64_t boundaries[] = {0, 1, 2, 4, 5, 8, 9, 16};

enum { SIZES = 3 * sizeof boundaries / sizeof *boundaries };

/* One byte less, as many, one more: the three sizes around boundary `i`. */
static uint64_t way_size_at(size_t i, const struct way *way)
{
    return boundaries[i / 3] * way->min_split_size / 8 + i % 3 +
           (boundaries[i / 3] > 0 ? 0 : 1) - 1;
}

static void fetch_around_boundaries(struct fixture *f, struct way way)
{
    for (size_t i = 0; i < SIZES; i++)
        way_serve(f, way_size_at(i, &way), &way);
    server_commit(f);
    transfers_reopen(f, &way);
    for (size_t i = 0; i < SIZES; i++) {
        uint64_t size = way_size_at(i, &way);

        way_expect_whole(f, size, &way, way.is_left ? size - size / 8 : size * 2 / 3);
    }
}

/* What is hashed, and read from the network, at once is 256 KiB: a piece of these. */
static void files_around_every_boundary_arrive_whole(void **state)
{
    for (int i = 0; i < 8; i++)
        fetch_around_boundaries(*state, (struct way){.connections = i & 1 ? 8 : 1,
                                                     .min_split_size = split_size,
                                                     .is_lfs = i & 2,
                                                     .is_cut = i & 4});
}

static void files_around_every_boundary_are_resumed(void **state)
{
    for (int i = 0; i < 4; i++)
        fetch_around_boundaries(*state, (struct way){.connections = i & 1 ? 8 : 1,
                                                     .min_split_size = split_size,
                                                     .is_lfs = i & 2,
                                                     .is_left = true});
}

static void files_of_unknown_size_arrive_whole(void **state)
{
    for (int i = 0; i < 12; i++)
        fetch_around_boundaries(*state, (struct way){.connections = 8,
                                                     .min_split_size = split_size,
                                                     .is_lfs = i & 1,
                                                     .is_unsized = true,
                                                     .is_unending = i & 2,
                                                     .is_cut = i / 4 == 1,
                                                     .is_left = i / 4 == 2});
}

/* With the settings that hubcached starts with. */
static void files_of_half_to_whole_the_split_size_arrive_whole(void **state)
{
    const uint64_t sizes[] = {32 * mib - 1, 32 * mib,     32 * mib + 1, 35100000,
                              41539200,     56 * mib - 1, 56 * mib + 1, 64 * mib - 1,
                              64 * mib,     64 * mib + 1, 72 * mib + 1};
    const struct way way = {.connections = 16, .is_lfs = true};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        way_serve(f, sizes[i], &way);
    server_commit(f);
    transfers_reopen(f, &way);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        way_expect_whole(f, sizes[i], &way, 0);
}

static void files_of_random_sizes_arrive_whole(void **state)
{
    struct fixture *f = *state;
    struct random_source random;

    random_begin(&random, "transfers of random sizes");
    for (int i = 0; i < 60; i++) {
        uint64_t split = random_between(&random, 1, 2 * mib);
        uint64_t size = random_between(&random, 0, 2 * split);
        unsigned kind = (unsigned)random_between(&random, 0, 3);
        uint64_t chunk = random_between(&random, 2000, 300000);
        const struct way way = {.connections = (unsigned)random_between(&random, 1, 9),
                                .min_split_size = split,
                                .is_lfs = random_between(&random, 0, 1),
                                .is_cut = kind == 1,
                                .is_left = kind == 2,
                                .chunk = kind == 3 ? chunk : 0,
                                .is_unsized = random_between(&random, 0, 2) == 0,
                                .is_unending = random_between(&random, 0, 1)};

        way_serve(f, size, &way);
        server_commit(f);
        transfers_reopen(f, &way);
        way_expect_whole(f, size, &way, random_between(&random, 0, size));
    }
}

/* The bytes of a transfer that ended with some pieces of 64 KiB and without others. */
static void make_ranges(uint64_t size, struct random_source *random, char *text,
                        size_t room)
{
    size_t used = 0;

    for (uint64_t at = 0; at < size && used + 64 < room;) {
        uint64_t end = at + 64 * kib * random_between(random, 1, 16);

        if (end > size)
            end = size;
        used += (size_t)snprintf(text + used, room - used, "%s%" PRIu64 "-%" PRIu64,
                                 used ? "," : "", at, end);
        at = end + 64 * kib * random_between(random, 1, 8);
    }
}

/* The whole blob becomes a partial file of which only those ranges are claimed. */
static void leave_holes(struct fixture *f, uint64_t size, const char *etag,
                        struct random_source *random)
{
    char ranges[1024], text[2048], path[512], blob[256];

    make_ranges(size, random, ranges, sizeof ranges);
    (void)snprintf(text, sizeof text,
                   "host=x\npid=0\nstart=0\nincomplete=%s.01234567.incomplete\n"
                   "size=%" PRIu64 "\nbytes=%" PRIu64 "\nranges=%s\n",
                   etag, size, 2 * mib, ranges);
    (void)snprintf(path, sizeof path, ".hubcache/transfers/models--org--m/%s", etag);
    temp_dir_write(f->dir, path, text);
    (void)snprintf(blob, sizeof blob, "%s/models--org--m/blobs/%s", f->dir, etag);
    (void)snprintf(path, sizeof path, "%s.01234567.incomplete", blob);
    assert_int_equal(rename(blob, path), 0);
}

/* Then the blob may come over one connection, and yet in parts. */
static void a_partial_file_with_holes_is_completed(void **state)
{
    struct fixture *f = *state;
    struct random_source random;

    random_begin(&random, "partial files with holes");
    for (int i = 0; i < 30; i++) {
        uint64_t size = random_between(&random, 3 * mib, 8 * mib);
        const struct way way = {.connections = 8,
                                .min_split_size = random_between(&random, 1, 16 * mib),
                                .is_lfs = true};
        uint64_t fetched;
        char name[NAME];

        way_serve(f, size, &way);
        server_commit(f);
        transfers_reopen(f, &way);
        way_file_name(size, &way, name);
        assert_int_equal(fetch_file(f, name, NULL, &fetched), 0);
        leave_holes(f, size, metadata_of(f, name).etag, &random);
        way_expect_whole(f, size, &way, 0);
    }
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, transfer_set_up, transfer_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(files_around_every_boundary_arrive_whole),
        TEST(files_around_every_boundary_are_resumed),
        TEST(files_of_unknown_size_arrive_whole),
        TEST(files_of_half_to_whole_the_split_size_arrive_whole),
        TEST(files_of_random_sizes_arrive_whole),
        TEST(a_partial_file_with_holes_is_completed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
