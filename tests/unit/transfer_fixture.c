/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub is patient but quick: three retries a millisecond apart, a stall of two
 * seconds.
 */
#include "transfer_fixture.h"

#include "blob_id.h"
#include "single_flight_helper.h"

#include <cache/pointer.h>
#include <transfer/blob_download.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AWAIT_MS = 20000 };

static void server_add_content(struct fixture *f)
{
    static const struct test_hub_options options = {.valid_token = "hf_good"};

    f->server = test_hub_start(&options);
    test_hub_add(f->server, "config.json", "{}", 2, false);
    test_hub_add(f->server, "empty.txt", "", 0, false);
    test_hub_add_generated(f->server, "small.bin", SMALL_SIZE, 1, true);
    test_hub_add_generated(f->server, "large.bin", LARGE_SIZE, 2, true);
    test_hub_commit(f->server, "models/org/m", "main", f->commit);
}

static void fixture_open(struct fixture *f)
{
    char *endpoint = strdup(test_hub_endpoint(f->server));
    const struct hc_settings settings = {.endpoint = endpoint,
                                         .connections = CONNECTIONS,
                                         .metadata_timeout_s = 5,
                                         .download_timeout_s = 20,
                                         .retries = 3,
                                         .retry_base_ms = 1};

    f->dir = temp_dir_make();
    f->cache = hc_cache_open(f->dir, false, &f->err);
    assert_non_null(f->cache);
    f->hub = hc_hub_open(&settings, &f->err);
    assert_non_null(f->hub);
    f->transfers = hc_transfers_open(f->cache, f->hub, &settings, &f->err);
    assert_non_null(f->transfers);
    free(endpoint);
}

int transfer_set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    server_add_content(f);
    fixture_open(f);
    assert_int_equal(hc_repo_init(&f->repo, HC_REPO_MODEL, "org/m", &f->err), 0);
    *state = f;
    return 0;
}

int transfer_tear_down(void **state)
{
    struct fixture *f = *state;

    test_hub_release(f->server);
    hc_transfers_close(f->transfers);
    hc_hub_close(f->hub);
    hc_cache_close(f->cache);
    temp_dir_remove(f->dir);
    test_hub_stop(f->server);
    free(f);
    return 0;
}

struct hc_metadata metadata_of(struct fixture *f, const char *path)
{
    const struct hc_hub_credentials credentials = {.token = "hf_good"};
    struct hc_metadata metadata;

    assert_int_equal(hc_hub_head(f->hub,
                                 &(const struct hc_repo_file){&f->repo, "main", path},
                                 &credentials, &metadata, &f->err),
                     0);
    test_hub_clear_log(f->server);
    return metadata;
}

struct hc_blob_request blob_request_of(struct fixture *f, const char *path,
                                       const struct hc_metadata *metadata)
{
    return (struct hc_blob_request){.blob = {f->repo.folder, metadata->etag},
                                    .file = {&f->repo, f->commit, path},
                                    .size = metadata->size};
}

int fetch_file(struct fixture *f, const char *path, struct hc_cancellation *call,
               uint64_t *fetched)
{
    const struct hc_metadata metadata = metadata_of(f, path);
    const struct hc_blob_request request = blob_request_of(f, path, &metadata);
    const struct hc_hub_credentials credentials = {.cancellation = call};

    struct hc_blob_result blob;
    int result = hc_transfers_fetch(f->transfers, &request, &credentials, &blob, &f->err);

    *fetched = blob.fetched_bytes;
    return result;
}

void inject_rule(struct fixture *f, struct test_hub_rule rule)
{
    test_hub_rule(f->server, &rule);
}

void expect_log(struct fixture *f, const char *text, bool is_there)
{
    char *log = test_hub_log(f->server);

    if ((strstr(log, text) != NULL) != is_there)
        fail_msg("'%s' is%s in the log:\n%s", text, is_there ? " not" : "", log);
    free(log);
}

void expect_only_blob(struct fixture *f, const char *path)
{
    const struct hc_metadata metadata = metadata_of(f, path);
    uint64_t size = 0;

    assert_int_equal(hc_blob_find(f->cache, BLOB_OF(f, metadata.etag), &size, &f->err),
                     1);
    assert_int_equal(size, metadata.size);
    assert_int_equal(temp_dir_count(f->dir, "models--org--m/blobs"), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

void expect_no_blob(struct fixture *f)
{
    assert_int_equal(temp_dir_count(f->dir, "models--org--m"), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void sleep_briefly(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    (void)nanosleep(&moment, NULL);
}

void await_callers(struct fixture *f, unsigned count)
{
    int64_t give_up = hc_monotonic_ms() + AWAIT_MS;

    while (single_flights_callers(&f->transfers->active) != count) {
        assert_true(hc_monotonic_ms() < give_up);
        sleep_briefly();
    }
}

void await_arrived(struct fixture *f, const char *etag, uint64_t count)
{
    int64_t give_up = hc_monotonic_ms() + AWAIT_MS;

    while (hc_transfers_progress(f->transfers, BLOB_OF(f, etag)).bytes != count) {
        assert_true(hc_monotonic_ms() < give_up);
        sleep_briefly();
    }
}
