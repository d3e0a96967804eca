/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: each response of the Hub becomes the one reason that a program can decide
 * on, with a message that a person can act on, and no header, however odd, does harm.
 */
#include "test.h"

#include <base/size.h>
#include <hub/response.h>

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char commit[] = "0123456789abcdef0123456789abcdef01234567";
static const char git_etag[] = "\"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391\"";

static void response_of_headers(struct hc_hub_response *reply, const char *line)
{
    hc_hub_response_header(reply, line, strlen(line));
}

/* A question about config.json of org/m at main; `repo` must outlive it. */
static struct hc_hub_target response_target_of(struct hc_repo *repo, bool had_token)
{
    struct hc_error err;

    assert_int_equal(hc_repo_init(repo, HC_REPO_DATASET, "org/m", &err), 0);
    return (struct hc_hub_target){.repo = repo,
                                  .revision = "main",
                                  .path = "config.json",
                                  .endpoint = "https://hub.example",
                                  .had_token = had_token};
}

static void headers_are_read_whatever_their_case_and_spacing(void **state)
{
    struct hc_hub_response reply = {0};

    (void)state;
    response_of_headers(&reply,
                        "x-repo-commit:0123456789abcdef0123456789abcdef01234567\r\n");
    response_of_headers(&reply, "X-LINKED-ETAG: \t \"abc\" \r\n");
    response_of_headers(&reply, "etag: W/\"def\"\r\n");
    response_of_headers(&reply, "X-Linked-Size: 125162496\r\n");
    response_of_headers(&reply, "Content-Length: 998\r\n");
    response_of_headers(&reply, "Location: /somewhere?x=1\r\n");
    response_of_headers(&reply, "Content-Range: bytes 100-199/1000\r\n");
    response_of_headers(&reply, "X-Error-Code: EntryNotFound\r\n");
    response_of_headers(&reply, "X-Request-Id: 42\r\n");

    assert_string_equal(reply.commit, commit);
    assert_string_equal(reply.linked_etag, "\"abc\"");
    assert_string_equal(reply.etag, "W/\"def\"");
    assert_true(reply.has_linked_size && reply.linked_size == 125162496);
    assert_true(reply.has_length && reply.content_length == 998);
    assert_string_equal(reply.location, "/somewhere?x=1");
    assert_true(reply.has_range && reply.range_start == 100 && reply.range_end == 200);
    assert_int_equal(reply.range_total, 1000);
    assert_string_equal(reply.error_code, "EntryNotFound");
    assert_string_equal(reply.request_id, "42");
}

static void a_range_may_leave_the_whole_length_open(void **state)
{
    struct hc_hub_response reply = {0};

    (void)state;
    response_of_headers(&reply, "Content-Range: Bytes 9-9/*\r\n");
    assert_true(reply.has_range && reply.range_start == 9 && reply.range_end == 10);
    assert_int_equal(reply.range_total, 0);
    response_of_headers(&reply, "Content-Range: bytes 9-9/9\r\n");
    assert_true(reply.has_bad_range && !reply.has_range);
}

static void headers_that_are_not_what_they_should_be_are_absent(void **state)
{
    static const char *const lines[] = {
        "",
        "\r\n",
        ":",
        "no colon",
        "Content-Length: -1",
        "Content-Length: 12x",
        "Content-Length: 99999999999999999999999",
        "Content-Length: 18446744073709551615",
        "X-Linked-Size: 0x10",
        "X-Linked-Size:",
        "Content-Range: bytes 9-5/10",
        "Content-Range: bytes 0-10/10",
        "Content-Range: bytes */10",
        "Content-Range: bytes 0-5/",
        "Content-Range: bytes 0-5/*0",
        "Content-Range: bytes 0-5/**",
        "Content-Range: bytes 0-5",
        "Content-Range: bytes -5/10",
        "Content-Range: bytes 0-9223372036854775807/*",
        "Content-Range: items 0-5/10",
        "Link: <unclosed",
        "Link: <https://h.example/>; rel=\"nextish\"",
        "Link: <https://h.example/>; rel=\"prev\"",
        "Retry-After: soon",
        "Retry-After: -5",
        "RateLimit: \"api\";r=5;t=10",
        "RateLimit: r=;t=",
        "RateLimit: \"a\";r=0, \"b\";r=1;t=5",
        "RateLimit: \"a\";r=0;t=",
        "RateLimit: ;;,, ;",
    };

    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        static const struct hc_hub_response none;
        struct hc_hub_response reply = {0};

        response_of_headers(&reply, lines[i]);
        assert_false(reply.has_length || reply.has_linked_size || reply.has_range);
        assert_int_equal(reply.retry_after_ms, none.retry_after_ms);
        assert_string_equal(reply.next_page, "");
    }
}

static void a_commit_that_is_none_is_told_from_no_commit(void **state)
{
    struct hc_hub_response reply = {0};

    (void)state;
    response_of_headers(&reply, "X-Repo-Commit: notahash\r\n");
    assert_string_equal(reply.commit, "");
    assert_true(reply.has_bad_commit);
}

static void values_too_long_for_their_place_are_dropped(void **state)
{
    static char line[HC_URL_MAX + 100];
    struct hc_hub_response reply = {0};

    (void)state;
    memset(line, 'a', sizeof line - 1);
    memcpy(line, "Location: /", 11);
    response_of_headers(&reply, line); /* over HC_URL_MAX */
    assert_string_equal(reply.location, "");

    line[HC_URL_MAX] = '\0';
    response_of_headers(&reply, line);
    assert_int_equal(strlen(reply.location), HC_URL_MAX - 10);
}

static void the_next_page_is_found_among_links(void **state)
{
    struct hc_hub_response reply = {0};

    (void)state;
    response_of_headers(
        &reply, "Link: </api/x>; rel=\"xet-auth\", <https://h.example/p?cursor=a,b>; "
                "rel=\"next\", <https://h.example/last>; rel=\"last\"\r\n");
    assert_string_equal(reply.next_page, "https://h.example/p?cursor=a,b");
}

static void waiting_is_as_long_as_the_hub_says(void **state)
{
    struct hc_hub_response seconds = {0}, limit = {0}, both = {0}, date = {0},
                           absurd = {0}, several = {0};
    char line[80];
    time_t later = time(NULL) + 60;
    struct tm utc;

    (void)state;
    response_of_headers(&seconds, "Retry-After: 7\r\n");
    response_of_headers(&limit, "RateLimit: \"api\";r=0;t=55\r\n");
    response_of_headers(&both, "Retry-After: 3\r\n");
    response_of_headers(&both, "RateLimit: \"api\";r=0;t=55\r\n");
    response_of_headers(
        &several, "RateLimit: \"pages\";r=3;t=90, \"api\";r=0;t=20,\"resolvers\"; r=0; "
                  "t=40;x=r=1, \"burst\";r=0;t=1\r\n");
    response_of_headers(&absurd, "Retry-After: 9223372036854775807\r\n");
    assert_non_null(gmtime_r(&later, &utc));
    assert_int_not_equal(strftime(line, sizeof line,
                                  "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc),
                         0);
    response_of_headers(&date, line);

    assert_int_equal(seconds.retry_after_ms, 7000);
    assert_int_equal(limit.retry_after_ms, 55000);
    assert_int_equal(both.retry_after_ms, 3000);
    assert_int_equal(several.retry_after_ms, 40000);
    assert_int_equal(absurd.retry_after_ms, 86400000);
    assert_in_range(date.retry_after_ms, 50000, 60000);
}

static void each_answer_has_its_reason(void **state)
{
    static const struct {
        long status;
        const char *code, *message;
        enum hc_reason reason;
        bool had_token;
        bool is_final;
    } rows[] = {
        {404, "RevisionNotFound", "", HC_REVISION_NOT_FOUND, false, true},
        {404, "EntryNotFound", "Entry not found", HC_ENTRY_NOT_FOUND, false, true},
        {401, "GatedRepo", "", HC_GATED_REPO, false, false},
        {403, "GatedRepo", "", HC_GATED_REPO, true, false},
        {403, "", "Access to this resource is disabled.", HC_REPO_DISABLED, true, false},
        {404, "RepoNotFound", "", HC_REPO_NOT_FOUND, true, false},
        {401, "", "Invalid username or password.", HC_REPO_NOT_FOUND, false, false},
        {401, "", "Invalid username or password.", HC_HUB_UNAUTHORIZED, true, false},
        {403, "", "", HC_HUB_UNAUTHORIZED, false, false},
        {404, "", "", HC_BAD_HUB_REPLY, false, false},
        {400, "", "", HC_BAD_HUB_REPLY, false, false},
        {416, "", "", HC_BAD_HUB_REPLY, false, false},
        {501, "", "", HC_BAD_HUB_REPLY, false, false},
        {304, "", "", HC_BAD_HUB_REPLY, false, false},
        {0, "", "", HC_BAD_HUB_REPLY, false, false},
        {407, "", "", HC_HUB_UNREACHABLE, false, true},
        {408, "", "", HC_HUB_UNREACHABLE, false, false},
        {500, "", "", HC_HUB_UNREACHABLE, false, false},
        {502, "", "", HC_HUB_UNREACHABLE, false, false},
        {503, "", "", HC_HUB_UNREACHABLE, false, false},
        {504, "", "", HC_HUB_UNREACHABLE, false, false},
        {429, "", "", HC_HUB_RATE_LIMITED, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_repo repo;
        struct hc_hub_target question = response_target_of(&repo, rows[i].had_token);
        struct hc_hub_response reply = {.status = rows[i].status};
        struct hc_error err;

        (void)snprintf(reply.error_code, sizeof reply.error_code, "%s", rows[i].code);
        (void)snprintf(reply.error_message, sizeof reply.error_message, "%s",
                       rows[i].message);
        assert_int_equal(hc_hub_response_fail(&reply, &question, &err), -1);
        if (err.reason != rows[i].reason || err.is_final != rows[i].is_final)
            fail_msg("%ld %s: %s", rows[i].status, rows[i].code, err.message);
        assert_non_null(strstr(err.message, "file 'config.json' of dataset 'org/m' at "
                                            "revision 'main'"));
    }
}

static void a_missing_repo_may_as_well_be_private(void **state)
{
    struct hc_repo repo;
    struct hc_hub_target question = response_target_of(&repo, false);
    struct hc_hub_response reply = {.status = 401};
    struct hc_error err;

    (void)state;
    (void)hc_hub_response_fail(&reply, &question, &err);
    assert_non_null(strstr(err.message, "does not exist"));
    assert_non_null(strstr(err.message, "private"));
    assert_non_null(strstr(err.message, "token"));
}

static void a_gated_repo_has_a_page_to_ask_on(void **state)
{
    struct hc_repo repo;
    struct hc_hub_target question = response_target_of(&repo, true);
    struct hc_hub_response reply = {.status = 403, .error_code = "GatedRepo"};
    struct hc_error err;

    (void)state;
    (void)hc_hub_response_fail(&reply, &question, &err);
    assert_string_equal(err.link, "https://hub.example/datasets/org/m");
}

static void the_hub_is_quoted_in_characters_that_can_be_shown(void **state)
{
    static const char json[] = "{\"error\": \"broken\\u0007pipe \xc3\xa9\"}";
    struct hc_repo repo;
    struct hc_hub_target question = response_target_of(&repo, false);
    struct hc_hub_response from_body = {.status = 500}, from_header = {.status = 500};
    struct hc_error err;

    (void)state;
    hc_hub_response_body(&from_body, json, sizeof json - 1);
    response_of_headers(&from_header, "X-Error-Message: a\x1b[31mb\xff\r\n");
    hc_hub_response_body(&from_header, json, sizeof json - 1);

    assert_string_equal(from_body.error_message, "broken?pipe \xc3\xa9");
    assert_string_equal(from_header.error_message, "a?[31mb?");
    (void)hc_hub_response_fail(&from_body, &question, &err);
    assert_non_null(strstr(err.message, "broken?pipe"));
}

static void long_names_leave_room_for_the_cause(void **state)
{
    static char path[HC_FILENAME_MAX + 1], revision[HC_REVISION_MAX + 1];
    struct hc_repo repo;
    struct hc_hub_target question = response_target_of(&repo, false);
    struct hc_hub_response reply = {.status = 429};
    struct hc_error err;

    (void)state;
    memset(path, 'p', HC_FILENAME_MAX);
    memset(revision, 'r', HC_REVISION_MAX);
    question.path = path;
    question.revision = revision;
    (void)hc_hub_response_fail(&reply, &question, &err);
    assert_non_null(strstr(err.message, "too many requests; wait"));
}

static void metadata_comes_from_the_linked_headers_first(void **state)
{
    struct hc_repo repo;
    struct hc_hub_target question = response_target_of(&repo, false);
    struct hc_hub_response reply = {.status = 302};
    struct hc_metadata metadata;
    struct hc_error err;

    (void)state;
    response_of_headers(&reply,
                        "X-Repo-Commit: 0123456789abcdef0123456789abcdef01234567");
    response_of_headers(&reply, "X-Linked-Etag: \"abcd\"");
    response_of_headers(&reply, "X-Linked-Size: 7");
    response_of_headers(&reply, "ETag: \"other\"");
    response_of_headers(&reply, "Content-Length: 998");

    assert_int_equal(hc_hub_response_metadata(&reply, &question, &metadata, &err), 0);
    assert_string_equal(metadata.commit, commit);
    assert_memory_equal(metadata.etag, "abcd-", 5); /* no hash: the file's own name */
    assert_int_equal(strlen(metadata.etag), 5 + 64);
    assert_int_equal(metadata.size, 7);
}

/* Gateways leave the length of a HEAD out, or say 0; only the hash of nothing proves
 * 0. */
static void a_size_is_believed_when_it_can_be(void **state)
{
    static const char hash[] = "\"40e6e2ab5ee1a0b6bd8b2ea4b9a86a4aa8d52a1a\"";
    static const struct {
        long status;
        const char *etag, *header;
        uint64_t size;
    } rows[] = {
        {200, hash, "Content-Length: 7", 7},
        {200, hash, "Content-Length: 0", HC_SIZE_UNKNOWN},
        {200, hash, "", HC_SIZE_UNKNOWN},
        {302, hash, "Content-Length: 998", HC_SIZE_UNKNOWN}, /* the redirect's own */
        {302, hash, "X-Linked-Size: 7", 7},
        {302, hash, "X-Linked-Size: 0", HC_SIZE_UNKNOWN},
        {200, "\"v1\"", "Content-Length: 0", HC_SIZE_UNKNOWN},
        {200, "\"v1\"", "Content-Length: 7", 7},
        {200, git_etag, "Content-Length: 0", 0},
        {200, git_etag, "", 0},
        {302, git_etag, "Content-Length: 998", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_repo repo;
        struct hc_hub_target question = response_target_of(&repo, false);
        struct hc_hub_response reply = {.status = rows[i].status};
        struct hc_metadata metadata;
        struct hc_error err;

        memcpy(reply.commit, commit, sizeof reply.commit);
        (void)snprintf(reply.etag, sizeof reply.etag, "%s", rows[i].etag);
        if (rows[i].header[0])
            response_of_headers(&reply, rows[i].header);
        assert_int_equal(hc_hub_response_metadata(&reply, &question, &metadata, &err), 0);
        assert_true(metadata.size == rows[i].size);
    }
}

static void metadata_without_a_part_or_with_an_unsafe_one_is_refused(void **state)
{
    static const struct {
        long status;
        const char *commit, *etag, *length;
    } rows[] = {
        {200, "", git_etag, "Content-Length: 1"},
        {200, "X-Repo-Commit: notahash", git_etag, "Content-Length: 1"},
        {200, commit, "", "Content-Length: 1"},
        {200, commit, "\"../../evil\"", "Content-Length: 1"},
        {200, commit, "\"..\"", "Content-Length: 1"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct hc_repo repo;
        struct hc_hub_target question = response_target_of(&repo, false);
        struct hc_hub_response reply = {.status = rows[i].status};
        struct hc_metadata metadata;
        struct hc_error err;

        if (rows[i].commit == commit)
            memcpy(reply.commit, commit, sizeof reply.commit);
        else
            response_of_headers(&reply, rows[i].commit);
        (void)snprintf(reply.etag, sizeof reply.etag, "%s", rows[i].etag);
        response_of_headers(&reply, rows[i].length);
        assert_int_equal(hc_hub_response_metadata(&reply, &question, &metadata, &err),
                         -1);
        assert_int_equal(err.reason, HC_BAD_HUB_REPLY);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_read_whatever_their_case_and_spacing),
        cmocka_unit_test(a_range_may_leave_the_whole_length_open),
        cmocka_unit_test(headers_that_are_not_what_they_should_be_are_absent),
        cmocka_unit_test(a_commit_that_is_none_is_told_from_no_commit),
        cmocka_unit_test(values_too_long_for_their_place_are_dropped),
        cmocka_unit_test(the_next_page_is_found_among_links),
        cmocka_unit_test(waiting_is_as_long_as_the_hub_says),
        cmocka_unit_test(each_answer_has_its_reason),
        cmocka_unit_test(a_missing_repo_may_as_well_be_private),
        cmocka_unit_test(a_gated_repo_has_a_page_to_ask_on),
        cmocka_unit_test(the_hub_is_quoted_in_characters_that_can_be_shown),
        cmocka_unit_test(long_names_leave_room_for_the_cause),
        cmocka_unit_test(metadata_comes_from_the_linked_headers_first),
        cmocka_unit_test(metadata_without_a_part_or_with_an_unsafe_one_is_refused),
        cmocka_unit_test(a_size_is_believed_when_it_can_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
