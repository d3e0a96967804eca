/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a reader of the log that stalls stops no thread that logs; lines are
 * written in sequence, and dropped ones are counted. Failed requests of one reason are
 * logged at a bounded rate.
 */
#include "test.h"

#include <base/auto.h>
#include <base/error.h>
#include <server/log.h>
#include <server/metrics.h>
#include <server/request_log.h>

#include <fcntl.h>
#include <string.h>

enum {
    PIPE_BYTES = 4096,
    PIPE_BYTES_AT_END = 1024 * 1024,
    LINES = 100000,
    TEXT_MAX = 4 * 1024 * 1024
};

/* Standard error is a small pipe. */
struct fixture {
    int stderr_fd, reader;
};

static int log_set_up(void **state)
{
    static struct fixture f;
    int ends[2];

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES);
    f.reader = ends[0];
    f.stderr_fd = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    (void)close(ends[1]);
    hc_log_set(HC_LOG_INFO, false);
    *state = &f;
    return 0;
}

/* The log's end of the pipe is closed. */
static void log_restore(struct fixture *f)
{
    if (f->stderr_fd >= 0)
        (void)dup2(f->stderr_fd, STDERR_FILENO);
    hc_auto_close(&f->stderr_fd);
    f->stderr_fd = -1;
}

static int log_tear_down(void **state)
{
    struct fixture *f = *state;

    log_restore(f);
    (void)close(f->reader);
    return 0;
}

/*
 * The reader reads again, with room for everything: returns all that the log has written
 * when it ends. The first read wakes the writer thread.
 */
static char *pipe_drain(struct fixture *f)
{
    char *text = calloc(1, TEXT_MAX);
    size_t used = 0;
    ssize_t got;

    assert_non_null(text);
    assert_true(fcntl(f->reader, F_SETPIPE_SZ, PIPE_BYTES_AT_END) >= PIPE_BYTES_AT_END);
    got = read(f->reader, text, PIPE_BYTES);
    hc_log_stop();
    log_restore(f);
    while (got > 0) {
        used += (size_t)got;
        got = read(f->reader, text + used, TEXT_MAX - 1 - used);
    }
    return text;
}

static unsigned lines_in(const char *text, const char *part)
{
    unsigned n = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
        n++;
    return n;
}

static void a_reader_that_stalls_stops_no_thread_that_logs(void **state)
{
    struct fixture *f = *state;
    uint64_t before = hc_log_dropped();
    HC_AUTO_FREE char *text = NULL;
    long last = -1, dropped = 0, seen = 0;
    struct hc_error err;

    assert_int_equal(hc_log_start(&err), 0);
    for (int i = 0; i < LINES; i++)
        HC_LOG(HC_LOG_INFO, "line", HC_NUMBER("number", i)); /* returns */
    text = pipe_drain(f);

    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        const char *number = strstr(line, "number=");
        const char *lost = strstr(line, "log lines dropped count=");

        if (lost && lost < end) {
            dropped += strtol(lost + strlen("log lines dropped count="), NULL, 10);
            continue;
        }
        assert_true(number && number < end);
        assert_true(strtol(number + strlen("number="), NULL, 10) > last);
        last = strtol(number + strlen("number="), NULL, 10);
        seen++;
    }
    assert_true(dropped > 0);
    assert_int_equal(seen + dropped, LINES);
    assert_int_equal(hc_log_dropped() - before, dropped);
}

static void lines_of_a_reader_that_keeps_up_are_all_written_at_the_end(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *text = NULL;
    struct hc_error err;

    assert_int_equal(hc_log_start(&err), 0);
    for (int i = 0; i < 1000; i++)
        HC_LOG(HC_LOG_WARN, "line", HC_NUMBER("number", i));
    text = pipe_drain(f);

    assert_int_equal(lines_in(text, "warn line number="), 1000);
    assert_int_equal(lines_in(text, "dropped"), 0);
}

static void characters_that_turn_the_direction_of_text_are_escaped(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *text = NULL;

    /* Each with what ends the direction, for editors that show this. */
    HC_LOG(HC_LOG_INFO, "a", HC_TEXT("file", "\u202ecod.exe \xc2\x9b[\u202c"));
    hc_log_set(HC_LOG_INFO, true);
    HC_LOG(HC_LOG_INFO, "a", HC_TEXT("file", "\u2066x\n\"\u2069"));
    text = pipe_drain(f);

    assert_non_null(strstr(text, "file=\"\\u202ecod.exe \\u009b[\\u202c\"\n"));
    assert_non_null(strstr(text, "\"file\":\"\\u2066x\\u000a\\\"\\u2069\"}\n"));
}

static void log_failed_requests(struct hc_request_log *log, enum hc_reason reason, int n,
                                int64_t now_ms)
{
    struct hc_request request;
    const struct hc_answer answer = {.code = hc_reason_status(reason),
                                     .reason = reason,
                                     .message = "text"};

    hc_request_init(&request, 1, 0, NULL);

    for (int i = 0; i < n; i++)
        hc_request_log_add(log, &request, &answer, now_ms * 1000000);
}

static void failures_of_one_reason_have_ten_lines_a_second(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;
    HC_AUTO(hc_metrics) *metrics = hc_metrics_new(&err);
    HC_AUTO(hc_request_log) *log = hc_request_log_new(metrics, &err);
    HC_AUTO_FREE char *text = NULL;

    hc_log_set(HC_LOG_WARN, false);
    assert_int_equal(hc_log_start(&err), 0);
    log_failed_requests(log, HC_INVALID_REPO_ID, 1000, 0);
    log_failed_requests(log, HC_BUSY, 10, 0);
    hc_request_log_summarize(log, 999);
    log_failed_requests(log, HC_INVALID_REPO_ID, 5, 1000);
    hc_request_log_summarize(log, 2000);
    log_failed_requests(log, HC_BUSY, 11, 2000);
    hc_request_log_summarize(log, 3000);
    hc_request_log_summarize(log, 4000);
    text = pipe_drain(f);

    assert_int_equal(lines_in(text, "request failed "), 10 + 10 + 5 + 10);
    assert_int_equal(lines_in(text, "more requests failed"), 2);
    assert_non_null(strstr(text, "failed reason=INVALID_REPO_ID count=990\n"));
    assert_non_null(strstr(text, "failed reason=BUSY count=1\n"));
}

/* The writer thread runs, since the pipe is small. */
static void every_call_has_a_line_at_info(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;
    HC_AUTO(hc_metrics) *metrics = hc_metrics_new(&err);
    HC_AUTO(hc_request_log) *log = hc_request_log_new(metrics, &err);
    HC_AUTO_FREE char *text = NULL;

    assert_int_equal(hc_log_start(&err), 0);
    log_failed_requests(log, HC_INVALID_REPO_ID, 500, 0);
    log_failed_requests(log, HC_OK, 500, 0);
    text = pipe_drain(f);

    assert_int_equal(lines_in(text, "request failed "), 500);
    assert_int_equal(lines_in(text, "request done "), 500);
    assert_int_equal(lines_in(text, "\n"), 1000);
}

static void the_line_of_a_call_names_repo_revision_and_commit(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;
    HC_AUTO(hc_metrics) *metrics = hc_metrics_new(&err);
    HC_AUTO(hc_request_log) *log = hc_request_log_new(metrics, &err);
    const struct hc_target target = {.id = "org/name", .type = HC_REPO_DATASET};
    struct hc_request request;
    const struct hc_answer answer = {.code = HC_STATUS_NOT_FOUND,
                                     .reason = HC_ENTRY_NOT_FOUND,
                                     .message = "text"};
    HC_AUTO_FREE char *text = NULL;

    hc_request_init(&request, 7, 0, NULL);
    hc_request_log_add(log, &request, &answer, 0);
    hc_request_set_target(&request, &target, NULL);
    hc_request_log_add(log, &request, &answer, 0);
    (void)strcpy(request.facts.commit, "0123456789012345678901234567890123456789");
    hc_request_log_add(log, &request, &answer, 1234567);
    text = pipe_drain(f);

    assert_int_equal(lines_in(text, "failed id=7 rpc=unknown outcome=ENTRY_NOT_FOUND"),
                     1);
    assert_int_equal(lines_in(text, "repo=org/name type=dataset revision=main outcome="),
                     1);
    assert_int_equal(lines_in(text, "revision=main commit=0123456789012345678901234567890"
                                    "123456789 outcome=ENTRY_NOT_FOUND duration_ms=1.234 "
                                    "trace_id="),
                     1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, log_set_up, log_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_reader_that_stalls_stops_no_thread_that_logs),
        TEST(lines_of_a_reader_that_keeps_up_are_all_written_at_the_end),
        TEST(characters_that_turn_the_direction_of_text_are_escaped),
        TEST(failures_of_one_reason_have_ten_lines_a_second),
        TEST(every_call_has_a_line_at_info),
        TEST(the_line_of_a_call_names_repo_revision_and_commit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
