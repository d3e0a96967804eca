/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: each blob that a resolution fetches is recorded for the caller that had it
 * fetched, be it for one file or for a snapshot; a caller that finds it on the volume
 * changes nothing, and writes nothing.
 */
#include "resolver_fixture.h"

#include <cache/fetched.h>
#include <resolver/resolver.h>

#include <stdlib.h>
#include <string.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

#define RECORDS ".hubcache/fetched"

static const struct hc_identity alice = {.kind = "token", .name = "alice"};
static const struct hc_identity bob = {.kind = "token", .name = "bob"};

static void resolve_weights(struct fixture *f, const struct hc_identity *identity,
                            char etag[201])
{
    const struct hc_file_request request = {.repo = {.id = "org/model"},
                                            .filename = "weights.bin",
                                            .options = {.identity = identity}};
    struct hc_file file;

    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    memcpy(etag, file.etag, sizeof file.etag);
    hc_file_clear(&file);
}

static void assert_fetched_by(struct fixture *f, const char *etag, const char *name)
{
    const struct hc_blob_id blob = {REPO_FOLDER, etag};
    HC_AUTO_VALUE(hc_fetched) fetched = {0};

    assert_int_equal(hc_fetched_read(f->resolver->cache, &blob, &fetched, &f->err), 1);
    assert_string_equal(fetched.identity.name, name);
}

static void a_file_is_recorded_for_the_caller_that_has_it_fetched(void **state)
{
    struct fixture *f = *state;
    char etag[201];

    resolve_weights(f, &alice, etag);
    assert_fetched_by(f, etag, "alice");
    assert_int_equal(temp_dir_count(f->dir, RECORDS), 1);
}

static void a_hit_of_another_caller_changes_no_record(void **state)
{
    struct fixture *f = *state;
    char etag[201];

    resolve_weights(f, &alice, etag);
    resolve_weights(f, &bob, etag);
    assert_fetched_by(f, etag, "alice");
}

static void what_was_on_the_volume_before_gets_no_record(void **state)
{
    struct fixture *f = *state;
    char etag[201];

    resolve_weights(f, &alice, etag);
    hc_fetched_remove(f->resolver->cache, &(struct hc_blob_id){REPO_FOLDER, etag});
    resolve_weights(f, &bob, etag);
    assert_int_equal(temp_dir_count(f->dir, RECORDS), 0);
}

static void each_file_of_a_snapshot_is_recorded(void **state)
{
    struct fixture *f = *state;
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"},
                                                .options = {.identity = &bob}};
    struct hc_snapshot snapshot;
    char etag[201];

    resolve_weights(f, &alice, etag);
    assert_int_equal(hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err),
                     0);
    assert_int_equal(temp_dir_count(f->dir, RECORDS), snapshot.file_count);
    assert_fetched_by(f, etag, "alice");
    hc_snapshot_clear(&snapshot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_file_is_recorded_for_the_caller_that_has_it_fetched),
        test(a_hit_of_another_caller_changes_no_record),
        test(what_was_on_the_volume_before_gets_no_record),
        test(each_file_of_a_snapshot_is_recorded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
