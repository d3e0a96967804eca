/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: bad input is refused with a status, a reason and, if one is at fault, the
 * field. The Hub gets no request for it, and the server continues to serve.
 */
#include "service_fixture.h"

#include <base/auto.h>

#include <hubcache/error.h>
#include <string.h>

static struct rpc_call *ask_bytes(struct world *world, const char *path,
                                  const void *bytes, size_t size)
{
    struct rpc_call *call =
        rpc_call_start(world->client,
                       &(struct rpc_request){.path = path, .bytes = bytes, .size = size});

    (void)rpc_call_await(call);
    return call;
}

/* The Hub got no request, and the next call is answered. */
static void assert_unharmed(struct world *world)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call;

    assert_int_equal(test_hub_count(world->hub, NULL, NULL), 0);
    call = ask_file(world, &request);
    assert_answers_file(world, call, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    rpc_call_free(call);
}

static void assert_refused(struct rpc_call *call, const char *reason, const char *field)
{
    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_reason(call), reason);
    assert_string_equal(rpc_call_violation(call), field);
    assert_true(*rpc_call_error(call) != '\0');
    rpc_call_free(call);
}

static void invalid_repo_ids_are_refused(void **state)
{
    static const char *const ids[] = {"",         "org/../name", "a--b",     "a/b/c",
                                      "name.git", "-name",       "org/",     "/etc",
                                      "a b",      "..",          "org\\name"};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        Hubcache__V1__ResolveFileRequest request = file_request("config.json");

        memcpy(&request.repo_id, &ids[i], sizeof request.repo_id);
        assert_refused(ask_file(world, &request), "INVALID_REPO_ID", "repo_id");
    }
    assert_unharmed(world);
}

static void file_names_that_could_escape_are_refused(void **state)
{
    static const char *const names[] = {"",     "/etc/passwd", "../x", "a/../../x",
                                        "a/..", "C:\\x",       "..\\x"};
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request;
    char long_name[4097];

    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        request = file_request(names[i]);
        assert_refused(ask_file(world, &request), "INVALID_FILENAME", "filename");
    }
    request = file_request(long_name);
    assert_refused(ask_file(world, &request), "INVALID_FILENAME", "filename");
    assert_unharmed(world);
}

static void invalid_revisions_are_refused(void **state)
{
    static const char *const revisions[] = {"../main", "a\nb", "a\x7f", "/main",
                                            "a/../b"};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof revisions / sizeof *revisions; i++) {
        Hubcache__V1__ResolveFileRequest request = file_request("config.json");

        memcpy(&request.revision, &revisions[i], sizeof request.revision);
        assert_refused(ask_file(world, &request), "INVALID_REVISION", "revision");
    }
    assert_unharmed(world);
}

static void a_nul_inside_a_string_is_refused_by_field(void **state)
{
    static const struct {
        const char *method;
        const char *bytes;
        size_t size;
        const char *reason, *field;
    } requests[] = {
        {METHOD("ResolveFile"), "\x0a\x04gp\0t\x22\x01x", 9, "INVALID_REPO_ID",
         "repo_id"},
        {METHOD("ResolveFile"), "\x0a\x04gpt2\x1a\x02m\0\x22\x01x", 13,
         "INVALID_REVISION", "revision"},
        {METHOD("ResolveFile"), "\x0a\x04gpt2\x22\x06x\0../y", 14, "INVALID_FILENAME",
         "filename"},
        {METHOD("ResolveFile"), "\x0a\x04gpt2\x22\x01x\x2a\x02s\0", 13,
         "INVALID_FILENAME", "subfolder"},
        {METHOD("ResolveFiles"), "\x0a\x04gpt2\x22\x01x\x22\x03x\0y", 14,
         "INVALID_FILENAME", "filenames"},
        {METHOD("ResolveSnapshot"), "\x0a\x04gpt2\x22\x02*\0", 10, "INVALID_PATTERN",
         "allow_patterns"},
        {METHOD("WatchSnapshot"), "\x0a\x0a\x0a\x04gpt2\x2a\x02*\0", 12,
         "INVALID_PATTERN", "ignore_patterns"},
    };
    struct world *world = *state;

    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct rpc_call *call =
            ask_bytes(world, requests[i].method, requests[i].bytes, requests[i].size);

        assert_refused(call, requests[i].reason, requests[i].field);
    }
    assert_unharmed(world);
}

/* Duration{} is a zero byte on the wire, and so is an explicit default: no NUL in a name.
 */
static void zero_bytes_outside_strings_are_accepted(void **state)
{
    static const char request[] = "\x0a\x08org/name\x10\x00\x22\x0b"
                                  "config.json\x32\x02\x1a\x00";
    struct world *world = *state;
    struct rpc_call *call =
        ask_bytes(world, METHOD("ResolveFile"), request, sizeof request - 1);

    assert_answers_file(world, call, "config.json", HUBCACHE__V1__SOURCE__SOURCE_HUB);
    rpc_call_free(call);
}

static void names_that_are_not_utf8_are_refused(void **state)
{
    struct world *world = *state;

    assert_refused(ask_bytes(world, METHOD("ResolveFile"), "\x0a\x04gpt2\x22\x02\xff\xfe",
                             10),
                   "INVALID_FILENAME", "filename");
    assert_unharmed(world);
}

static void bytes_that_are_no_message_are_refused(void **state)
{
    struct world *world = *state;

    assert_refused(ask_bytes(world, METHOD("ResolveFile"), "\x0a\xff", 2),
                   "INVALID_OPTIONS", "");
    assert_unharmed(world);
}

static void an_unknown_repo_type_is_refused(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");

    request.repo_type = (Hubcache__V1__RepoType)9;
    assert_refused(ask_file(world, &request), "INVALID_OPTIONS", "repo_type");
    request.repo_type = (Hubcache__V1__RepoType)-1;
    assert_refused(ask_file(world, &request), "INVALID_OPTIONS", "repo_type");
    assert_unharmed(world);
}

static void a_negative_staleness_is_refused(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    Hubcache__V1__FetchOptions options;
    Google__Protobuf__Duration staleness;

    google__protobuf__duration__init(&staleness);
    hubcache__v1__fetch_options__init(&options);
    request.options = &options;
    options.max_staleness = &staleness;
    staleness.seconds = -1;
    assert_refused(ask_file(world, &request), "INVALID_OPTIONS", "options.max_staleness");
    assert_unharmed(world);
}

/* Also one that is refused before its options are understood names its file. */
static void a_refused_request_names_repo_and_file(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    Hubcache__V1__FetchOptions options;
    Google__Protobuf__Duration staleness;
    struct rpc_call *call;

    google__protobuf__duration__init(&staleness);
    hubcache__v1__fetch_options__init(&options);
    request.options = &options;
    options.max_staleness = &staleness;
    staleness.seconds = -1;
    call = ask_file(world, &request);
    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_error_info(call, "repo_id"), "org/name");
    assert_string_equal(rpc_call_error_info(call, "filename"), "config.json");
    rpc_call_free(call);
}

static void options_that_contradict_each_other_are_refused(void **state)
{
    struct world *world = *state;
    Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    Hubcache__V1__FetchOptions options;
    struct rpc_call *call;

    hubcache__v1__fetch_options__init(&options);
    request.options = &options;
    options.force_download = true;
    options.local_files_only = true;
    call = ask_file(world, &request);

    assert_int_equal(rpc_call_await(call), HC_STATUS_INVALID_ARGUMENT);
    assert_string_equal(rpc_call_reason(call), "INVALID_OPTIONS");
    assert_true(*rpc_call_violation(call) != '\0');
    rpc_call_free(call);
    assert_unharmed(world);
}

static void a_token_that_cannot_be_a_header_is_refused(void **state)
{
    struct world *world = *state;
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    const struct rpc_request asked = {.path = METHOD("ResolveFile"),
                                      .message = &request.base,
                                      .token = "two words"};

    assert_refused(rpc_call_start(world->client, &asked), "INVALID_OPTIONS",
                   "x-hub-token");
    assert_unharmed(world);
}

static void ten_thousand_patterns_are_refused(void **state)
{
    enum { COUNT = 10000 };
    struct world *world = *state;
    HC_AUTO_FREE char **patterns = calloc(COUNT, sizeof *patterns);
    Hubcache__V1__ResolveSnapshotRequest request = snapshot_request();
    char pattern[] = "*.json";

    assert_non_null(patterns);
    for (size_t i = 0; i < COUNT; i++)
        patterns[i] = pattern;
    request.allow_patterns = patterns;
    request.n_allow_patterns = COUNT;
    assert_refused(rpc_call_start(world->client,
                                  &(struct rpc_request){.path = METHOD("ResolveSnapshot"),
                                                        .message = &request.base}),
                   "INVALID_PATTERN", "allow_patterns");
    assert_unharmed(world);
}

static void a_call_that_ends_before_its_request_is_refused(void **state)
{
    static const char *const methods[] = {METHOD("ResolveFile"), METHOD("ResolveFiles"),
                                          METHOD("ResolveSnapshot"),
                                          METHOD("WatchSnapshot"),
                                          METHOD("GetServerInfo")};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        struct rpc_request request = {.path = methods[i], .has_no_message = true};

        assert_refused(rpc_call_start(world->client, &request), "INVALID_OPTIONS",
                       "request");
    }
    assert_unharmed(world);
}

/* The limit of a request is a few names more. */
static void ten_thousand_names_of_ordinary_length_fit_a_request(void **state)
{
    enum { NAMES = 10000, LENGTH = 120 };
    struct world *world = *state;
    HC_AUTO_FREE char **names = calloc(NAMES, sizeof *names);
    HC_AUTO_FREE char *texts = malloc((size_t)NAMES * (LENGTH + 1));
    Hubcache__V1__ResolveFilesRequest request;
    Hubcache__V1__FetchOptions options;
    struct rpc_call *call;

    assert_non_null(names);
    assert_non_null(texts);
    for (int i = 0; i < NAMES; i++) {
        names[i] = texts + (ptrdiff_t)i * (LENGTH + 1);
        (void)snprintf(names[i], LENGTH + 1, "%0*d", LENGTH, i);
    }
    hubcache__v1__resolve_files_request__init(&request);
    request.repo_id = file_request("").repo_id;
    request.n_filenames = NAMES;
    request.filenames = names;
    hubcache__v1__fetch_options__init(&options);
    options.local_files_only = true;
    request.options = &options;
    call = rpc_call_start(world->client,
                          &(struct rpc_request){.path = METHOD("ResolveFiles"),
                                                .message = &request.base});
    assert_int_equal(rpc_call_await(call), HC_STATUS_NOT_FOUND);
    assert_string_equal(rpc_call_reason(call), "NOT_CACHED");
    rpc_call_free(call);
}

static void a_request_of_more_than_sixteen_mebibytes_is_too_large(void **state)
{
    enum { SIZE = (16 << 20) + 1 };
    struct world *world = *state;
    HC_AUTO_FREE char *bytes = calloc(1, SIZE);
    struct rpc_call *call = ask_bytes(world, METHOD("ResolveFile"), bytes, SIZE);

    assert_int_equal(rpc_call_await(call), HC_STATUS_RESOURCE_EXHAUSTED);
    rpc_call_free(call);
    assert_unharmed(world);
}

static void an_unknown_method_is_unimplemented(void **state)
{
    struct world *world = *state;
    struct rpc_call *call = ask_bytes(world, METHOD("DeleteEverything"), "", 0);

    assert_int_equal(rpc_call_await(call), 12);
    rpc_call_free(call);
    assert_unharmed(world);
}

static void
a_repo_revision_or_file_that_the_hub_lacks_is_not_found_by_reason(void **state)
{
    static const struct {
        const char *id, *revision, *filename, *reason;
    } asked[] = {{"org/none", "main", "config.json", "REPO_NOT_FOUND"},
                 {"org/name", "none", "config.json", "REVISION_NOT_FOUND"},
                 {"org/name", "main", "none.json", "ENTRY_NOT_FOUND"}};
    struct world *world = *state;

    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        Hubcache__V1__ResolveFileRequest request = file_request(asked[i].filename);
        struct rpc_call *call;

        memcpy(&request.repo_id, &asked[i].id, sizeof request.repo_id);
        memcpy(&request.revision, &asked[i].revision, sizeof request.revision);
        call = ask_file(world, &request);

        assert_string_equal(rpc_call_reason(call), asked[i].reason);
        assert_int_equal(rpc_call_await(call), HC_STATUS_NOT_FOUND);
        rpc_call_free(call);
    }
}

/* The Hub asks for a pause, which is longer than the caller can wait. */
static struct rpc_call *ask_hub_that_pauses(struct world *world, unsigned status,
                                            unsigned pause_s)
{
    const Hubcache__V1__ResolveFileRequest request = file_request("config.json");
    struct rpc_call *call;

    test_hub_rule(world->hub, &(struct test_hub_rule){.fault = TEST_HUB_STATUS,
                                                      .number = status,
                                                      .retry_after_s = pause_s});
    call =
        rpc_call_start(world->client, &(struct rpc_request){.path = METHOD("ResolveFile"),
                                                            .message = &request.base,
                                                            .timeout_ms = 8000});
    (void)rpc_call_await(call);
    return call;
}

static void a_client_may_retry_by_itself_after_ten_seconds(void **state)
{
    struct rpc_call *call = ask_hub_that_pauses(*state, 429, 10);

    assert_string_equal(rpc_call_reason(call), "HUB_RATE_LIMITED");
    assert_int_equal(rpc_call_retry_ms(call), 10000);
    assert_string_equal(rpc_call_pushback(call), "10000");
    rpc_call_free(call);
}

static void a_client_is_told_not_to_wait_longer_by_itself(void **state)
{
    struct rpc_call *call = ask_hub_that_pauses(*state, 429, 11);

    assert_string_equal(rpc_call_reason(call), "HUB_RATE_LIMITED");
    assert_int_equal(rpc_call_retry_ms(call), 11000);
    assert_string_equal(rpc_call_pushback(call), "-1");
    rpc_call_free(call);
}

static void a_failure_that_a_retry_does_not_help_says_nothing_of_retries(void **state)
{
    struct rpc_call *call = ask_hub_that_pauses(*state, 403, 1);

    assert_int_equal(rpc_call_await(call), HC_STATUS_UNAUTHENTICATED);
    assert_int_equal(rpc_call_retry_ms(call), -1);
    assert_string_equal(rpc_call_pushback(call), "");
    rpc_call_free(call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        TEST(invalid_repo_ids_are_refused),
        TEST(file_names_that_could_escape_are_refused),
        TEST(invalid_revisions_are_refused),
        TEST(a_nul_inside_a_string_is_refused_by_field),
        TEST(zero_bytes_outside_strings_are_accepted),
        TEST(names_that_are_not_utf8_are_refused),
        TEST(bytes_that_are_no_message_are_refused),
        TEST(an_unknown_repo_type_is_refused),
        TEST(a_negative_staleness_is_refused),
        TEST(a_refused_request_names_repo_and_file),
        TEST(options_that_contradict_each_other_are_refused),
        TEST(a_token_that_cannot_be_a_header_is_refused),
        TEST(ten_thousand_patterns_are_refused),
        TEST(a_call_that_ends_before_its_request_is_refused),
        TEST(ten_thousand_names_of_ordinary_length_fit_a_request),
        TEST(a_request_of_more_than_sixteen_mebibytes_is_too_large),
        TEST(an_unknown_method_is_unimplemented),
        TEST(a_repo_revision_or_file_that_the_hub_lacks_is_not_found_by_reason),
        TEST(a_client_may_retry_by_itself_after_ten_seconds),
        TEST(a_client_is_told_not_to_wait_longer_by_itself),
        TEST(a_failure_that_a_retry_does_not_help_says_nothing_of_retries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
