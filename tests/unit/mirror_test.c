/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise of mirrors: they are asked when the Hub cannot be reached, or throttles its
 * callers, and only then; a file is missing when the first endpoint that answers says so;
 * and the token stays with the Hub.
 */
#include "hub_fixture.h"

#include <base/error.h>

#include <stdio.h>
#include <string.h>

/* The fixture's server is the Hub; a second one has the same repo. */
struct mirrored {
    struct fixture f;
    struct test_hub *mirror;
};

static struct hc_hub *mirror_open_hub(const char *url, const char *mirror,
                                      struct hc_error *err)
{
    struct hc_settings settings = {.endpoint = strdup(url),
                                   .metadata_timeout_s = 2,
                                   .download_timeout_s = 2,
                                   .retries = 3,
                                   .retry_base_ms = 1};
    struct hc_hub *hub;

    assert_int_equal(hc_settings_add_mirror(&settings, mirror, err), 0);
    hub = hc_hub_open(&settings, err);
    hc_settings_clear(&settings);
    return hub;
}

static void mirror_fill_hubs(struct test_hub *server, char commit[41])
{
    test_hub_add(server, "config.json", "{}", 2, false);
    test_hub_add(server, "model.bin", "0123456789", 10, true);
    test_hub_add(server, "third.txt", "3", 1, false);
    test_hub_commit(server, "models/org/m", "main", commit);
}

static int mirror_set_up(void **state)
{
    const struct test_hub_options options = {.valid_token = good_token, .page_size = 2};
    struct mirrored *m = calloc(1, sizeof *m);
    char commit[41];

    assert_non_null(m);
    m->f.server = test_hub_start(&options);
    m->mirror = test_hub_start(&options);
    mirror_fill_hubs(m->f.server, m->f.commit);
    mirror_fill_hubs(m->mirror, commit);
    assert_string_equal(m->f.commit, commit);
    m->f.hub = mirror_open_hub(test_hub_endpoint(m->f.server),
                               test_hub_endpoint(m->mirror), &m->f.err);
    assert_non_null(m->f.hub);
    assert_int_equal(hc_repo_init(&m->f.repo, HC_REPO_MODEL, "org/m", &m->f.err), 0);
    *state = m;
    return 0;
}

static int mirror_tear_down(void **state)
{
    struct mirrored *m = *state;

    hc_hub_close(m->f.hub);
    test_hub_stop(m->f.server);
    test_hub_stop(m->mirror);
    free(m);
    return 0;
}

static void mirror_break_hub(struct mirrored *m)
{
    hub_fixture_add_rule(&m->f, (struct test_hub_rule){.fault = TEST_HUB_CLOSE});
}

struct sink {
    char bytes[16];
    size_t used;
};

static int mirror_sink_write(void *ctx, const void *bytes, size_t count,
                             struct hc_error *err)
{
    struct sink *sink = ctx;

    if (count > sizeof sink->bytes - sink->used)
        return hc_fail(err, HC_NO_SPACE, "sink is full");
    memcpy(sink->bytes + sink->used, bytes, count);
    sink->used += count;
    return 0;
}

static int mirror_get(struct mirrored *m, const char *path, const char *location,
                      struct sink *sink)
{
    const struct hc_hub_download download = {
        .request =
            &(const struct hc_blob_request){.file = {&m->f.repo, m->f.commit, path}},
        .location = location,
        .size = strcmp(path, "config.json") ? 10 : 2,
        .write = mirror_sink_write,
        .ctx = sink};

    *sink = (struct sink){0};
    return hc_hub_get(m->f.hub, &download, &m->f.credentials, &m->f.err);
}

static void a_hub_that_answers_is_the_only_one_asked(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;
    struct sink sink;

    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), 0);
    assert_int_equal(mirror_get(m, "model.bin", NULL, &sink), 0);
    assert_int_equal(hub_fixture_head_file(&m->f, "missing", &metadata), -1);
    assert_int_equal(m->f.err.reason, HC_ENTRY_NOT_FOUND);
    assert_int_equal(test_hub_count(m->mirror, NULL, NULL), 0);
}

static void every_question_finds_the_mirror(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;
    struct hc_revision revision;
    HC_AUTO(hc_tree) *tree = NULL;
    struct sink sink;

    mirror_break_hub(m);
    assert_int_equal(hc_hub_revision(m->f.hub, &m->f.repo, "main", &m->f.credentials,
                                     &revision, &m->f.err),
                     0);
    assert_string_equal(revision.commit, m->f.commit);
    assert_true(revision.is_of_mirror);
    tree = hc_hub_tree(m->f.hub, &m->f.repo, m->f.commit, &m->f.credentials, &m->f.err);
    assert_non_null(tree);
    assert_int_equal(tree->count, 3);
    assert_true(tree->is_of_mirror);
    assert_int_equal(mirror_get(m, "model.bin", NULL, &sink), 0);
    assert_memory_equal(sink.bytes, "0123456789", 10);

    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), 0);
    assert_true(metadata.is_of_mirror);
    assert_ptr_equal(strstr(metadata.location, test_hub_endpoint(m->mirror)),
                     metadata.location);
    assert_int_equal(mirror_get(m, "config.json", metadata.location, &sink), 0);
    assert_memory_equal(sink.bytes, "{}", 2);
}

static void missing_is_the_answer_of_the_first_that_answers(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;

    mirror_break_hub(m);
    assert_int_equal(hub_fixture_head_file(&m->f, "missing", &metadata), -1);
    assert_int_equal(m->f.err.reason, HC_ENTRY_NOT_FOUND);
    assert_string_equal(metadata.commit, m->f.commit);
}

static void when_no_endpoint_answers_the_hub_is_what_is_unreachable(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;

    mirror_break_hub(m);
    test_hub_rule(m->mirror, &(struct test_hub_rule){.fault = TEST_HUB_CLOSE});
    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), -1);
    assert_int_equal(m->f.err.reason, HC_HUB_UNREACHABLE);
    assert_non_null(strstr(m->f.err.message, test_hub_endpoint(m->f.server)));
    assert_true(m->f.err.retry_after_ms > 0);
}

static void before_a_mirror_there_is_one_retry(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;

    mirror_break_hub(m);
    assert_int_equal(hub_fixture_head_file(&m->f, "model.bin", &metadata), 0);
    assert_int_equal(test_hub_count(m->f.server, NULL, NULL), 2);
}

static void a_hub_that_is_down_is_asked_last(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;

    mirror_break_hub(m);
    for (int i = 0; i < 2; i++)
        assert_int_equal(hub_fixture_head_file(&m->f, "model.bin", &metadata), 0);
    test_hub_clear_log(m->f.server);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hub_fixture_head_file(&m->f, "model.bin", &metadata), 0);
    assert_int_equal(test_hub_count(m->f.server, NULL, NULL), 0);

    test_hub_clear_rules(m->f.server);
    test_hub_rule(m->mirror, &(struct test_hub_rule){.fault = TEST_HUB_CLOSE});
    assert_int_equal(hub_fixture_head_file(&m->f, "model.bin", &metadata), 0);
    assert_int_not_equal(test_hub_count(m->f.server, NULL, NULL), 0);
}

/* Answers every question with that status, and wants to be left alone. */
static void mirror_throttle_hub(struct test_hub *server, uint64_t status,
                                unsigned retry_after_s)
{
    test_hub_clear_rules(server);
    test_hub_rule(server, &(struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                  .number = status,
                                                  .retry_after_s = retry_after_s});
}

static void no_caller_waits_for_a_hub_while_there_is_a_mirror(void **state)
{
    static const uint64_t statuses[] = {429, 503};
    struct mirrored *m = *state;

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        HC_AUTO(hc_hub) *hub = mirror_open_hub(test_hub_endpoint(m->f.server),
                                               test_hub_endpoint(m->mirror), &m->f.err);
        int64_t start_ms = hc_monotonic_ms();
        struct hc_revision revision;

        test_hub_clear_log(m->f.server);
        mirror_throttle_hub(m->f.server, statuses[i], 20);
        for (int times = 0; times < 3; times++)
            assert_int_equal(hc_hub_revision(hub, &m->f.repo, "main", &m->f.credentials,
                                             &revision, &m->f.err),
                             0);
        assert_true(hc_monotonic_ms() - start_ms < 10000);
        assert_int_equal(test_hub_count(m->f.server, NULL, NULL), 1);
    }
}

static void a_file_is_not_waited_for_where_it_was_located(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;
    struct sink sink;
    int64_t start_ms = hc_monotonic_ms();

    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), 0);
    mirror_throttle_hub(m->f.server, 429, 20);
    for (int times = 0; times < 2; times++)
        assert_int_equal(mirror_get(m, "config.json", metadata.location, &sink), 0);
    assert_memory_equal(sink.bytes, "{}", 2);
    assert_true(hc_monotonic_ms() - start_ms < 10000);
}

/* The one that comes back first, if they all do. */
static void when_no_mirror_helps_the_hub_is_waited_for(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;
    int64_t start_ms = hc_monotonic_ms();

    hub_fixture_add_rule(&m->f, (struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                       .times = 1,
                                                       .number = 429,
                                                       .retry_after_s = 1});
    mirror_throttle_hub(m->mirror, 503, 40);
    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), 0);
    assert_in_range(hc_monotonic_ms() - start_ms, 1000, 10000);
    assert_int_equal(test_hub_count(m->mirror, NULL, NULL), 1);

    mirror_throttle_hub(m->f.server, 429, 31);
    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), -1);
    assert_int_equal(m->f.err.reason, HC_HUB_RATE_LIMITED);
    assert_in_range(m->f.err.retry_after_ms, 30000, 31000);
}

static void the_token_is_not_for_mirrors(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;
    struct sink sink;

    m->f.credentials.token = good_token;
    mirror_break_hub(m);
    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), 0);
    assert_int_equal(mirror_get(m, "config.json", metadata.location, &sink), 0);
    assert_int_equal(mirror_get(m, "model.bin", NULL, &sink), 0);
    assert_int_not_equal(test_hub_count(m->mirror, NULL, NULL), 0);
    assert_int_equal(test_hub_count_authorized(m->mirror, false), 0);
    assert_int_not_equal(test_hub_count_authorized(m->f.server, false), 0);
}

/* Nor does a mirror get it to the Hub by sending us there. */
static void a_mirror_cannot_make_us_show_the_token_to_the_hub(void **state)
{
    struct mirrored *m = *state;
    char target[256];
    struct sink sink;

    (void)snprintf(target, sizeof target, "%s/org/m/resolve/main/model.bin",
                   test_hub_endpoint(m->f.server));
    m->f.credentials.token = good_token;
    hub_fixture_add_rule(&m->f,
                         (struct test_hub_rule){.fault = TEST_HUB_CLOSE, .times = 1});
    test_hub_rule(m->mirror,
                  &(struct test_hub_rule){.fault = TEST_HUB_REDIRECT, .text = target});
    assert_int_equal(mirror_get(m, "model.bin", NULL, &sink), 0);
    assert_int_equal(test_hub_count_authorized(m->f.server, false), 1);
}

/* With a token and without: a mirror may lack what the Hub has. */
static void a_mirrors_refusal_says_nothing(void **state)
{
    static const struct test_hub_rule refusals[] = {
        {.fault = TEST_HUB_STATUS, .number = 401},
        {.fault = TEST_HUB_STATUS, .number = 403, .error_code = "GatedRepo"},
        {.fault = TEST_HUB_STATUS, .number = 403, .text = "This repo is disabled"},
        {.fault = TEST_HUB_STATUS, .number = 404, .error_code = "RepoNotFound"},
        {.fault = TEST_HUB_STATUS, .number = 404, .error_code = "RevisionNotFound"},
        {.fault = TEST_HUB_STATUS, .number = 404},
        {.fault = TEST_HUB_HEADER, .name = "X-Repo-Commit"},
    };
    const char *const tokens[] = {good_token, NULL};
    struct mirrored *m = *state;
    struct hc_metadata metadata;

    mirror_break_hub(m);
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        test_hub_clear_rules(m->mirror);
        test_hub_rule(m->mirror, &refusals[i]);
        for (size_t t = 0; t < 2; t++) {
            m->f.credentials.token = tokens[t];
            assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), -1);
            assert_int_equal(m->f.err.reason, HC_HUB_UNREACHABLE);
        }
    }
}

/* The Hub has said that the file is there. */
static void bytes_that_a_mirror_lacks_are_not_missing(void **state)
{
    struct mirrored *m = *state;
    struct sink sink;

    mirror_break_hub(m);
    assert_int_equal(mirror_get(m, "missing", NULL, &sink), -1);
    assert_int_equal(m->f.err.reason, HC_HUB_UNREACHABLE);
}

/* It would be no proof of the bytes that the same mirror sends. */
static void an_etag_of_a_mirror_that_is_no_hash_is_of_no_use(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;

    mirror_break_hub(m);
    test_hub_rule(m->mirror, &(struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                                     .name = "X-Linked-Etag",
                                                     .text = "\"v1-5\""});
    assert_int_equal(hub_fixture_head_file(&m->f, "model.bin", &metadata), -1);
    assert_int_equal(m->f.err.reason, HC_HUB_UNREACHABLE);
}

static void a_caller_for_whom_only_the_hub_counts_asks_no_mirror(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;
    struct hc_revision revision;
    struct sink sink;

    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), 0);
    assert_false(metadata.is_of_mirror);
    mirror_break_hub(m);
    m->f.credentials.hub_only = true;
    assert_int_equal(hc_hub_revision(m->f.hub, &m->f.repo, "main", &m->f.credentials,
                                     &revision, &m->f.err),
                     -1);
    assert_int_equal(m->f.err.reason, HC_HUB_UNREACHABLE);
    assert_null(
        hc_hub_tree(m->f.hub, &m->f.repo, m->f.commit, &m->f.credentials, &m->f.err));
    assert_int_equal(mirror_get(m, "model.bin", NULL, &sink), -1);
    assert_int_equal(mirror_get(m, "config.json", metadata.location, &sink), -1);
    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), -1);
    assert_int_equal(test_hub_count(m->mirror, NULL, NULL), 0);
}

static void a_listing_is_all_of_one_endpoint(void **state)
{
    struct mirrored *m = *state;
    HC_AUTO(hc_tree) *tree = NULL;

    hub_fixture_add_rule(&m->f,
                         (struct test_hub_rule){.fault = TEST_HUB_CLOSE, .skip = 1});
    tree = hc_hub_tree(m->f.hub, &m->f.repo, m->f.commit, &m->f.credentials, &m->f.err);
    assert_non_null(tree);
    assert_int_equal(tree->count, 3);
    assert_int_equal(test_hub_count(m->mirror, "GET", "/tree/"), 2);
}

/* A mirror that passes the Hub's Link headers on: they name the Hub. */
static void pages_of_a_mirror_stay_on_the_mirror(void **state)
{
    struct mirrored *m = *state;
    HC_AUTO(hc_tree) *tree = NULL;
    char link[256];

    (void)snprintf(link, sizeof link,
                   "<%s/api/models/org/m/tree/%s?recursive=true&limit=2&cursor=2>; "
                   "rel=\"next\"",
                   test_hub_endpoint(m->f.server), m->f.commit);
    test_hub_rule(m->mirror, &(struct test_hub_rule){.contains = "/tree/",
                                                     .times = 1,
                                                     .fault = TEST_HUB_HEADER,
                                                     .name = "Link",
                                                     .text = link});
    mirror_break_hub(m);
    m->f.credentials.token = good_token;
    tree = hc_hub_tree(m->f.hub, &m->f.repo, m->f.commit, &m->f.credentials, &m->f.err);
    if (!tree)
        fail_msg("%s", m->f.err.message);
    assert_int_equal(tree->count, 3);
    assert_int_equal(test_hub_count(m->mirror, "GET", "/tree/"), 2);
    assert_int_equal(test_hub_count(m->f.server, "GET", "cursor=2"), 0);
    assert_int_equal(test_hub_count_authorized(m->mirror, false), 0);
}

static void a_file_located_on_a_hub_that_went_is_found_on_the_mirror(void **state)
{
    struct mirrored *m = *state;
    struct hc_metadata metadata;
    struct sink sink;

    assert_int_equal(hub_fixture_head_file(&m->f, "config.json", &metadata), 0);
    mirror_break_hub(m);
    assert_int_equal(mirror_get(m, "config.json", metadata.location, &sink), 0);
    assert_memory_equal(sink.bytes, "{}", 2);
}

static void bytes_of_two_endpoints_are_not_mixed(void **state)
{
    struct mirrored *m = *state;
    struct sink sink;

    test_hub_rule(m->f.server, &(struct test_hub_rule){.on_cdn = true,
                                                       .fault = TEST_HUB_CUT,
                                                       .number = 4});
    assert_int_equal(mirror_get(m, "model.bin", NULL, &sink), -1);
    assert_int_equal(m->f.err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(sink.used, 4);
    assert_int_equal(test_hub_count(m->mirror, NULL, NULL), 0);
}

static void a_mirror_that_is_no_url_is_refused(void **state)
{
    struct mirrored *m = *state;

    assert_null(
        mirror_open_hub(test_hub_endpoint(m->f.server), "ftp://mirror", &m->f.err));
    assert_int_equal(m->f.err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(m->f.err.field, "mirrors");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, mirror_set_up, mirror_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_hub_that_answers_is_the_only_one_asked),
        TEST(every_question_finds_the_mirror),
        TEST(missing_is_the_answer_of_the_first_that_answers),
        TEST(when_no_endpoint_answers_the_hub_is_what_is_unreachable),
        TEST(before_a_mirror_there_is_one_retry),
        TEST(a_hub_that_is_down_is_asked_last),
        TEST(no_caller_waits_for_a_hub_while_there_is_a_mirror),
        TEST(a_file_is_not_waited_for_where_it_was_located),
        TEST(when_no_mirror_helps_the_hub_is_waited_for),
        TEST(the_token_is_not_for_mirrors),
        TEST(a_mirror_cannot_make_us_show_the_token_to_the_hub),
        TEST(a_mirrors_refusal_says_nothing),
        TEST(bytes_that_a_mirror_lacks_are_not_missing),
        TEST(an_etag_of_a_mirror_that_is_no_hash_is_of_no_use),
        TEST(a_caller_for_whom_only_the_hub_counts_asks_no_mirror),
        TEST(a_listing_is_all_of_one_endpoint),
        TEST(pages_of_a_mirror_stay_on_the_mirror),
        TEST(a_file_located_on_a_hub_that_went_is_found_on_the_mirror),
        TEST(bytes_of_two_endpoints_are_not_mixed),
        TEST(a_mirror_that_is_no_url_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
