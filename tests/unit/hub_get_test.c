/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a download gives the bytes that were asked for, in order, or says why not;
 * the token stays with the Hub, and silence does not last for ever.
 */
#include "hub_fixture.h"

#include <base/error.h>

#include <pthread.h>
#include <string.h>

/* ---- bytes ------------------------------------------------------------------------- */

struct sink {
    char bytes[64];
    size_t used;
    size_t enough;   /* bytes; 0: it takes all that comes */
    bool tells_late; /* that it has: when it is asked, not when it gets the bytes */
    unsigned restarts;
};

static bool get_sink_has_enough(const struct sink *sink)
{
    return sink->enough > 0 && sink->used >= sink->enough;
}

static int get_sink_write(void *ctx, const void *bytes, size_t count,
                          struct hc_error *err)
{
    struct sink *sink = ctx;

    if (count > sizeof sink->bytes - sink->used)
        return hc_fail(err, HC_NO_SPACE, "sink is full");
    memcpy(sink->bytes + sink->used, bytes, count);
    sink->used += count;
    return get_sink_has_enough(sink) && !sink->tells_late ? 1 : 0;
}

static bool get_sink_watch(void *ctx, int64_t waited_ms)
{
    const struct sink *sink = ctx;

    (void)waited_ms;
    return sink->tells_late && get_sink_has_enough(sink);
}

static int get_sink_restart(void *ctx, struct hc_error *err)
{
    struct sink *sink = ctx;

    (void)err;
    sink->used = 0;
    sink->restarts++;
    return 0;
}

/* One attempt at model.bin, from where the sink is. */
static int get_file(struct fixture *f, struct sink *sink, const char *location)
{
    const struct hc_hub_download download = {
        .request =
            &(const struct hc_blob_request){.file = {&f->repo, f->commit, "model.bin"}},
        .location = location,
        .offset = sink->used,
        .size = 10,
        .restart = get_sink_restart,
        .write = get_sink_write,
        .watch = get_sink_watch,
        .ctx = sink};

    return hc_hub_get(f->hub, &download, &f->credentials, &f->err);
}

static void bytes_of_another_commit_are_a_bad_reply(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};

    hub_fixture_add_rule(
        f, (struct test_hub_rule){.fault = TEST_HUB_HEADER,
                                  .name = "X-Repo-Commit",
                                  .text = "ffffffffffffffffffffffffffffffffffffffff"});
    assert_int_equal(get_file(f, &sink, NULL), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(sink.used, 0);
}

static void the_token_goes_to_the_hub_and_not_to_the_storage(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};

    f->credentials.token = good_token;
    test_hub_set_access(f->server, "models/org/m", TEST_HUB_PRIVATE);
    assert_int_equal(get_file(f, &sink, NULL), 0);

    assert_memory_equal(sink.bytes, "0123456789", 10);
    assert_int_equal(test_hub_count_authorized(f->server, false), 1);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
    assert_int_equal(test_hub_count_authorized(f->server, true), 0);
}

static void what_the_storage_tells_one_caller_holds_back_all(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};
    int64_t start_ms;

    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .times = 1,
                                                   .fault = TEST_HUB_STATUS,
                                                   .number = 503,
                                                   .retry_after_s = 1});
    assert_int_equal(get_file(f, &sink, NULL), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    start_ms = hc_monotonic_ms();
    assert_int_equal(get_file(f, &sink, NULL), 0); /* by another caller */
    assert_true(hc_monotonic_ms() - start_ms >= 900);
    assert_memory_equal(sink.bytes, "0123456789", 10);
}

static void a_token_with_a_line_break_is_not_sent(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};

    f->credentials.token = "hf_a\r\nX-Evil: 1";
    assert_int_equal(get_file(f, &sink, NULL), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNAUTHORIZED);
    assert_null(strstr(f->err.message, "hf_a"));
    assert_int_equal(test_hub_count(f->server, NULL, NULL), 0);
}

static void a_cut_download_goes_on_where_it_was(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};

    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .times = 1,
                                                   .fault = TEST_HUB_CUT,
                                                   .number = 4});
    assert_int_equal(get_file(f, &sink, NULL), -1);
    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_int_equal(sink.used, 4);

    assert_int_equal(get_file(f, &sink, NULL), 0);
    assert_memory_equal(sink.bytes, "0123456789", 10);
    assert_int_equal(sink.restarts, 0);
    hub_fixture_expect_log(f, "range=bytes=4-", true);
}

static void a_part_of_a_huge_file_is_asked_for_by_all_its_digits(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};
    const uint64_t size = 100000000000;
    const struct hc_hub_download download = {
        .request =
            &(const struct hc_blob_request){.file = {&f->repo, f->commit, "model.bin"}},
        .offset = size - 20,
        .until = size - 10,
        .size = size,
        .restart = get_sink_restart,
        .write = get_sink_write,
        .ctx = &sink};

    assert_int_equal(hc_hub_get(f->hub, &download, &f->credentials, &f->err),
                     -1); /* 416 */
    hub_fixture_expect_log(f, "range=bytes=99999999980-99999999989", true);
}

static void a_server_without_ranges_starts_over(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {.used = 4};

    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .fault = TEST_HUB_NO_RANGE});
    assert_int_equal(get_file(f, &sink, NULL), 0);
    assert_int_equal(sink.restarts, 1);
    assert_memory_equal(sink.bytes, "0123456789", 10);
}

/* A header of the storage's answers becomes `text`; NULL: it is left out. */
static void get_set_header(struct fixture *f, const char *name, const char *text)
{
    test_hub_clear_rules(f->server);
    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .fault = TEST_HUB_HEADER,
                                                   .name = name,
                                                   .text = text});
}

static void another_range_than_asked_for_is_a_bad_reply(void **state)
{
    static const char *const ranges[] = {"bytes 3-9/10", "bytes 5-9/10", "bytes 4-10/*",
                                         "bytes 4-9/11", "bytes 4-8/10", "bytes 4-10/11",
                                         "bytes */10",   "bytes 4-"};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        struct sink sink = {.used = 4};

        get_set_header(f, "Content-Range", ranges[i]);
        assert_int_equal(get_file(f, &sink, NULL), -1);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_int_equal(sink.used, 4); /* not a byte of it was taken */
    }
}

static void a_part_of_a_file_of_unknown_length_is_taken(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {.bytes = "0123", .used = 4};

    get_set_header(f, "Content-Range", "bytes 4-9/*");
    assert_int_equal(get_file(f, &sink, NULL), 0);
    assert_memory_equal(sink.bytes, "0123456789", 10);
    assert_int_equal(sink.restarts, 0);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 1);
}

static void a_part_that_does_not_say_which_it_is_is_asked_for_as_a_whole(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {.used = 4};

    get_set_header(f, "Content-Range", NULL);
    assert_int_equal(get_file(f, &sink, NULL), 0);
    assert_memory_equal(sink.bytes, "0123456789", 10);
    assert_int_equal(sink.restarts, 1);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 2);
    hub_fixture_expect_log(f, "range=-", true);
}

/* The whole file's, and that of a part. */
static void a_length_that_contradicts_is_refused_before_a_byte_is_taken(void **state)
{
    static const struct {
        size_t used;
        const char *length;
    } rows[] = {{0, "9"}, {0, "11"}, {0, "0"}, {4, "5"}, {4, "7"}, {4, "10"}, {4, "0"}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sink sink = {.used = rows[i].used};

        get_set_header(f, "Content-Length", rows[i].length);
        assert_int_equal(get_file(f, &sink, NULL), -1);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_int_equal(sink.used, rows[i].used);
        assert_int_equal(sink.restarts, 0);
    }
}

static void the_page_of_a_captive_portal_is_no_file(void **state)
{
    static const size_t used[] = {0, 4};
    struct fixture *f = *state;

    hub_fixture_add_rule(f,
                         (struct test_hub_rule){.on_cdn = true,
                                                .fault = TEST_HUB_BODY,
                                                .text = "<html>Please sign in</html>"});
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) {
        struct sink sink = {.used = used[i]};

        assert_int_equal(get_file(f, &sink, NULL), -1);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_int_equal(sink.used, used[i]);
        assert_int_equal(sink.restarts, 0);
    }
}

static void a_storage_that_refuses_says_nothing_about_the_repo(void **state)
{
    static const long statuses[] = {401, 403, 404, 410};
    struct fixture *f = *state;
    struct hc_metadata metadata;

    assert_int_equal(hub_fixture_head_file(f, "model.bin", &metadata), 0);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct sink sink = {0};

        test_hub_clear_rules(f->server);
        hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                       .fault = TEST_HUB_STATUS,
                                                       .number = (uint64_t)statuses[i],
                                                       .text = "AccessDenied"});
        assert_int_equal(get_file(f, &sink, metadata.location), -1);
        assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
        assert_null(strstr(f->err.message, "Signature")); /* nor anything of the query */
        assert_null(strchr(f->err.message, '?'));
    }
}

static void a_storage_in_trouble_is_named(void **state)
{
    static const struct {
        enum test_hub_fault fault;
        uint64_t number;
    } rows[] = {{TEST_HUB_STATUS, 503},
                {TEST_HUB_STATUS, 429},
                {TEST_HUB_STATUS, 403},
                {TEST_HUB_CLOSE, 0}};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sink sink = {0};

        test_hub_clear_rules(f->server);
        hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                       .fault = rows[i].fault,
                                                       .number = rows[i].number});
        assert_int_equal(get_file(f, &sink, NULL), -1);
        assert_non_null(strstr(f->err.message, test_hub_cdn(f->server)));
        assert_null(strstr(f->err.message, test_hub_endpoint(f->server)));
        assert_null(strstr(f->err.message, "the Hub"));
        assert_null(strstr(f->err.message, "token"));
    }
}

static void a_sink_that_fails_ends_the_download_with_its_error(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {.used = 0};

    sink.used = sizeof sink.bytes - 5;
    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .fault = TEST_HUB_NO_RANGE});
    {
        const struct hc_hub_download download = {.request =
                                                     &(const struct hc_blob_request){
                                                         .file = {&f->repo, f->commit,
                                                                  "model.bin"}},
                                                 .size = 10,
                                                 .write = get_sink_write,
                                                 .ctx = &sink};

        assert_int_equal(hc_hub_get(f->hub, &download, &f->credentials, &f->err), -1);
    }
    assert_int_equal(f->err.reason, HC_NO_SPACE);
}

static void silence_counts_as_unreachable(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};

    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .times = 1,
                                                   .fault = TEST_HUB_STALL,
                                                   .number = 3});
    assert_int_equal(get_file(f, &sink, NULL), -1);
    test_hub_release(f->server);

    assert_int_equal(f->err.reason, HC_HUB_UNREACHABLE);
    assert_non_null(strstr(f->err.message, "no byte came for 1 s"));
    assert_int_equal(sink.used, 3);
}

/* Nor does it count as a failure of the storage: three in a row would open its
 * circuit. */
static void a_receiver_that_has_enough_ends_the_download_without_a_failure(void **state)
{
    struct fixture *f = *state;
    struct sink rest = {0};

    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .times = 6,
                                                   .fault = TEST_HUB_STALL,
                                                   .number = 5});
    for (int i = 0; i < 6; i++) {
        struct sink sink = {.enough = 5, .tells_late = i % 2 > 0};

        assert_int_equal(get_file(f, &sink, NULL), 0);
        assert_int_equal(sink.used, 5);
    }
    test_hub_release(f->server);
    assert_int_equal(test_hub_count_cdn(f->server, "GET"), 6);
    assert_int_equal(get_file(f, &rest, NULL), 0);
    assert_memory_equal(rest.bytes, "0123456789", 10);
}

static void a_deadline_ends_a_silent_answer(void **state)
{
    struct fixture *f = *state;
    struct sink sink = {0};

    f->credentials.cancellation = hc_cancellation_new(hc_monotonic_ms() + 100);
    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .fault = TEST_HUB_STALL,
                                                   .number = 3});
    assert_int_equal(get_file(f, &sink, NULL), -1);
    hc_cancellation_free(f->credentials.cancellation);
    test_hub_release(f->server);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
}

/* ---- leaving ----------------------------------------------------------------------- */

/* A question on a thread of its own. */
struct leaver {
    struct fixture *f;
    int result;
};

static void *get_file_thread(void *ctx)
{
    struct leaver *leaver = ctx;
    struct sink sink = {0};

    leaver->result = get_file(leaver->f, &sink, NULL);
    return NULL;
}

static void *get_head_thread(void *ctx)
{
    struct leaver *leaver = ctx;
    struct hc_metadata metadata;

    leaver->result = hub_fixture_head_file(leaver->f, "config.json", &metadata);
    return NULL;
}

enum { LONG_MS = 300, SOON_MS = 400 };

/* How long the thread goes on after its caller left, when it had been silent for long:
 * while bytes and curl's own timers come, curl is awake anyway. */
static int64_t get_leave(struct leaver *leaver, pthread_t thread)
{
    int64_t start_ms;

    assert_int_equal(hc_cancellation_sleep(NULL, LONG_MS, &leaver->f->err), 0);
    start_ms = hc_monotonic_ms();
    hc_cancellation_cancel(leaver->f->credentials.cancellation);
    assert_int_equal(pthread_join(thread, NULL), 0);
    hc_cancellation_free(leaver->f->credentials.cancellation);
    assert_int_equal(leaver->result, -1);
    assert_int_equal(leaver->f->err.reason, HC_CANCELLED);
    return hc_monotonic_ms() - start_ms;
}

static void a_caller_that_leaves_in_mid_silence_is_gone_soon(void **state)
{
    struct fixture *f = *state;
    struct leaver leaver = {.f = f};
    pthread_t thread;

    f->credentials.cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    hub_fixture_add_rule(f, (struct test_hub_rule){.on_cdn = true,
                                                   .fault = TEST_HUB_STALL,
                                                   .number = 3});
    assert_int_equal(pthread_create(&thread, NULL, get_file_thread, &leaver), 0);
    test_hub_await_stall(f->server);
    assert_true(get_leave(&leaver, thread) < SOON_MS);
    test_hub_release(f->server);
}

static void a_caller_that_leaves_before_an_answer_is_gone_soon(void **state)
{
    struct fixture *f = *state;
    struct leaver leaver = {.f = f};
    pthread_t thread;

    f->credentials.cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    hub_fixture_add_rule(f, (struct test_hub_rule){.fault = TEST_HUB_DELAY,
                                                   .number = 60000});
    assert_int_equal(pthread_create(&thread, NULL, get_head_thread, &leaver), 0);
    test_hub_await(f->server, "HEAD", NULL, 1);
    assert_true(get_leave(&leaver, thread) < SOON_MS);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, hub_fixture_set_up, hub_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bytes_of_another_commit_are_a_bad_reply),
        TEST(the_token_goes_to_the_hub_and_not_to_the_storage),
        TEST(what_the_storage_tells_one_caller_holds_back_all),
        TEST(a_token_with_a_line_break_is_not_sent),
        TEST(a_cut_download_goes_on_where_it_was),
        TEST(a_part_of_a_huge_file_is_asked_for_by_all_its_digits),
        TEST(a_server_without_ranges_starts_over),
        TEST(another_range_than_asked_for_is_a_bad_reply),
        TEST(a_part_of_a_file_of_unknown_length_is_taken),
        TEST(a_part_that_does_not_say_which_it_is_is_asked_for_as_a_whole),
        TEST(a_length_that_contradicts_is_refused_before_a_byte_is_taken),
        TEST(the_page_of_a_captive_portal_is_no_file),
        TEST(a_storage_that_refuses_says_nothing_about_the_repo),
        TEST(a_storage_in_trouble_is_named),
        TEST(a_sink_that_fails_ends_the_download_with_its_error),
        TEST(silence_counts_as_unreachable),
        TEST(a_receiver_that_has_enough_ends_the_download_without_a_failure),
        TEST(a_deadline_ends_a_silent_answer),
        TEST(a_caller_that_leaves_in_mid_silence_is_gone_soon),
        TEST(a_caller_that_leaves_before_an_answer_is_gone_soon),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
