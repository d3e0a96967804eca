/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the last failures are kept, equal ones together and counted, the newest
 * first; the oldest give way; texts that are too long are cut between characters.
 */
#include "test.h"

#include <server/caller.h>
#include <server/recent_failures.h>

#include <stdio.h>
#include <string.h>

struct fixture {
    struct hc_recent_failures failures;
    struct hc_request request;
    struct hc_answer answer;
    struct hc_recent_failure items[HC_RECENT_FAILURES_MAX];
};

static int failures_set_up(void **state)
{
    static struct fixture f;

    f = (struct fixture){.request = {.method = "/hubcache.v1.Resolver/ResolveFile",
                                     .subject = {.repo_type = HC_REPO_MODEL,
                                                 .repo_id = "org/name",
                                                 .revision = "main"}},
                         .answer = {.code = HC_STATUS_NOT_FOUND,
                                    .reason = HC_ENTRY_NOT_FOUND,
                                    .message = "there is no such file"}};
    hc_recent_failures_init(&f.failures);
    *state = &f;
    return 0;
}

static int failures_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_recent_failures_clear(&f->failures);
    return 0;
}

static void fail_at(struct fixture *f, int64_t now_ms)
{
    hc_recent_failures_add(&f->failures, &f->request, &f->answer, now_ms);
}

static size_t copy_all(struct fixture *f)
{
    return hc_recent_failures_copy(&f->failures, f->items);
}

static void a_failure_has_its_request(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;
    HC_AUTO(hc_caller) *alice = hc_caller_new(HC_CALLER_TOKEN, "alice", NULL, 0, &err);

    assert_int_equal(copy_all(f), 0);
    f->request.identity = alice;
    fail_at(f, 1000);

    assert_int_equal(copy_all(f), 1);
    assert_int_equal(f->items[0].last_ms, 1000);
    assert_string_equal(f->items[0].method, "/hubcache.v1.Resolver/ResolveFile");
    assert_string_equal(f->items[0].repo_id, "org/name");
    assert_string_equal(f->items[0].revision, "main");
    assert_string_equal(f->items[0].caller, "alice");
    assert_string_equal(f->items[0].message, "there is no such file");
    assert_int_equal(f->items[0].reason, HC_ENTRY_NOT_FOUND);
}

static void equal_failures_are_counted_together(void **state)
{
    struct fixture *f = *state;

    fail_at(f, 1000);
    f->answer.message = "still none";
    fail_at(f, 2000);
    f->answer.reason = HC_BUSY;
    fail_at(f, 1500);

    assert_int_equal(copy_all(f), 2);
    assert_int_equal(f->items[0].count, 2);
    assert_int_equal(f->items[0].first_ms, 1000);
    assert_int_equal(f->items[0].last_ms, 2000);
    assert_string_equal(f->items[0].message, "still none");
    assert_int_equal(f->items[1].reason, HC_BUSY);
}

static void the_oldest_give_way(void **state)
{
    struct fixture *f = *state;

    for (int i = 0; i < HC_RECENT_FAILURES_MAX + 10; i++) {
        (void)snprintf(f->request.subject.repo_id, sizeof f->request.subject.repo_id,
                       "org/m%d", i);
        fail_at(f, 1000 + i);
    }
    assert_int_equal(copy_all(f), HC_RECENT_FAILURES_MAX);
    assert_string_equal(f->items[0].repo_id, "org/m73");
    assert_string_equal(f->items[HC_RECENT_FAILURES_MAX - 1].repo_id, "org/m10");
    assert_int_equal(f->items[0].count, 1);
}

static void a_long_message_is_cut_between_characters(void **state)
{
    struct fixture *f = *state;
    char message[700] = "";

    for (size_t i = 0; i + 3 < sizeof message; i += 3)
        memcpy(message + i, "模", 3);
    f->answer.message = message;
    fail_at(f, 1000);

    assert_int_equal(copy_all(f), 1);
    assert_int_equal(strlen(f->items[0].message), 510);
    assert_memory_equal(f->items[0].message, message, 510);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define WITH_FAILURES(test)                                                              \
    cmocka_unit_test_setup_teardown(test, failures_set_up, failures_tear_down)
        WITH_FAILURES(a_failure_has_its_request),
        WITH_FAILURES(equal_failures_are_counted_together),
        WITH_FAILURES(the_oldest_give_way),
        WITH_FAILURES(a_long_message_is_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
