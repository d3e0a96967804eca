/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a response that is wrong as HTTP, in its headers or in their size, is a
 * bad reply of that host; it is no fault of the network and none of hubcache's, and the
 * request is not repeated.
 */
#include "hub_fixture.h"

#include "raw_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OK_LINE "HTTP/1.1 200 OK\r\n"
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define COMMIT_BODY "{\"sha\":\"" COMMIT "\"}"

struct raw {
    struct raw_server *site;
    struct hc_hub *hub;
    struct hc_repo repo;
    struct hc_hub_credentials credentials;
    struct hc_error err;
};

static int raw_set_up(void **state)
{
    struct raw *raw = calloc(1, sizeof *raw);

    assert_non_null(raw);
    raw->site = raw_server_start();
    raw->hub = hub_fixture_open(raw_server_url(raw->site), 3);
    assert_int_equal(hc_repo_init(&raw->repo, HC_REPO_MODEL, "org/m", &raw->err), 0);
    *state = raw;
    return 0;
}

static int raw_tear_down(void **state)
{
    struct raw *raw = *state;

    hc_hub_close(raw->hub);
    raw_server_stop(raw->site);
    free(raw);
    return 0;
}

static int raw_ask_revision(struct raw *raw)
{
    struct hc_revision answer;

    return hc_hub_revision(raw->hub, &raw->repo, "main", &raw->credentials, &answer,
                           &raw->err);
}

static void headers_that_contradict_themselves_are_a_bad_reply(void **state)
{
    static const char *const answers[] = {
        OK_LINE "Content-Length: abc\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: -5\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 5x\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 99999999999999999999999\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 18446744073709551615\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 50\r\nContent-Length: 51\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 50, 51\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 50,\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 5\r\n 0\r\n\r\n" COMMIT_BODY,
        OK_LINE
        "X-Repo-Commit: " COMMIT "\r\n"
        "X-Repo-Commit: 76543210fedcba9876543210fedcba9876543210\r\n\r\n" COMMIT_BODY,
        OK_LINE "X-Linked-Size: 1\r\nX-Linked-Size: 2\r\n\r\n" COMMIT_BODY,
        OK_LINE "no colon at all\r\n\r\n" COMMIT_BODY,
        "HTTP/1.7 200 OK\r\n\r\n" COMMIT_BODY,
        "SSH-2.0-OpenSSH_9.2\r\n\r\n",
    };
    struct raw *raw = *state;

    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        raw_server_answer(raw->site, "GET", answers[i]);
        if (raw_ask_revision(raw) != -1 || raw->err.reason != HC_BAD_HUB_REPLY)
            fail_msg("row %zu: reason %d: %s", i, raw->err.reason, raw->err.message);
        assert_non_null(strstr(raw->err.message, "org/m"));
        assert_int_equal(raw_server_count(raw->site, "GET"), i + 1); /* not asked again */
    }
}

static void headers_that_are_there_twice_and_agree_are_read(void **state)
{
    static const char *const answers[] = {
        OK_LINE "Content-Length: 50\r\nContent-Length: 50\r\n\r\n" COMMIT_BODY,
        OK_LINE "Content-Length: 50, 50\r\n\r\n" COMMIT_BODY,
        OK_LINE "X-Repo-Commit: " COMMIT "\r\nX-Repo-Commit: " COMMIT "\r\n"
                "X-Other: 1\r\nX-Other: 2\r\n folded\r\n\r\n" COMMIT_BODY,
    };
    struct raw *raw = *state;

    assert_int_equal(strlen(COMMIT_BODY), 50);
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        raw_server_answer(raw->site, "GET", answers[i]);
        if (raw_ask_revision(raw) != 0)
            fail_msg("row %zu: %s", i, raw->err.message);
    }
}

/* An answer whose headers have about `size` bytes, in lines of `line` bytes. */
static void raw_answer_with_headers(struct raw *raw, size_t size, size_t line)
{
    char *answer = calloc(1, size + line + 256);
    size_t used = (size_t)sprintf(answer, "%s", OK_LINE);

    assert_non_null(answer);
    while (used + 64 < size) {
        memset(answer + used, 'x', line);
        answer[used + 3] = ':';
        answer[used + line - 2] = '\r';
        answer[used + line - 1] = '\n';
        used += line;
    }
    (void)strcpy(answer + used, "Content-Length: 50\r\n\r\n" COMMIT_BODY);
    raw_server_answer(raw->site, "GET", answer);
    free(answer);
}

static void large_headers_are_read_and_larger_ones_are_a_bad_reply(void **state)
{
    static const struct {
        size_t size, line;
        bool is_good;
    } rows[] = {
        {10000, 1000, true},   {17000, 16999, true},      {90000, 89000, true},
        {250000, 50000, true}, {265000, 50000, false},    {400000, 90000, false},
        {600000, 100, false},  {110000, 110000, false},   {1000000, 1000000, false},
        {250000, 1000, true},  {3000000, 3000000, false},
    };
    struct raw *raw = *state;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int result;

        raw_answer_with_headers(raw, rows[i].size, rows[i].line);
        result = raw_ask_revision(raw);
        if (result != (rows[i].is_good ? 0 : -1))
            fail_msg("row %zu: %d: %s", i, result, raw->err.message);
        if (!rows[i].is_good)
            assert_int_equal(raw->err.reason, HC_BAD_HUB_REPLY);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, raw_set_up, raw_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(headers_that_contradict_themselves_are_a_bad_reply),
        TEST(headers_that_are_there_twice_and_agree_are_read),
        TEST(large_headers_are_read_and_larger_ones_are_a_bad_reply),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
