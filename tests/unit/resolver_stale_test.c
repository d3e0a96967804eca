/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of an older answer: it replaces a newer one only when the Hub could not be
 * asked, only when it is whole, never over a refusal of the caller's own token, and with
 * its cause reported. A branch that was rewritten costs one question more.
 */
#include "resolver_fixture.h"

#include <base/auto.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define test(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, resolver_fixture_setup,                        \
                                    resolver_fixture_teardown)

static const char *const only_config[] = {"config.json"};
static const char *const two_files[] = {"config.json", "weights.bin"};

static struct hc_snapshot_request pattern_snapshot_request(const char *const *patterns,
                                                           size_t count)
{
    return (struct hc_snapshot_request){.repo = {.id = "org/model"},
                                        .allow_patterns = patterns,
                                        .allow_count = count};
}

static int resolve_pattern_snapshot(struct fixture *f,
                                    const struct hc_snapshot_request *request,
                                    struct hc_snapshot *answer)
{
    return hc_resolve_snapshot(f->resolver, request, NULL, answer, &f->err);
}

/* Resolves at main, for what that leaves in the cache. */
static void cache_named_file(struct fixture *f, const char *filename)
{
    struct hc_file file;

    assert_int_equal(fixture_resolve_file(f, "main", filename, &file), 0);
    hc_file_clear(&file);
}

static void cache_pattern_snapshot(struct fixture *f, const char *const *patterns,
                                   size_t count)
{
    const struct hc_snapshot_request request = pattern_snapshot_request(patterns, count);
    struct hc_snapshot answer;

    assert_int_equal(resolve_pattern_snapshot(f, &request, &answer), 0);
    hc_snapshot_clear(&answer);
}

static void serve_status(struct fixture *f, unsigned status, const char *contains)
{
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = contains,
                                                  .fault = TEST_HUB_STATUS,
                                                  .number = status});
}

/* ---- a branch that was rewritten --------------------------------------------------- */

/* main means another commit, and the hub no longer has the old one. */
static void rewrite_main_branch(struct fixture *f, char commit[41])
{
    resolver_fixture_move_main(f, commit);
    test_hub_rule(f->hub, &(struct test_hub_rule){.contains = f->commit,
                                                  .fault = TEST_HUB_STATUS,
                                                  .number = 404,
                                                  .error_code = "RevisionNotFound"});
    test_hub_clear_log(f->hub);
}

static void a_rewritten_branch_is_asked_about_once_more(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;
    char commit[41];

    cache_named_file(f, "README.md");
    test_hub_add(f->hub, "weights.bin", "0123456789abcdef", 16, true);
    rewrite_main_branch(f, commit);

    if (fixture_resolve_file(f, "main", "weights.bin", &file) < 0)
        fail_msg("%s", f->err.message);
    assert_string_equal(file.commit_hash, commit);
    assert_false(file.stale);
    hc_file_clear(&file);
    assert_int_equal(test_hub_count(f->hub, "HEAD", f->commit), 1);
    assert_int_equal(test_hub_count(f->hub, "HEAD", "/main/"), 1);
    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_string_equal(file.commit_hash, commit);
    hc_file_clear(&file);
}

static void
a_rewritten_branch_of_files_or_a_snapshot_is_asked_about_once_more(void **state)
{
    const struct hc_files_request request = {.repo = {.id = "org/model"},
                                             .filenames = only_config,
                                             .filename_count = 1};
    const struct hc_snapshot_request whole = pattern_snapshot_request(NULL, 0);
    struct fixture *f = *state;
    struct hc_snapshot answer;
    struct hc_files files;
    char commit[41];

    cache_named_file(f, "README.md");
    rewrite_main_branch(f, commit);
    if (hc_resolve_files(f->resolver, &request, NULL, &files, &f->err) < 0)
        fail_msg("%s", f->err.message);
    assert_string_equal(files.commit_hash, commit);
    hc_files_clear(&files);

    memcpy(f->commit, commit, sizeof commit);
    rewrite_main_branch(f, commit);
    if (resolve_pattern_snapshot(f, &whole, &answer) < 0)
        fail_msg("%s", f->err.message);
    assert_string_equal(answer.commit_hash, commit);
    hc_snapshot_clear(&answer);
}

/* The listing is cached, so the loss shows only when bytes are requested. */
static void bytes_of_a_lost_commit_are_fetched_at_the_new_one(void **state)
{
    const struct hc_snapshot_request whole = pattern_snapshot_request(NULL, 0);
    struct fixture *f = *state;
    struct hc_snapshot answer;
    char commit[41];

    cache_pattern_snapshot(f, only_config, 1);
    rewrite_main_branch(f, commit);
    if (resolve_pattern_snapshot(f, &whole, &answer) < 0)
        fail_msg("%s", f->err.message);
    assert_string_equal(answer.commit_hash, commit);
    assert_int_equal(answer.completeness, HC_COMPLETE);
    hc_snapshot_clear(&answer);
}

static void a_lost_commit_that_the_caller_names_is_lost(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;
    char commit[41];

    rewrite_main_branch(f, commit);
    assert_int_equal(fixture_resolve_file(f, f->commit, "weights.bin", &file), -1);
    assert_int_equal(f->err.reason, HC_REVISION_NOT_FOUND);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

static void a_branch_that_is_gone_is_asked_about_once(void **state)
{
    struct fixture *f = *state;
    struct hc_file file;

    cache_named_file(f, "config.json");
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_clear_log(f->hub);
    test_hub_rule(f->hub, &(struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                  .number = 404,
                                                  .error_code = "RevisionNotFound"});
    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), -1);
    assert_int_equal(f->err.reason, HC_REVISION_NOT_FOUND);
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 1);
}

/* ---- only what is whole ------------------------------------------------------------ */

static void a_listing_that_fails_is_no_snapshot_of_what_is_there(void **state)
{
    static const char *const none[] = {"no such file"};
    static const char *const places[] = {"/revision/", "/tree/"};
    const struct hc_snapshot_request requests[] = {pattern_snapshot_request(NULL, 0),
                                                   pattern_snapshot_request(only_config,
                                                                            1),
                                                   pattern_snapshot_request(none, 1)};
    struct fixture *f = *state;
    struct hc_snapshot answer;

    cache_named_file(f, "config.json");
    for (size_t place = 0; place < 2; place++) {
        test_hub_clear_rules(f->hub);
        serve_status(f, 503, places[place]);
        for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
            resolver_fixture_age_ref(f, "main", 61);
            assert_int_equal(resolve_pattern_snapshot(f, &requests[i], &answer), -1);
            assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
        }
    }
}

/* Not even offline: all that is known is that no file is there. */
static void an_unknown_snapshot_without_a_file_is_not_cached(void **state)
{
    static const char *const none[] = {"no such file"};
    const struct hc_snapshot_request nothing = pattern_snapshot_request(none, 1);
    const struct hc_snapshot_request config = pattern_snapshot_request(only_config, 1);
    struct fixture *f = *state;
    struct hc_snapshot answer;

    cache_named_file(f, "config.json");
    resolver_fixture_reopen(f, true);
    assert_int_equal(resolve_pattern_snapshot(f, &nothing, &answer), -1);
    assert_int_equal(f->err.reason, HC_NOT_CACHED);
    assert_int_equal(resolve_pattern_snapshot(f, &config, &answer), 0);
    assert_int_equal(answer.completeness, HC_UNKNOWN);
    hc_snapshot_clear(&answer);
}

/* ---- refusals ---------------------------------------------------------------------- */

/* Requests for a file, for files and for their snapshot have this result. */
static void expect_result_of_all_kinds(struct fixture *f, const char *own_token,
                                       int result)
{
    struct hc_fetch_options options = {.hub_token = own_token};
    struct hc_file_request file_request = {.repo = {.id = "org/model"},
                                           .filename = "config.json",
                                           .options = options};
    struct hc_files_request files_request = {.repo = {.id = "org/model"},
                                             .filenames = two_files,
                                             .filename_count = 2,
                                             .options = options};
    struct hc_snapshot_request snapshot_request = pattern_snapshot_request(two_files, 2);
    struct hc_snapshot answer;
    struct hc_files files;
    struct hc_file file;

    snapshot_request.options = options;
    assert_int_equal(hc_resolve_file(f->resolver, &file_request, NULL, &file, &f->err),
                     result);
    assert_int_equal(hc_resolve_files(f->resolver, &files_request, NULL, &files, &f->err),
                     result);
    assert_int_equal(resolve_pattern_snapshot(f, &snapshot_request, &answer), result);
    if (result < 0)
        return;
    assert_true(file.stale && files.items[0].stale && answer.stale);
    hc_file_clear(&file);
    hc_files_clear(&files);
    hc_snapshot_clear(&answer);
}

static void a_refusal_of_the_callers_own_token_is_final_for_all_kinds(void **state)
{
    static const struct test_hub_rule refusals[] = {
        {.fault = TEST_HUB_STATUS, .number = 401},
        {.fault = TEST_HUB_STATUS, .number = 403},
        {.fault = TEST_HUB_STATUS, .number = 403, .error_code = "GatedRepo"},
        {.fault = TEST_HUB_STATUS, .number = 403, .text = "Access is disabled."},
        {.fault = TEST_HUB_STATUS, .number = 404, .error_code = "RepoNotFound"},
    };
    struct fixture *f = *state;

    cache_pattern_snapshot(f, two_files, 2);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        resolver_fixture_age_ref(f, "main", 61);
        test_hub_clear_rules(f->hub);
        test_hub_rule(f->hub, &refusals[i]);
        expect_result_of_all_kinds(f, "hf_own", -1);
        assert_true(f->err.reason == HC_HUB_UNAUTHORIZED ||
                    f->err.reason == HC_GATED_REPO || f->err.reason == HC_REPO_DISABLED ||
                    f->err.reason == HC_REPO_NOT_FOUND);
        expect_result_of_all_kinds(
            f, NULL, 0); /* the reference's table: the server's own fell back */
    }
    test_hub_clear_rules(f->hub);
    serve_status(f, 503, NULL);
    expect_result_of_all_kinds(f, "hf_own", 0);
}

/* ---- the token file ---------------------------------------------------------------- */

static void a_lost_token_file_is_neither_a_refusal_nor_no_token(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *path = temp_dir_path(f->dir, "token");
    struct hc_file file;

    temp_dir_write(f->dir, "token", "hf_file");
    f->settings.token_file = strdup(path);
    resolver_fixture_reopen(f, false);
    cache_named_file(f, "config.json");
    assert_int_equal(unlink(path), 0);
    resolver_fixture_age_ref(f, "main", 61);
    test_hub_clear_log(f->hub);

    assert_int_equal(fixture_resolve_file(f, "main", "config.json", &file), 0);
    assert_true(file.stale);
    hc_file_clear(&file);
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), -1);
    assert_int_equal(f->err.reason, HC_INTERNAL);
    assert_non_null(strstr(f->err.message, path));
    assert_int_equal(test_hub_count(f->hub, NULL, NULL), 0);

    temp_dir_write(f->dir, "token", "hf_file");
    assert_int_equal(fixture_resolve_file(f, "main", "weights.bin", &file), 0);
    assert_false(file.stale);
    hc_file_clear(&file);
}

static void a_token_file_that_was_never_there_is_no_token(void **state)
{
    struct fixture *f = *state;

    f->settings.token_file = temp_dir_path(f->dir, "no such file");
    resolver_fixture_reopen(f, false);
    cache_named_file(f, "config.json");
    assert_int_equal(test_hub_count_authorized(f->hub, false), 0);
}

/* ---- the cause --------------------------------------------------------------------- */

struct stale_record {
    unsigned count;
    enum hc_reason reason;
};

static void record_stale(void *ctx, const struct hc_stale *stale)
{
    struct stale_record *stale_record = ctx;

    stale_record->count++;
    stale_record->reason = stale->reason;
    assert_string_equal(stale->repo_id, "org/model");
    assert_string_equal(stale->revision, "main");
    assert_true(strlen(stale->message) > 0);
}

static void every_stale_answer_is_reported_with_its_cause(void **state)
{
    static const struct {
        unsigned status;
        enum hc_reason reason;
    } rows[] = {{503, HC_HUB_UNREACHABLE},
                {401, HC_REPO_NOT_FOUND},
                {400, HC_BAD_HUB_REPLY}};
    struct fixture *f = *state;
    struct stale_record stale_record = {0};

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        test_hub_clear_rules(f->hub);
        resolver_fixture_reopen(f, false); /* forgets that the Hub was down */
        stale_record = (struct stale_record){0};
        hc_resolver_watch_stale(f->resolver, record_stale, &stale_record);
        cache_pattern_snapshot(f, two_files, 2);
        assert_int_equal(stale_record.count, 0);
        resolver_fixture_age_ref(f, "main", 61);
        serve_status(f, rows[i].status, NULL);
        expect_result_of_all_kinds(f, NULL, 0);
        assert_int_equal(stale_record.count, 3);
        assert_int_equal(stale_record.reason, rows[i].reason);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_rewritten_branch_is_asked_about_once_more),
        test(a_rewritten_branch_of_files_or_a_snapshot_is_asked_about_once_more),
        test(bytes_of_a_lost_commit_are_fetched_at_the_new_one),
        test(a_lost_commit_that_the_caller_names_is_lost),
        test(a_branch_that_is_gone_is_asked_about_once),
        test(a_listing_that_fails_is_no_snapshot_of_what_is_there),
        test(an_unknown_snapshot_without_a_file_is_not_cached),
        test(a_refusal_of_the_callers_own_token_is_final_for_all_kinds),
        test(a_lost_token_file_is_neither_a_refusal_nor_no_token),
        test(a_token_file_that_was_never_there_is_no_token),
        test(every_stale_answer_is_reported_with_its_cause),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
