/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of many callers at once: what they all want to know the Hub is asked once,
 * and what it says, or that it says nothing, is shared.
 */
#include "resolver_fixture.h"

#include <hub/hub_request.h>
#include <resolver/hub_resolution.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { CALLERS = 16 };

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, shared_setup, resolver_fixture_teardown)

/* One caller on a thread of its own, and what it was told. */
struct caller {
    struct fixture *f;
    pthread_t thread;
    char filename[32];
    int result;
    struct hc_file file;
    struct hc_error err;
};

/* A cache with CALLERS files of main, heard from the Hub a while ago. */
static int shared_setup(void **state)
{
    struct fixture *f;
    char name[32];

    if (resolver_fixture_setup(state) != 0)
        return -1;
    f = *state;
    for (int i = 0; i < CALLERS; i++) {
        (void)snprintf(name, sizeof name, "file-%d.txt", i);
        test_hub_add(f->hub, name, name, strlen(name), false);
    }
    test_hub_commit(f->hub, "models/org/model", "main", f->commit);
    return 0;
}

static void fill_cache(struct fixture *f)
{
    struct hc_file file;
    char name[32];

    for (int i = 0; i < CALLERS; i++) {
        (void)snprintf(name, sizeof name, "file-%d.txt", i);
        assert_int_equal(resolve(f, "main", name, &file), 0);
        hc_file_clear(&file);
    }
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_clear_log(f->hub);
}

static void *run(void *ctx)
{
    struct caller *caller = ctx;
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = caller->filename};

    caller->result =
        hc_resolve_file(caller->f->resolver, &request, NULL, &caller->file, &caller->err);
    return NULL;
}

static void start_one(struct fixture *f, struct caller *caller, const char *filename)
{
    *caller = (struct caller){.f = f};
    (void)snprintf(caller->filename, sizeof caller->filename, "%s", filename);
    assert_int_equal(pthread_create(&caller->thread, NULL, run, caller), 0);
}

/* Each asks for `filename`; without one, each for another file. */
static void start(struct fixture *f, struct caller callers[CALLERS], const char *filename)
{
    char name[32];

    for (int i = 0; i < CALLERS; i++) {
        (void)snprintf(name, sizeof name, "file-%d.txt", i);
        start_one(f, &callers[i], filename ? filename : name);
    }
}

static void join(struct caller callers[CALLERS])
{
    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(pthread_join(callers[i].thread, NULL), 0);
}

static void delay_answers(struct fixture *f, unsigned ms)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_DELAY, .number = ms});
}

/* Until all of them ask or wait; a test that hangs here has failed. */
static void await_callers(struct hc_shared_queries *questions)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    while (hc_shared_queries_waiters(questions) < CALLERS)
        (void)nanosleep(&moment, NULL);
}

static void a_ref_too_old_for_many_files_costs_one_question(void **state)
{
    struct fixture *f = *state;
    struct caller callers[CALLERS];

    fill_cache(f);
    start(f, callers, NULL);
    join(callers);

    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].result, 0);
        assert_false(callers[i].file.stale);
        assert_string_equal(callers[i].file.filename, callers[i].filename);
        assert_content(&callers[i].file, callers[i].filename);
        hc_file_clear(&callers[i].file);
    }
    assert_int_equal(test_hub_count(f->hub, "HEAD", "/resolve/"), 1);
    assert_int_equal(test_hub_count(f->hub, "GET", NULL), 0);
}

/* Whoever brings a blob moves it to one of its names, where there are no symlinks. */
static void without_symlinks_all_have_their_file_too(void **state)
{
    static const char *const names[] = {"twin-a.txt", "twin-b.txt"};
    struct fixture *f = *state;
    struct caller callers[CALLERS];

    for (int i = 0; i < 2; i++)
        test_hub_add(f->hub, names[i], "twin", 4, false);
    test_hub_commit(f->hub, "models/org/model", "main", f->commit);
    f->settings.no_symlinks = true;
    resolver_fixture_reopen(f, false);
    delay_answers(f, 200);
    for (int i = 0; i < CALLERS; i++)
        start_one(f, &callers[i], names[i % 2]);
    join(callers);
    for (int i = 0; i < CALLERS; i++) {
        if (callers[i].result < 0)
            fail_msg("%s", callers[i].err.message);
        assert_content(&callers[i].file, "twin");
        hc_file_clear(&callers[i].file);
    }
}

static int count_and_answer(void *ctx, struct hc_revision *answer, struct hc_error *err)
{
    struct caller *caller = ctx;

    (void)err;
    caller->result++;
    memcpy(answer->commit, caller->f->commit, HC_COMMIT_SIZE);
    return 0;
}

/* Nobody slips in between the answer and its record. */
static void what_was_heard_is_on_disk_before_it_is_told(void **state)
{
    struct fixture *f = *state;
    struct caller counted = {.f = f};
    const struct hc_revision_query query = {count_and_answer, &counted};
    const struct hc_fetch_options options = {0};
    const struct hc_target target = {.id = "org/model"};
    struct hc_resolution resolution;
    struct hc_hub_resolution hub_resolution = {.resolution = &resolution};
    struct hc_revision answer;

    fill_cache(f);
    assert_int_equal(hc_resolution_init(&resolution, f->resolver, &target, &options,
                                        &f->err),
                     0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hc_resolution_query_revision(&hub_resolution, &query, &answer,
                                                      &f->err),
                         0);
        assert_string_equal(answer.commit, f->commit);
    }
    assert_int_equal(counted.result, 1);
}

static void a_branch_that_moved_is_followed_by_all(void **state)
{
    struct fixture *f = *state;
    struct caller callers[CALLERS];
    char commit[41];

    fill_cache(f);
    resolver_fixture_move_main(f, commit);
    delay_answers(f, 500);
    start(f, callers, "config.json");
    await_callers(f->resolver->questions);
    join(callers);

    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].result, 0);
        assert_string_equal(callers[i].file.commit_hash, commit);
        assert_content(&callers[i].file, "{\"v\": 2}");
        hc_file_clear(&callers[i].file);
    }
    assert_in_range(test_hub_count(f->hub, "HEAD", "/resolve/"), 1, 2);
    assert_int_equal(test_hub_count(f->hub, "GET", "config.json"), 1);
}

static void a_file_that_is_not_there_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    struct caller callers[CALLERS];

    delay_answers(f, 500);
    start(f, callers, "missing.txt");
    await_callers(f->resolver->hub->questions);
    join(callers);

    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].result, -1);
        assert_int_equal(callers[i].err.reason, HC_ENTRY_NOT_FOUND);
    }
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

static void an_old_ref_and_a_missing_file_cost_few_questions(void **state)
{
    struct fixture *f = *state;
    struct caller callers[CALLERS];

    fill_cache(f);
    test_hub_set_commit_on_404(f->hub, false);
    delay_answers(f, 500);
    start(f, callers, "missing.txt");
    await_callers(f->resolver->questions);
    join(callers);

    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(callers[i].err.reason, HC_ENTRY_NOT_FOUND);
    assert_in_range(test_hub_count(f->hub, NULL, NULL), 1, 2);
}

static void an_outage_is_waited_out_once_for_all(void **state)
{
    struct fixture *f = *state;
    struct caller callers[CALLERS];
    int64_t start_ms;

    fill_cache(f);
    f->settings.metadata_timeout_s = 1;
    resolver_fixture_reopen(f, false);
    delay_answers(f, 60000);
    start_ms = hc_monotonic_ms();
    start(f, callers, NULL);
    await_callers(f->resolver->questions);
    join(callers);

    assert_true(hc_monotonic_ms() - start_ms < 5000);
    for (int i = 0; i < CALLERS; i++) {
        assert_int_equal(callers[i].result, 0);
        assert_true(callers[i].file.stale);
        hc_file_clear(&callers[i].file);
    }
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

static void *run_snapshot(void *ctx)
{
    struct caller *caller = ctx;
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;

    caller->result =
        hc_resolve_snapshot(caller->f->resolver, &request, NULL, &snapshot, &caller->err);
    hc_snapshot_clear(&snapshot);
    return NULL;
}

static void a_cold_snapshot_is_named_and_listed_once(void **state)
{
    struct fixture *f = *state;
    struct caller callers[CALLERS];

    delay_answers(f, 500);
    for (int i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.f = f};
        assert_int_equal(pthread_create(&callers[i].thread, NULL, run_snapshot,
                                        &callers[i]),
                         0);
    }
    await_callers(f->resolver->questions);
    join(callers);

    for (int i = 0; i < CALLERS; i++)
        assert_int_equal(callers[i].result, 0);
    assert_int_equal(test_hub_count(f->hub, "GET", "/revision/"), 1);
    assert_int_equal(test_hub_count(f->hub, "GET", "/tree/"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_ref_too_old_for_many_files_costs_one_question),
        test(without_symlinks_all_have_their_file_too),
        test(what_was_heard_is_on_disk_before_it_is_told),
        test(a_branch_that_moved_is_followed_by_all),
        test(a_file_that_is_not_there_is_asked_for_once),
        test(an_old_ref_and_a_missing_file_cost_few_questions),
        test(an_outage_is_waited_out_once_for_all),
        test(a_cold_snapshot_is_named_and_listed_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
