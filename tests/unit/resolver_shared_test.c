/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of many callers at once: one question to the Hub answers all of them,
 * whether the Hub answers or fails.
 */
#include "resolver_fixture.h"

#include "single_flight_helper.h"

#include <hub/hub_request.h>
#include <resolver/resolution.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { CLIENTS = 16 };

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, shared_setup, resolver_fixture_teardown)

/* One client on a thread of its own, and its answer. */
struct client_thread {
    struct fixture *f;
    pthread_t thread;
    char filename[32];
    int result;
    struct hc_file file;
    struct hc_error err;
};

/* A repo with CLIENTS files at main. */
static int shared_setup(void **state)
{
    struct fixture *f;
    char name[32];

    if (resolver_fixture_setup(state) != 0)
        return -1;
    f = *state;
    for (int i = 0; i < CLIENTS; i++) {
        (void)snprintf(name, sizeof name, "file-%d.txt", i);
        test_hub_add(f->hub, name, name, strlen(name), false);
    }
    test_hub_commit(f->hub, "models/org/model", "main", f->commit);
    return 0;
}

static void cache_all_files(struct fixture *f)
{
    struct hc_file file;
    char name[32];

    for (int i = 0; i < CLIENTS; i++) {
        (void)snprintf(name, sizeof name, "file-%d.txt", i);
        assert_int_equal(fixture_resolve_file(f, "main", name, &file), 0);
        hc_file_clear(&file);
    }
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_clear_log(f->hub);
}

static void *client_thread_run(void *ctx)
{
    struct client_thread *client_thread = ctx;
    struct hc_file_request request = {.repo = {.id = "org/model"},
                                      .filename = client_thread->filename};

    client_thread->result = hc_resolve_file(client_thread->f->resolver, &request, NULL,
                                            &client_thread->file, &client_thread->err);
    return NULL;
}

static void client_thread_start(struct fixture *f, struct client_thread *client_thread,
                                const char *filename)
{
    *client_thread = (struct client_thread){.f = f};
    (void)snprintf(client_thread->filename, sizeof client_thread->filename, "%s",
                   filename);
    assert_int_equal(pthread_create(&client_thread->thread, NULL, client_thread_run,
                                    client_thread),
                     0);
}

/* Each client asks for `filename`; without one, each for another file. */
static void client_threads_start(struct fixture *f, struct client_thread clients[CLIENTS],
                                 const char *filename)
{
    char name[32];

    for (int i = 0; i < CLIENTS; i++) {
        (void)snprintf(name, sizeof name, "file-%d.txt", i);
        client_thread_start(f, &clients[i], filename ? filename : name);
    }
}

static void client_threads_join(struct client_thread clients[CLIENTS])
{
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
}

static void delay_answers(struct fixture *f, unsigned ms)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_DELAY, .number = ms});
}

static void a_ref_too_old_for_many_files_costs_one_question(void **state)
{
    struct fixture *f = *state;
    struct client_thread clients[CLIENTS];

    cache_all_files(f);
    client_threads_start(f, clients, NULL);
    client_threads_join(clients);

    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].result, 0);
        assert_false(clients[i].file.stale);
        assert_string_equal(clients[i].file.filename, clients[i].filename);
        assert_file_content(&clients[i].file, clients[i].filename);
        hc_file_clear(&clients[i].file);
    }
    assert_int_equal(test_hub_count(f->hub, "HEAD", "/resolve/"), 1);
    assert_int_equal(test_hub_count(f->hub, "GET", NULL), 0);
}

/* Without symlinks, the client that fetched a blob moves it to the place of its file. */
static void without_symlinks_every_caller_gets_the_file(void **state)
{
    static const char *const names[] = {"twin-a.txt", "twin-b.txt"};
    struct fixture *f = *state;
    struct client_thread clients[CLIENTS];

    for (int i = 0; i < 2; i++)
        test_hub_add(f->hub, names[i], "twin", 4, false);
    test_hub_commit(f->hub, "models/org/model", "main", f->commit);
    f->settings.no_symlinks = true;
    resolver_fixture_reopen(f, false);
    delay_answers(f, 200);
    for (int i = 0; i < CLIENTS; i++)
        client_thread_start(f, &clients[i], names[i % 2]);
    client_threads_join(clients);
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].result < 0)
            fail_msg("%s", clients[i].err.message);
        assert_file_content(&clients[i].file, "twin");
        hc_file_clear(&clients[i].file);
    }
}

/* A resolution of a kind that counts its questions to the Hub. */
struct counted_resolution {
    struct hc_resolution resolution;
    const char *commit; /* every answer */
    unsigned questions;
};

static int counted_ask_revision(struct hc_resolution *resolution,
                                struct hc_revision *answer, struct hc_error *err)
{
    struct counted_resolution *self = (struct counted_resolution *)resolution;

    (void)err;
    self->questions++;
    memcpy(answer->commit, self->commit, HC_COMMIT_SIZE);
    return 0;
}

/* A caller that comes right after the answer finds it in the cache. */
static void an_answer_of_the_hub_is_on_disk_before_waiters_get_it(void **state)
{
    struct fixture *f = *state;
    const struct hc_resolution_kind kind = {.ask_revision = counted_ask_revision};
    const struct hc_fetch_options options = {0};
    const struct hc_target target = {.id = "org/model"};
    struct counted_resolution counted = {.resolution = {.kind = &kind,
                                                        .resolver = f->resolver,
                                                        .target = &target,
                                                        .options = &options},
                                         .commit = f->commit};
    struct hc_resolution *resolution = &counted.resolution;
    struct hc_revision answer;

    cache_all_files(f);
    assert_int_equal(hc_resolution_check(resolution, &f->err), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hc_resolution_share_revision(resolution, &answer, &f->err), 0);
        assert_string_equal(answer.commit, f->commit);
    }
    assert_int_equal(counted.questions, 1);
}

static void a_branch_that_moved_is_followed_by_all(void **state)
{
    struct fixture *f = *state;
    struct client_thread clients[CLIENTS];
    char commit[41];

    cache_all_files(f);
    resolver_fixture_move_main(f, commit);
    delay_answers(f, 500);
    client_threads_start(f, clients, "config.json");
    single_flights_await_callers(&f->resolver->queries, CLIENTS);
    client_threads_join(clients);

    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].result, 0);
        assert_string_equal(clients[i].file.commit_hash, commit);
        assert_file_content(&clients[i].file, "{\"v\": 2}");
        hc_file_clear(&clients[i].file);
    }
    assert_in_range(test_hub_count(f->hub, "HEAD", "/resolve/"), 1, 2);
    assert_int_equal(test_hub_count(f->hub, "GET", "config.json"), 1);
}

static void a_file_that_is_not_there_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    struct client_thread clients[CLIENTS];

    delay_answers(f, 500);
    client_threads_start(f, clients, "missing.txt");
    single_flights_await_callers(&f->resolver->hub->queries, CLIENTS);
    client_threads_join(clients);

    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].result, -1);
        assert_int_equal(clients[i].err.reason, HC_ENTRY_NOT_FOUND);
    }
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

static void an_old_ref_and_a_missing_file_cost_few_questions(void **state)
{
    struct fixture *f = *state;
    struct client_thread clients[CLIENTS];

    cache_all_files(f);
    test_hub_set_commit_on_404(f->hub, false);
    delay_answers(f, 500);
    client_threads_start(f, clients, "missing.txt");
    single_flights_await_callers(&f->resolver->queries, CLIENTS);
    client_threads_join(clients);

    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].err.reason, HC_ENTRY_NOT_FOUND);
    assert_in_range(test_hub_count(f->hub, NULL, NULL), 1, 2);
}

static void an_outage_is_waited_out_once_for_all(void **state)
{
    struct fixture *f = *state;
    struct client_thread clients[CLIENTS];
    int64_t start_ms;

    cache_all_files(f);
    f->settings.metadata_timeout_s = 1;
    resolver_fixture_reopen(f, false);
    delay_answers(f, 60000);
    start_ms = hc_monotonic_ms();
    client_threads_start(f, clients, NULL);
    single_flights_await_callers(&f->resolver->queries, CLIENTS);
    client_threads_join(clients);

    assert_true(hc_monotonic_ms() - start_ms < 5000);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].result, 0);
        assert_true(clients[i].file.stale);
        hc_file_clear(&clients[i].file);
    }
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

static void *client_thread_run_snapshot(void *ctx)
{
    struct client_thread *client_thread = ctx;
    const struct hc_snapshot_request request = {.repo = {.id = "org/model"}};
    struct hc_snapshot snapshot;

    client_thread->result = hc_resolve_snapshot(client_thread->f->resolver, &request,
                                                NULL, &snapshot, &client_thread->err);
    hc_snapshot_clear(&snapshot);
    return NULL;
}

static void a_cold_snapshot_is_named_and_listed_once(void **state)
{
    struct fixture *f = *state;
    struct client_thread clients[CLIENTS];

    delay_answers(f, 500);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client_thread){.f = f};
        assert_int_equal(pthread_create(&clients[i].thread, NULL,
                                        client_thread_run_snapshot, &clients[i]),
                         0);
    }
    single_flights_await_callers(&f->resolver->queries, CLIENTS);
    client_threads_join(clients);

    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(clients[i].result, 0);
    assert_int_equal(test_hub_count(f->hub, "GET", "/revision/"), 1);
    assert_int_equal(test_hub_count(f->hub, "GET", "/tree/"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_ref_too_old_for_many_files_costs_one_question),
        test(without_symlinks_every_caller_gets_the_file),
        test(an_answer_of_the_hub_is_on_disk_before_waiters_get_it),
        test(a_branch_that_moved_is_followed_by_all),
        test(a_file_that_is_not_there_is_asked_for_once),
        test(an_old_ref_and_a_missing_file_cost_few_questions),
        test(an_outage_is_waited_out_once_for_all),
        test(a_cold_snapshot_is_named_and_listed_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
