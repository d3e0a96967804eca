/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the output of the command has the form that people and programs rely on:
 * sizes, durations, the progress bar at any width, JSON with the names of the proto file,
 * hints.
 */
#include "test.h"

#include "client/command/output.h"
#include "client/command/progress_bar.h"

#include <base/quantity.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct hc_client_progress halfway = {
    .files_total = 7,
    .files_done = 3,
    .bytes_total = 4000000000,
    .bytes_done = 2000000000,
    .bytes_per_second = 100000000,
};

static void assert_duration(const char *text, int64_t expected)
{
    int64_t milliseconds = -1;

    assert_int_equal(hc_duration_parse(text, &milliseconds), 0);
    assert_int_equal(milliseconds, expected);
}

static void assert_no_duration(const char *text)
{
    int64_t milliseconds;

    assert_int_equal(hc_duration_parse(text, &milliseconds), -1);
}

static void assert_bytes(uint64_t bytes, const char *expected)
{
    char text[HC_UNITS_TEXT_MAX];

    hc_bytes_format(text, bytes);
    assert_string_equal(text, expected);
}

/* Parses and frees `line`, which must be one line. */
static json_t *parse_json_line(char *line)
{
    json_t *object;

    assert_non_null(line);
    assert_null(strchr(line, '\n'));
    object = json_loads(line, 0, NULL);
    free(line);
    assert_non_null(object);
    return object;
}

static const char *json_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    assert_non_null(text);
    return text;
}

/* ESC [2J clears a terminal, U+202E reverses the text after it, U+009B is CSI. */
#define HOSTILE                                                                          \
    "a\x1b[2J\u202e"                                                                     \
    "b\xc2\x9b"                                                                          \
    "c\n\xff"
#define ESCAPED "a\\u001b[2J\\u202eb\\u009bc\\u000a\\u00ff"

/* Calls `print` while the descriptor of `stream` is `to`. */
static void redirect_output(FILE *stream, int to, void (*print)(void))
{
    int fd = fileno(stream);
    int kept;

    (void)fflush(stream);
    kept = dup(fd);
    assert_true(kept >= 0);
    assert_int_equal(dup2(to, fd), fd);
    print();
    (void)fflush(stream);
    assert_int_equal(dup2(kept, fd), fd);
    (void)close(kept);
}

static void assert_printed(FILE *stream, void (*print)(void), const char *expected)
{
    char text[1024];
    ssize_t length;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    redirect_output(stream, ends[1], print);
    length = read(ends[0], text, sizeof text - 1);
    assert_true(length >= 0);
    text[length] = '\0';
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_string_equal(text, expected);
}

/* A terminal ends lines with "\r\n". */
static void assert_shown(void (*print)(void), const char *expected)
{
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    char text[1024];
    ssize_t length;
    int shown;

    assert_true(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    shown = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(shown >= 0);
    redirect_output(stdout, shown, print);
    length = read(terminal, text, sizeof text - 1);
    assert_true(length >= 0);
    text[length] = '\0';
    (void)close(shown);
    (void)close(terminal);
    assert_string_equal(text, expected);
}

static void print_path(void)
{
    struct hc_error err;

    assert_int_equal(hc_output_print_path(HOSTILE, &err), 0);
}

static void print_note(void)
{
    hc_output_print_note(HOSTILE);
}

static void print_field(void)
{
    hc_output_print_field("endpoint", HOSTILE);
}

static void print_json(void)
{
    json_t *object = json_pack("{s:s}", "path",
                               "a\x1b[2J\u202e"
                               "b\xc2\x9b"
                               "c\n");
    struct hc_error err;

    assert_int_equal(hc_output_print_json(json_dumps(object, 0), &err), 0);
    json_decref(object);
}

static void print_missing_text(void)
{
    struct hc_error err = {.reason = HC_INCOMPLETE_SNAPSHOT,
                           .message = "x",
                           .missing = "a\x1b[2J\u202e"};

    (void)hc_output_print_failure(&err, "");
}

static void a_program_reads_the_path_as_it_is(void **state)
{
    (void)state;
    assert_printed(stdout, print_path, HOSTILE "\n");
}

static void a_terminal_is_sent_no_control_characters(void **state)
{
    (void)state;
    assert_shown(print_path, ESCAPED "\r\n");
}

static void messages_and_fields_are_escaped(void **state)
{
    (void)state;
    assert_printed(stderr, print_note, "hubcache: " ESCAPED "\n");
    assert_printed(stderr, print_missing_text,
                   "hubcache: x\n  missing: a\\u001b[2J\\u202e\n");
    assert_printed(stdout, print_field, "endpoint: " ESCAPED "\n");
}

static void json_has_no_control_characters(void **state)
{
    (void)state;
    assert_printed(stdout, print_json,
                   "{\"path\": \"a\\u001B[2J\\u202eb\\u009bc\\n\"}\n");
}

static void durations_have_units_and_seconds_by_default(void **state)
{
    (void)state;
    assert_duration("0", 0);
    assert_duration("60", 60000);
    assert_duration("500ms", 500);
    assert_duration("60s", 60000);
    assert_duration("5m", 300000);
    assert_duration("2h", 7200000);
    assert_duration("1d", 86400000);
}

static void a_text_that_is_no_duration_is_refused(void **state)
{
    (void)state;
    assert_no_duration("");
    assert_no_duration("-1");
    assert_no_duration(" 1");
    assert_no_duration("1.5s");
    assert_no_duration("5 m");
    assert_no_duration("5x");
    assert_no_duration("ms");
    assert_no_duration("9223372036854775807");
    assert_no_duration("99999999999999999999");
}

static void sizes_have_decimal_units(void **state)
{
    (void)state;
    assert_bytes(0, "0 B");
    assert_bytes(999, "999 B");
    assert_bytes(1000, "1.0 kB");
    assert_bytes(999949, "999.9 kB");
    assert_bytes(999950, "1.0 MB");
    assert_bytes(12345678901, "12.3 GB");
    assert_bytes(UINT64_MAX, "18.4 EB");
}

static void times_left_have_hours_only_when_needed(void **state)
{
    char text[HC_UNITS_TEXT_MAX];

    (void)state;
    hc_duration_format(text, 42);
    assert_string_equal(text, "0:42");
    hc_duration_format(text, 3723);
    assert_string_equal(text, "1:02:03");
}

static void progress_has_files_bytes_rate_and_time_left(void **state)
{
    char text[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    hc_progress_bar_text(&halfway, text);
    assert_string_equal(text, "3/7 files, 2.0 GB of 4.0 GB, 100.0 MB/s, 0:20 left");
}

static void progress_without_a_rate_has_no_time_left(void **state)
{
    struct hc_client_progress stalled = halfway;
    char text[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    stalled.bytes_per_second = 0;
    hc_progress_bar_text(&stalled, text);
    assert_string_equal(text, "3/7 files, 2.0 GB of 4.0 GB");
}

static void progress_has_files_of_other_processes_and_retries(void **state)
{
    struct hc_client_progress troubled = halfway;
    char text[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    troubled.waiting_count = 2;
    troubled.retries = 3;
    hc_progress_bar_text(&troubled, text);
    assert_string_equal(text, "3/7 files, 2.0 GB of 4.0 GB, 100.0 MB/s, 0:20 left, "
                              "2 fetched by others, 3 retries");
    troubled.waiting_count = 0;
    troubled.retries = 1;
    troubled.bytes_per_second = 0;
    hc_progress_bar_text(&troubled, text);
    assert_string_equal(text, "3/7 files, 2.0 GB of 4.0 GB, 1 retry");
}

static void the_longest_progress_fits_its_text(void **state)
{
    const struct hc_client_progress longest = {
        .files_total = UINT32_MAX,
        .files_done = UINT32_MAX,
        .bytes_total = UINT64_MAX,
        .bytes_per_second = 1,
        .waiting_count = UINT32_MAX,
        .retries = UINT32_MAX,
    };
    char text[HC_PROGRESS_BAR_TEXT_MAX], bar[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    hc_progress_bar_text(&longest, text);
    assert_string_equal(text + strlen(text) - strlen(" retries"), " retries");
    hc_progress_bar_line(&longest, 1000, bar);
    assert_string_equal(bar + strlen(bar) - strlen(" retries"), " retries");
}

static void the_bar_shows_the_part_that_is_done(void **state)
{
    char bar[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    hc_progress_bar_line(&halfway, 120, bar);
    assert_string_equal(bar,
                        "[############------------]  50% 3/7 files, 2.0 GB of 4.0 GB, "
                        "100.0 MB/s, 0:20 left");
}

static void the_bar_never_exceeds_the_terminal(void **state)
{
    char bar[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    for (size_t columns = 0; columns < 120; columns++) {
        hc_progress_bar_line(&halfway, columns, bar);
        assert_true(strlen(bar) <= columns);
    }
    hc_progress_bar_line(&halfway, 79, bar);
    assert_non_null(strstr(bar, "0:20 left"));
}

static void a_narrow_bar_keeps_the_time_left_rather_than_the_retries(void **state)
{
    struct hc_client_progress troubled = halfway;
    char bar[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    troubled.waiting_count = 12;
    troubled.retries = 345;
    hc_progress_bar_line(&troubled, 79, bar);
    assert_int_equal(strlen(bar), 79);
    assert_non_null(strstr(bar, "0:20 left"));
}

static void more_bytes_than_announced_do_not_break_the_bar(void **state)
{
    struct hc_client_progress over = halfway, nothing = {0};
    char bar[HC_PROGRESS_BAR_TEXT_MAX];

    (void)state;
    over.bytes_done = over.bytes_total * 2;
    hc_progress_bar_line(&over, 120, bar);
    assert_non_null(strstr(bar, "[########################] 100%"));
    hc_progress_bar_line(&nothing, 120, bar);
    assert_non_null(strstr(bar, "]   0% 0/0 files"));
}

static void lines_come_every_five_seconds(void **state)
{
    struct hc_progress_bar bar = {.next_ms = 10000};

    (void)state;
    assert_false(hc_progress_bar_is_due(&bar, 9999));
    assert_true(hc_progress_bar_is_due(&bar, 10000));
    assert_false(hc_progress_bar_is_due(&bar, 14999));
    assert_true(hc_progress_bar_is_due(&bar, 15000));
}

static void a_snapshot_in_json_has_the_names_of_the_proto_file(void **state)
{
    char path[] = "/models/s", text[] = "x", name[] = "f.bin";
    struct hc_client_file file = {.path = path,
                                  .cache_path = text,
                                  .filename = name,
                                  .commit_hash = text,
                                  .etag = text,
                                  .size_bytes = 5000000000,
                                  .source = HC_CLIENT_SOURCE_HUB};
    char *missing[] = {name};
    struct hc_client_snapshot snapshot = {.path = path,
                                          .cache_path = text,
                                          .commit_hash = text,
                                          .cache_id = text,
                                          .completeness = HC_CLIENT_PARTIAL,
                                          .source = HC_CLIENT_SOURCE_CACHE,
                                          .stale = true,
                                          .missing = missing,
                                          .missing_listed = 1,
                                          .missing_total = 200,
                                          .files = &file,
                                          .listed = 1};
    json_t *object = parse_json_line(hc_output_json_of_snapshot(&snapshot));
    const json_t *first = json_array_get(json_object_get(object, "files"), 0);

    (void)state;
    assert_string_equal(json_text(object, "path"), "/models/s");
    assert_string_equal(json_text(object, "completeness"), "COMPLETENESS_PARTIAL");
    assert_string_equal(json_text(object, "source"), "SOURCE_CACHE");
    assert_true(json_is_true(json_object_get(object, "stale")));
    assert_int_equal(json_integer_value(json_object_get(object, "missing_total")), 200);
    assert_int_equal(json_array_size(json_object_get(object, "missing")), 1);
    assert_string_equal(json_text(first, "source"), "SOURCE_HUB");
    assert_int_equal(json_integer_value(json_object_get(first, "size_bytes")),
                     5000000000);
    json_decref(object);
}

static void one_file_in_json_is_the_answer_of_resolve_file(void **state)
{
    /* NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): from a newer
     * server */
    const enum hc_client_source unknown = (enum hc_client_source)99;
    char path[] = "/models/a\nb", text[] = "x";
    struct hc_client_file file = {.path = path,
                                  .cache_path = text,
                                  .filename = text,
                                  .commit_hash = text,
                                  .etag = text,
                                  .cache_id = text,
                                  .source = unknown};
    json_t *object = parse_json_line(hc_output_json_of_file(&file));

    (void)state;
    assert_string_equal(json_text(object, "cache_id"), "x");
    assert_string_equal(json_text(json_object_get(object, "file"), "path"),
                        "/models/a\nb");
    assert_string_equal(json_text(json_object_get(object, "file"), "source"),
                        "SOURCE_UNSPECIFIED");
    assert_int_equal(json_array_size(json_object_get(object, "files")), 1);
    assert_true(json_equal(json_object_get(object, "file"),
                           json_array_get(json_object_get(object, "files"), 0)));
    json_decref(object);
}

static void a_failure_in_json_has_what_a_program_decides_on(void **state)
{
    const struct hc_client_repo repo = {.id = "org/name", .type = HC_REPO_DATASET};
    const struct hc_error err = {.reason = HC_NO_SPACE,
                                 .retry_after_ms = 1500,
                                 .needed_bytes = 5000000000,
                                 .filename = "a.bin",
                                 .message = "full\x1b"};
    json_t *object = parse_json_line(hc_output_json_of_failure(&err, "a hint", &repo));
    const json_t *failure = json_object_get(object, "error");
    const json_t *metadata = json_object_get(failure, "metadata");

    (void)state;
    assert_string_equal(json_text(failure, "reason"), "NO_SPACE");
    assert_string_equal(json_text(failure, "status"), "RESOURCE_EXHAUSTED");
    assert_string_equal(json_text(failure, "message"), "full\x1b");
    assert_string_equal(json_text(failure, "hint"), "a hint");
    assert_int_equal(json_integer_value(json_object_get(failure, "exit_code")), 1);
    assert_int_equal(json_integer_value(json_object_get(failure, "retry_delay_ms")),
                     1500);
    assert_string_equal(json_text(metadata, "repo_id"), "org/name");
    assert_string_equal(json_text(metadata, "repo_type"), "dataset");
    assert_string_equal(json_text(metadata, "filename"), "a.bin");
    assert_int_equal(json_integer_value(json_object_get(metadata, "needed_bytes")),
                     5000000000);
    assert_null(json_object_get(metadata, "free_bytes"));
    assert_null(json_object_get(metadata, "revision"));
    json_decref(object);
}

static void every_reason_has_a_status_in_json(void **state)
{
    const struct hc_client_repo repo = {.id = NULL};

    (void)state;
    for (int reason = HC_OK; reason < HC_REASON_COUNT; reason++) {
        const struct hc_error err = {.reason = (enum hc_reason)reason};
        json_t *object = parse_json_line(hc_output_json_of_failure(&err, "", &repo));
        const json_t *failure = json_object_get(object, "error");

        assert_string_not_equal(json_text(failure, "status"), "");
        assert_int_equal(json_object_size(json_object_get(failure, "metadata")), 0);
        json_decref(object);
    }
}

static void a_path_that_is_no_utf8_makes_no_json(void **state)
{
    char path[] = "/models/\xff", text[] = "x";
    struct hc_client_info info = {.version = text,
                                  .cache_root = path,
                                  .cache_id = text,
                                  .endpoint = text};

    (void)state;
    assert_null(hc_output_json_of_info(&info));
}

static void hints_name_the_delay_the_page_and_the_token(void **state)
{
    struct hc_error busy = {.reason = HC_BUSY, .retry_after_ms = 1001};
    struct hc_error gated = {.reason = HC_GATED_REPO, .link = "https://hub.example/o/n"};
    struct hc_error caller = {.reason = HC_CALLER_UNAUTHENTICATED};
    struct hc_error other = {.reason = HC_INTERNAL};
    char hint[512];

    (void)state;
    hc_output_hint(&busy, hint, sizeof hint);
    assert_string_equal(hint, "try again in 2 s");
    hc_output_hint(&gated, hint, sizeof hint);
    assert_non_null(strstr(hint, "https://hub.example/o/n"));
    assert_non_null(strstr(hint, "HUBCACHE_HUB_TOKEN"));
    hc_output_hint(&caller, hint, sizeof hint);
    assert_non_null(strstr(hint, "HUBCACHE_TOKEN"));
    hc_output_hint(&other, hint, sizeof hint);
    assert_string_equal(hint, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_reads_the_path_as_it_is),
        cmocka_unit_test(a_terminal_is_sent_no_control_characters),
        cmocka_unit_test(messages_and_fields_are_escaped),
        cmocka_unit_test(json_has_no_control_characters),
        cmocka_unit_test(durations_have_units_and_seconds_by_default),
        cmocka_unit_test(a_text_that_is_no_duration_is_refused),
        cmocka_unit_test(sizes_have_decimal_units),
        cmocka_unit_test(times_left_have_hours_only_when_needed),
        cmocka_unit_test(progress_has_files_bytes_rate_and_time_left),
        cmocka_unit_test(progress_without_a_rate_has_no_time_left),
        cmocka_unit_test(progress_has_files_of_other_processes_and_retries),
        cmocka_unit_test(the_longest_progress_fits_its_text),
        cmocka_unit_test(the_bar_shows_the_part_that_is_done),
        cmocka_unit_test(the_bar_never_exceeds_the_terminal),
        cmocka_unit_test(a_narrow_bar_keeps_the_time_left_rather_than_the_retries),
        cmocka_unit_test(more_bytes_than_announced_do_not_break_the_bar),
        cmocka_unit_test(lines_come_every_five_seconds),
        cmocka_unit_test(a_snapshot_in_json_has_the_names_of_the_proto_file),
        cmocka_unit_test(one_file_in_json_is_the_answer_of_resolve_file),
        cmocka_unit_test(a_failure_in_json_has_what_a_program_decides_on),
        cmocka_unit_test(every_reason_has_a_status_in_json),
        cmocka_unit_test(a_path_that_is_no_utf8_makes_no_json),
        cmocka_unit_test(hints_name_the_delay_the_page_and_the_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
