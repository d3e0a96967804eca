/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a blob that was committed for a caller has a record of that caller, of its
 * groups and of the rule, which another process reads; a record without a blob goes with
 * the sweep once it is old, and none with a blob does. What other clients and users write
 * in its place is no record.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <cache/fetched.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define RECORD ".hubcache/fetched/models--org--name/" HELLO_GIT
#define BLOB "models--org--name/blobs/" HELLO_GIT

enum { HOUR_S = 3600 };

static const char *const groups[] = {"research", "größe \"1\""};
static const struct hc_identity alice = {"jwt", "alice", groups, 2};

static struct hc_blob_request hello_request(struct fixture *f,
                                            const struct hc_identity *identity)
{
    return (struct hc_blob_request){.blob = {f->repo.folder, HELLO_GIT},
                                    .size = strlen("hello"),
                                    .identity = identity,
                                    .rule = identity ? "team-a" : NULL};
}

/* Commits the blob "hello" for the caller. */
static void commit_hello(struct fixture *f, const struct hc_identity *identity)
{
    const struct hc_blob_request request = hello_request(f, identity);
    struct hc_ingest *ingest =
        begin_ingest(f->cache, &request.blob, request.size, &f->err);

    assert_non_null(ingest);
    assert_int_equal(hc_ingest_write(ingest, 0, "hello", 5, &f->err), 0);
    assert_int_equal(hc_ingest_commit(ingest, &request, &f->err), 0);
    hc_ingest_drop(ingest);
}

static int read_hello(struct fixture *f, struct hc_fetched *fetched)
{
    return hc_fetched_read(f->cache, BLOB_OF(f, HELLO_GIT), fetched, &f->err);
}

static void a_blob_is_recorded_with_its_caller_and_its_rule(void **state)
{
    struct fixture *f = *state;
    int64_t before_ms = hc_epoch_ms();
    HC_AUTO_VALUE(hc_fetched) fetched = {0};

    commit_hello(f, &alice);

    assert_int_equal(read_hello(f, &fetched), 1);
    assert_string_equal(fetched.identity.kind, "jwt");
    assert_string_equal(fetched.identity.name, "alice");
    assert_int_equal(fetched.identity.group_count, 2);
    assert_string_equal(fetched.identity.groups[0], groups[0]);
    assert_string_equal(fetched.identity.groups[1], groups[1]);
    assert_string_equal(fetched.rule, "team-a");
    assert_int_equal(fetched.bytes, 5);
    assert_in_range(fetched.fetched_ms, before_ms, hc_epoch_ms());
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void an_anonymous_caller_is_recorded_without_a_name(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_fetched) fetched = {0};

    commit_hello(f, NULL);

    assert_int_equal(read_hello(f, &fetched), 1);
    assert_string_equal(fetched.identity.kind, "");
    assert_string_equal(fetched.identity.name, "");
    assert_int_equal(fetched.identity.group_count, 0);
    assert_string_equal(fetched.rule, "");
}

static void the_last_caller_to_commit_a_blob_has_it(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_fetched) fetched = {0};

    commit_hello(f, NULL);
    commit_hello(f, &alice);

    assert_int_equal(read_hello(f, &fetched), 1);
    assert_string_equal(fetched.identity.name, "alice");
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/fetched"), 1);
}

static void wrong_bytes_leave_no_record(void **state)
{
    struct fixture *f = *state;
    const struct hc_blob_request request = hello_request(f, &alice);
    struct hc_ingest *ingest =
        begin_ingest(f->cache, &request.blob, request.size, &f->err);

    assert_int_equal(hc_ingest_write(ingest, 0, "HELLO", 5, &f->err), 0);
    assert_int_equal(hc_ingest_commit(ingest, &request, &f->err), -1);
    hc_ingest_drop(ingest);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/fetched"), 0);
}

static void groups_beyond_the_limit_are_left_out(void **state)
{
    struct fixture *f = *state;
    char names[HC_FETCHED_GROUPS_MAX + 1][8];
    const char *list[HC_FETCHED_GROUPS_MAX + 1];
    struct hc_identity identity = {"token", "bob", list, 0};

    for (size_t i = 0; i <= HC_FETCHED_GROUPS_MAX; i++) {
        (void)snprintf(names[i], sizeof names[i], "g%zu", i);
        list[i] = names[i];
    }
    for (size_t count = HC_FETCHED_GROUPS_MAX - 1; count <= HC_FETCHED_GROUPS_MAX + 1;
         count++) {
        HC_AUTO_VALUE(hc_fetched) fetched = {0};

        identity.group_count = count;
        commit_hello(f, &identity);
        assert_int_equal(read_hello(f, &fetched), 1);
        assert_int_equal(fetched.identity.group_count,
                         count < HC_FETCHED_GROUPS_MAX ? count : HC_FETCHED_GROUPS_MAX);
    }
}

static void what_is_no_record_is_none(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "7", "{\"bytes\": -1"};
    struct fixture *f = *state;
    struct hc_fetched fetched;

    assert_int_equal(read_hello(f, &fetched), 0);
    hc_fetched_clear(&fetched);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        temp_dir_write(f->dir, RECORD, texts[i]);
        assert_int_equal(read_hello(f, &fetched), 0);
        hc_fetched_clear(&fetched);
    }
}

static void members_of_other_types_are_not_read(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_VALUE(hc_fetched) fetched = {0};

    temp_dir_write(f->dir, RECORD,
                   "{\"caller\": 7, \"kind\": null, \"groups\": [1, \"g\", {}], "
                   "\"bytes\": -5, \"fetched_ms\": \"x\"}");
    assert_int_equal(read_hello(f, &fetched), 1);
    assert_string_equal(fetched.identity.name, "");
    assert_string_equal(fetched.identity.kind, "");
    assert_int_equal(fetched.identity.group_count, 1);
    assert_string_equal(fetched.rule, "");
    assert_int_equal(fetched.bytes, 0);
    assert_int_equal(fetched.fetched_ms, 0);
}

static void a_blob_that_is_removed_takes_its_record_along(void **state)
{
    struct fixture *f = *state;
    struct hc_fetched fetched;

    commit_hello(f, &alice);
    hc_fetched_remove(f->cache, BLOB_OF(f, HELLO_GIT));
    assert_int_equal(read_hello(f, &fetched), 0);
    hc_fetched_remove(f->cache, BLOB_OF(f, HELLO_GIT)); /* an absent one is fine */
}

/* ---- the sweep --------------------------------------------------------------------- */

/* How many records a sweep removes when one was written `age_s` ago. */
static unsigned sweep_at_age(struct fixture *f, long age_s)
{
    return hc_fetched_sweep(f->cache, hc_epoch_ms() + age_s * 1000);
}

static void remove_blob(struct fixture *f)
{
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, BLOB);

    assert_int_equal(remove(path), 0);
}

static void a_record_with_a_blob_is_never_swept(void **state)
{
    struct fixture *f = *state;

    commit_hello(f, &alice);
    assert_int_equal(sweep_at_age(f, 1000 * HOUR_S), 0);
    assert_true(temp_dir_has(f->dir, RECORD));
}

static void a_record_without_a_blob_is_swept_after_an_hour(void **state)
{
    struct fixture *f = *state;

    commit_hello(f, &alice);
    remove_blob(f);
    assert_int_equal(sweep_at_age(f, 0), 0);
    assert_int_equal(sweep_at_age(f, HOUR_S - 60), 0);
    assert_true(temp_dir_has(f->dir, RECORD));
    assert_int_equal(sweep_at_age(f, HOUR_S + 60), 1);
    assert_false(temp_dir_has(f->dir, ".hubcache/fetched/models--org--name"));
}

static void a_record_of_the_far_future_is_swept_too(void **state)
{
    struct fixture *f = *state;

    commit_hello(f, &alice);
    remove_blob(f);
    assert_int_equal(sweep_at_age(f, -HOUR_S + 60), 0);
    assert_int_equal(sweep_at_age(f, -HOUR_S - 60), 1);
}

static void a_record_of_a_blob_that_is_locked_is_not_swept(void **state)
{
    struct fixture *f = *state;
    struct hc_blob_lock *lock;

    commit_hello(f, &alice);
    remove_blob(f);
    lock = take_lock(f->cache, BLOB_OF(f, HELLO_GIT));
    assert_int_equal(sweep_at_age(f, 2 * HOUR_S), 0);
    hc_blob_lock_release(lock);
    assert_int_equal(sweep_at_age(f, 2 * HOUR_S), 1);
}

static void without_symlinks_a_record_stays_as_long_as_its_repo(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *blobs = temp_dir_path(f->dir, "models--org--name/blobs");
    HC_AUTO_FREE char *folder = temp_dir_path(f->dir, "models--org--name");

    reopen_cache(f, true);
    commit_hello(f, &alice);
    remove_blob(f);
    assert_int_equal(sweep_at_age(f, 2 * HOUR_S), 0);
    assert_int_equal(remove(blobs), 0);
    assert_int_equal(remove(folder), 0);
    assert_int_equal(sweep_at_age(f, 2 * HOUR_S), 1);
}

static void a_sweep_leaves_what_is_no_record(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/fetched/notes/" HELLO_GIT, "x");
    temp_dir_write(f->dir, ".hubcache/fetched/models--org--name/a b", "x");
    temp_dir_write(f->dir, ".hubcache/fetched/models--org--name/a/" HELLO_GIT, "x");
    assert_int_equal(sweep_at_age(f, 2 * HOUR_S), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/fetched"), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_blob_is_recorded_with_its_caller_and_its_rule),
        WITH_CACHE(an_anonymous_caller_is_recorded_without_a_name),
        WITH_CACHE(the_last_caller_to_commit_a_blob_has_it),
        WITH_CACHE(wrong_bytes_leave_no_record),
        WITH_CACHE(groups_beyond_the_limit_are_left_out),
        WITH_CACHE(what_is_no_record_is_none),
        WITH_CACHE(members_of_other_types_are_not_read),
        WITH_CACHE(a_blob_that_is_removed_takes_its_record_along),
        WITH_CACHE(a_record_with_a_blob_is_never_swept),
        WITH_CACHE(a_record_without_a_blob_is_swept_after_an_hour),
        WITH_CACHE(a_record_of_the_far_future_is_swept_too),
        WITH_CACHE(a_record_of_a_blob_that_is_locked_is_not_swept),
        WITH_CACHE(without_symlinks_a_record_stays_as_long_as_its_repo),
        WITH_CACHE(a_sweep_leaves_what_is_no_record),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
