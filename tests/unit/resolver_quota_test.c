/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a caller has as many bytes fetched as the first quota that matches it has
 * room for, and is refused the next one before a byte of it is asked for. What is on the
 * volume costs nothing, nor does what another caller has had fetched; what is removed
 * gives its room back; and all that holds after a restart, for many callers at once, and
 * from the moment when the policy is read again.
 */
#include "resolver_fixture.h"

#include <cache/fetched.h>
#include <resolver/resolver.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, quota_setup, resolver_fixture_teardown)

enum { FILES = 6, SIZE = 1000, LARGE = 1024 * 1024 };

static const struct hc_identity alice = {.kind = "token", .name = "alice"};
static const struct hc_identity bob = {.kind = "token", .name = "bob"};

static void write_policy(struct fixture *f, const char *quotas)
{
    char text[1024];

    (void)snprintf(text, sizeof text, "version: 1\ndefault: allow\n%s", quotas);
    temp_dir_write(f->dir, ".hubcache/policy.yaml", text);
}

static void set_policy(struct fixture *f, const char *quotas)
{
    write_policy(f, quotas);
    assert_int_equal(hc_resolver_load_policy(f->resolver, &f->err), 0);
}

/* FILES files of SIZE bytes: part-0.bin and so on. */
static int quota_setup(void **state)
{
    struct fixture *f;
    char name[32];

    if (resolver_fixture_setup(state) != 0)
        return -1;
    f = *state;
    for (unsigned i = 0; i < FILES; i++) {
        (void)snprintf(name, sizeof name, "part-%u.bin", i);
        test_hub_add_generated(f->hub, name, SIZE, i + 1, true);
    }
    test_hub_commit(f->hub, "models/org/parts", "main", f->commit);
    write_policy(f, "");
    f->settings.policy_file = temp_dir_path(f->dir, ".hubcache/policy.yaml");
    resolver_fixture_reopen(f, false);
    return 0;
}

/* 0, or -1 and f->err. */
static int resolve_part(struct fixture *f, unsigned n, const struct hc_identity *identity)
{
    char name[32];
    const struct hc_file_request request = {.repo = {.id = "org/parts"},
                                            .filename = name,
                                            .options = {.identity = identity}};
    struct hc_file file;

    (void)snprintf(name, sizeof name, "part-%u.bin", n);
    if (hc_resolve_file(f->resolver, &request, NULL, &file, &f->err) < 0)
        return -1;
    hc_file_clear(&file);
    return 0;
}

static int resolve_repo(struct fixture *f, const char *id,
                        const struct hc_identity *identity)
{
    const struct hc_snapshot_request request = {.repo = {.id = id},
                                                .options = {.identity = identity}};
    struct hc_snapshot snapshot;

    if (hc_resolve_snapshot(f->resolver, &request, NULL, &snapshot, &f->err) < 0)
        return -1;
    hc_snapshot_clear(&snapshot);
    return 0;
}

static void assert_refused(struct fixture *f, uint64_t needed, uint64_t left,
                           uint64_t limit)
{
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_string_equal(f->err.rule, "quota");
    assert_int_equal(f->err.needed_bytes, needed);
    assert_int_equal(f->err.free_bytes, left);
    assert_int_equal(f->err.limit_bytes, limit);
    assert_int_equal(f->err.retry_after_ms, 0);
    assert_non_null(strstr(f->err.message, "quota"));
    assert_non_null(strstr(f->err.message, "org/parts"));
}

static void a_caller_may_use_its_quota_and_no_byte_more(void **state)
{
    static const struct {
        const char *quotas;
        int second; /* part of two of SIZE bytes each */
    } cases[] = {{"quotas: [{callers: [alice], bytes: 1999}]", -1},
                 {"quotas: [{callers: [alice], bytes: 2k}]", 0},
                 {"quotas: [{callers: [alice], bytes: 2001}]", 0}}; /* a hit */
    struct fixture *f = *state;

    for (unsigned i = 0; i < 3; i++) {
        set_policy(f, cases[i].quotas);
        assert_int_equal(resolve_part(f, 0, &alice), 0);
        test_hub_clear_log(f->hub);
        assert_int_equal(resolve_part(f, 1, &alice), cases[i].second);
        assert_int_equal(test_hub_count_cdn(f->hub, "GET"), i == 1);
        if (i == 0)
            assert_refused(f, SIZE, SIZE - 1, 1999);
    }
    assert_int_equal(resolve_part(f, 2, &alice), -1);
    assert_refused(f, SIZE, 1, 2001);
}

static void a_caller_without_a_quota_is_never_refused(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [bob, 'group:g'], bytes: 1}]");
    assert_int_equal(resolve_part(f, 0, &alice), 0);
    assert_int_equal(resolve_part(f, 0, &bob), 0); /* a hit */
    assert_int_equal(resolve_part(f, 1, &bob), -1);
    assert_int_equal(resolve_part(f, 1, NULL), 0);
}

static void the_callers_of_a_quota_share_it(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [alice, bob], bytes: 2k}, "
                  "{callers: [\"*\"], bytes: 1k}]");
    assert_int_equal(resolve_part(f, 0, &alice), 0);
    assert_int_equal(resolve_part(f, 1, &bob), 0);
    assert_int_equal(resolve_part(f, 2, &alice), -1);
    assert_int_equal(resolve_part(f, 2, &bob), -1);
    assert_int_equal(resolve_part(f, 2, NULL), 0); /* the second quota */
    assert_int_equal(resolve_part(f, 3, NULL), -1);
}

static void what_another_caller_has_had_fetched_costs_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(resolve_part(f, 0, &bob), 0);
    set_policy(f, "quotas: [{callers: [alice], bytes: 1k}]");
    assert_int_equal(resolve_part(f, 0, &alice), 0);
    assert_int_equal(resolve_part(f, 1, &alice), 0);
    assert_int_equal(resolve_part(f, 2, &alice), -1);
    assert_int_equal(resolve_part(f, 0, &alice), 0);
}

static void a_snapshot_is_refused_as_a_whole_before_its_first_byte(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [alice], bytes: 5999}]");
    assert_int_equal(resolve_repo(f, "org/parts", &alice), -1);
    assert_refused(f, FILES * SIZE, 5999, 5999);
    assert_int_equal(test_hub_count_cdn(f->hub, "GET"), 0);
    assert_int_equal(temp_dir_count(f->dir, "models--org--parts/blobs"), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
    set_policy(f, "quotas: [{callers: [alice], bytes: 6k}]");
    assert_int_equal(resolve_repo(f, "org/parts", &alice), 0);
}

static void what_a_snapshot_has_already_is_not_needed(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(resolve_part(f, 0, &bob), 0);
    set_policy(f, "quotas: [{callers: [alice], bytes: 5k}]");
    assert_int_equal(resolve_repo(f, "org/parts", &alice), 0);
    assert_int_equal(resolve_repo(f, "org/parts", &alice), 0);
}

static void a_blob_of_another_repo_is_not_needed(void **state)
{
    struct fixture *f = *state;

    test_hub_add_generated(f->hub, "one.bin", LARGE, 77, true);
    test_hub_commit(f->hub, "models/org/large", "main", f->commit);
    test_hub_add_generated(f->hub, "one.bin", LARGE, 77, true);
    test_hub_commit(f->hub, "models/org/fork", "main", f->commit);
    assert_int_equal(resolve_repo(f, "org/large", &bob), 0);
    set_policy(f, "quotas: [{callers: [alice], bytes: 1k}]");
    assert_int_equal(resolve_repo(f, "org/fork", &alice), 0);
    assert_int_equal(resolve_part(f, 0, &alice), 0); /* and takes no room of hers */
}

static void a_restart_forgets_nothing(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [alice], bytes: 2k}]");
    assert_int_equal(resolve_part(f, 0, &alice), 0);
    resolver_fixture_reopen(f, false);
    assert_int_equal(resolve_part(f, 1, &alice), 0);
    resolver_fixture_reopen(f, false);
    assert_int_equal(resolve_part(f, 2, &alice), -1);
    assert_refused(f, SIZE, 0, 2 * SIZE);
}

/* As a removal by any process does. */
static void remove_part(struct fixture *f, unsigned n)
{
    char name[32], path[4096];
    const struct hc_file_request request = {.repo = {.id = "org/parts"},
                                            .filename = name};
    struct hc_file file;
    struct hc_blob_id blob = {"models--org--parts", file.etag};

    (void)snprintf(name, sizeof name, "part-%u.bin", n);
    assert_int_equal(hc_resolve_file(f->resolver, &request, NULL, &file, &f->err), 0);
    (void)snprintf(path, sizeof path, "%s/models--org--parts/blobs/%s", f->dir,
                   file.etag);
    assert_int_equal(remove(path), 0);
    hc_fetched_remove(f->resolver->cache, &blob);
    hc_file_clear(&file);
}

static void what_is_removed_gives_its_room_back(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [alice], bytes: 1k}]");
    assert_int_equal(resolve_part(f, 0, &alice), 0);
    assert_int_equal(resolve_part(f, 1, &alice), -1);
    remove_part(f, 0);
    assert_int_equal(resolve_part(f, 1, &alice), 0);
    assert_int_equal(resolve_part(f, 2, &alice), -1);
}

static void a_smaller_quota_keeps_what_is_there(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(resolve_part(f, 0, &alice), 0);
    assert_int_equal(resolve_part(f, 1, &alice), 0);
    set_policy(f, "quotas: [{callers: [alice], bytes: 1k}]");
    assert_int_equal(resolve_part(f, 1, &alice), 0);
    assert_int_equal(resolve_part(f, 2, &alice), -1);
    assert_refused(f, SIZE, 0, SIZE);
}

static void a_download_that_fails_gives_its_room_back(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [alice], bytes: 1k}]");
    test_hub_rule(f->hub, &(struct test_hub_rule){.method = "GET",
                                                  .on_cdn = true,
                                                  .fault = TEST_HUB_STATUS,
                                                  .number = 404});
    assert_int_equal(resolve_part(f, 0, &alice), -1);
    test_hub_clear_rules(f->hub);
    assert_int_equal(resolve_part(f, 1, &alice), 0);
}

/* ---- many at once ------------------------------------------------------------------ */

struct downloader {
    pthread_t thread;
    struct fixture *f;
    unsigned part;
    int result;
    struct hc_error err;
};

static void *downloader_run(void *ctx)
{
    struct downloader *downloader = ctx;
    struct fixture own = *downloader->f;

    downloader->result = resolve_part(&own, downloader->part, &alice);
    downloader->err = own.err;
    return NULL;
}

/* Each fetches one of `parts` parts; returns how many have succeeded. */
static unsigned download_at_once(struct fixture *f, unsigned parts)
{
    struct downloader downloaders[2 * FILES];
    unsigned done = 0;

    for (unsigned i = 0; i < 2 * FILES; i++) {
        downloaders[i] = (struct downloader){.f = f, .part = i % parts};
        assert_int_equal(pthread_create(&downloaders[i].thread, NULL, downloader_run,
                                        &downloaders[i]),
                         0);
    }
    for (unsigned i = 0; i < 2 * FILES; i++) {
        assert_int_equal(pthread_join(downloaders[i].thread, NULL), 0);
        if (downloaders[i].result == 0)
            done++;
        else
            assert_int_equal(downloaders[i].err.reason, HC_NO_SPACE);
    }
    return done;
}

static void downloads_at_once_fill_a_quota_and_do_not_exceed_it(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [alice], bytes: 3k}]");
    (void)download_at_once(f, FILES);
    assert_int_equal(temp_dir_count(f->dir, "models--org--parts/blobs"), 3);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/fetched"), 3);
}

static void callers_that_want_the_same_files_need_their_room_once(void **state)
{
    struct fixture *f = *state;

    set_policy(f, "quotas: [{callers: [alice], bytes: 2k}]");
    assert_int_equal(download_at_once(f, 2), 2 * FILES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_caller_may_use_its_quota_and_no_byte_more),
        test(a_caller_without_a_quota_is_never_refused),
        test(the_callers_of_a_quota_share_it),
        test(what_another_caller_has_had_fetched_costs_nothing),
        test(a_snapshot_is_refused_as_a_whole_before_its_first_byte),
        test(what_a_snapshot_has_already_is_not_needed),
        test(a_blob_of_another_repo_is_not_needed),
        test(a_restart_forgets_nothing),
        test(what_is_removed_gives_its_room_back),
        test(a_smaller_quota_keeps_what_is_there),
        test(a_download_that_fails_gives_its_room_back),
        test(downloads_at_once_fill_a_quota_and_do_not_exceed_it),
        test(callers_that_want_the_same_files_need_their_room_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
