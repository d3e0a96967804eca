/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of several files: all are of one commit, the revision is resolved once, and
 * a missing file is listed when the request allows that, and an error when not.
 */
#include "resolver_fixture.h"

#include <string.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

static const char *const three[] = {"weights.bin", "nothing.json", "config.json"};
static const char *const two[] = {"weights.bin", "config.json"};

static int resolve_named_files(struct fixture *f, const char *const *names, size_t count,
                               bool lax, struct hc_files *answer)
{
    struct hc_files_request request = {.repo = {.id = "org/model"},
                                       .filenames = names,
                                       .filename_count = count,
                                       .allow_missing = lax};

    return hc_resolve_files(f->resolver, &request, NULL, answer, &f->err);
}

static void files_come_in_the_order_of_the_request(void **state)
{
    struct fixture *f = *state;
    struct hc_files answer;

    assert_int_equal(resolve_named_files(f, two, 2, false, &answer), 0);

    assert_int_equal(answer.count, 2);
    assert_string_equal(answer.items[0].filename, "weights.bin");
    assert_file_content(&answer.items[0], "0123456789abcdef");
    assert_string_equal(answer.items[1].filename, "config.json");
    assert_int_equal(answer.items[1].source, HC_SOURCE_HUB);
    assert_string_equal(answer.commit_hash, f->commit);
    assert_int_equal(test_hub_count(f->hub, NULL, "/revision/"), 1);
    assert_int_equal(test_hub_count(f->hub, "HEAD", NULL), 0);
    hc_files_clear(&answer);
}

static void a_missing_file_fails_the_call_unless_it_may_be_missing(void **state)
{
    struct fixture *f = *state;
    struct hc_files answer;

    assert_int_equal(resolve_named_files(f, three, 3, false, &answer), -1);
    assert_int_equal(f->err.reason, HC_ENTRY_NOT_FOUND);
    assert_non_null(strstr(f->err.message, "nothing.json"));

    assert_int_equal(resolve_named_files(f, three, 3, true, &answer), 0);
    assert_int_equal(answer.count, 2);
    assert_int_equal(answer.missing_count, 1);
    assert_string_equal(answer.missing[0], "nothing.json");
    hc_files_clear(&answer);
}

static void a_second_request_for_files_sends_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_files answer;

    assert_int_equal(resolve_named_files(f, three, 3, true, &answer), 0);
    hc_files_clear(&answer);
    test_hub_clear_log(f->hub);

    assert_int_equal(resolve_named_files(f, three, 3, true, &answer), 0);
    assert_int_equal(answer.items[0].source, HC_SOURCE_CACHE);
    assert_int_equal(answer.missing_count, 1);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);
    hc_files_clear(&answer);
}

static void offline_an_uncached_file_is_missing(void **state)
{
    struct fixture *f = *state;
    struct hc_files answer;
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    hc_file_clear(&file);
    resolver_fixture_reopen(f, true);

    assert_int_equal(resolve_named_files(f, two, 2, false, &answer), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_int_equal(resolve_named_files(f, two, 2, true, &answer), 0);
    assert_int_equal(answer.count, 1);
    assert_string_equal(answer.missing[0], "weights.bin");
    hc_files_clear(&answer);
}

static void an_outage_is_answered_from_the_cache(void **state)
{
    struct fixture *f = *state;
    struct hc_files answer;

    assert_int_equal(resolve_named_files(f, two, 2, false, &answer), 0);
    hc_files_clear(&answer);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_RESET});

    assert_int_equal(resolve_named_files(f, two, 2, false, &answer), 0);
    assert_int_equal(answer.count, 2);
    assert_true(answer.items[0].stale);
    assert_true(answer.items[1].stale);
    hc_files_clear(&answer);
}

static void no_names_and_bad_names_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"config.json", "/etc/passwd"};
    struct hc_files answer;

    assert_int_equal(resolve_named_files(f, two, 0, false, &answer), -1);
    assert_int_equal(f->err.reason, HC_INVALID_FILENAME);
    assert_int_equal(resolve_named_files(f, bad, 2, true, &answer), -1);
    assert_int_equal(f->err.reason, HC_INVALID_FILENAME);
    assert_string_equal(f->err.field, "filenames");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(files_come_in_the_order_of_the_request),
        test(a_missing_file_fails_the_call_unless_it_may_be_missing),
        test(a_second_request_for_files_sends_nothing),
        test(offline_an_uncached_file_is_missing),
        test(an_outage_is_answered_from_the_cache),
        test(no_names_and_bad_names_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
