/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: patterns select what Python's fnmatch.fnmatchcase selects, in bounded time.
 */
#include "pattern.h"
#include "test.h"

#include <base/cancellation.h>
#include <hubcache/resolver.h>
#include <policy/patterns.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct row {
    const char *pattern;
    const char *path;
    bool matches;
};

static void assert_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (pattern_selects(rows[i].pattern, rows[i].path) != rows[i].matches)
            fail_msg("'%s' on '%s'", rows[i].pattern, rows[i].path);
    }
}

#define ASSERT_ROWS(rows) assert_rows(rows, sizeof(rows) / sizeof *(rows))

static void stars_and_question_marks_cross_slashes(void **state)
{
    static const struct row rows[] = {
        {"*.txt", "a.txt", true},
        {"*.txt", "sub/a.txt", true},
        {"sub/*.txt", "sub/x/a.txt", true},
        {"**/*.txt", "a.txt", false},
        {"**/*.txt", "x/a.txt", true},
        {"a?c", "a/c", true},
        {"*", "", true},
        {"", "", true},
        {"", "a", false},
        {"a*", "a", true},
        {"a?", "a", false},
        {"a*b*c", "aXbYbc", true},
        {"a*b*c", "aXbYcb", false},
        {"SUB/*", "sub/a", false},
    };

    (void)state;
    ASSERT_ROWS(rows);
}

static void a_directory_means_all_in_it(void **state)
{
    static const struct row rows[] = {{"sub/", "sub/a/b", true},
                                      {"sub/", "sub", false},
                                      {"sub\\", "sub/a", true},
                                      {"sub\\a", "sub/a", true},
                                      {"sub/a", "sub\\a", true}};

    (void)state;
    ASSERT_ROWS(rows);
}

static void sets_are_those_of_fnmatch(void **state)
{
    static const struct row rows[] = {
        {"[abc]", "b", true},   {"[!abc]", "b", false},   {"[!abc]", "d", true},
        {"[a-c]", "b", true},   {"[a-c]", "-", false},    {"[-a]", "-", true},
        {"[a-]", "-", true},    {"[]]", "]", true},       {"[]-a]", "^", true},
        {"[!]]", "]", false},   {"[!]]", "a", true},      {"[^a]", "^", true},
        {"[^a]", "b", false},   {"[[]", "[", true},       {"[c-a]", "b", false},
        {"[c-a]", "c", false},  {"[!c-a]", "b", true},    {"[a-b-c]", "-", true},
        {"[a-b-c]", "c", true}, {"[b-c-a]", "c", true},   {"[b-c-a]", "-", true},
        {"[ab", "[ab", true},   {"[", "[", true},         {"[]", "[]", true},
        {"[!]", "[!]", true},   {"x[!]y", "x[!]y", true}, {"[b-a!x]", "x", false},
        {"[b-a!x]", "y", true}, {"[b-a!-z]", "m", true},  {"[b-a!-z]", "-", false},
        {"[\\]", "/", true},    {"{a,b}", "a", false},
    };

    (void)state;
    ASSERT_ROWS(rows);
}

static void a_character_is_a_code_point(void **state)
{
    static const struct row rows[] = {
        {"?", "\xc3\xa9", true},
        {"??", "\xc3\xa9", false},
        {"[\xc3\xa8-\xc3\xaa]", "\xc3\xa9", true},
        {"[\xc3\xa9]", "\xc3\xa8", false},
        {"*\xf0\x9f\x98\x80", "a\xf0\x9f\x98\x80", true},
    };

    (void)state;
    ASSERT_ROWS(rows);
}

static void many_stars_take_no_exponential_time(void **state)
{
    char pattern[HC_PATTERN_MAX + 1];
    char path[2049];
    int64_t start_ms = hc_monotonic_ms();

    (void)state;
    for (size_t i = 0; i < sizeof pattern - 1; i++)
        pattern[i] = "*a"[i % 2];
    pattern[sizeof pattern - 2] = 'b';
    pattern[sizeof pattern - 1] = '\0';
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_false(pattern_selects(pattern, path));
    assert_true(hc_monotonic_ms() - start_ms < 10000);
}

/* Seen by a matcher that tries everything, for patterns of "*", "?", "[ab]" and letters.
 */
/* NOLINTNEXTLINE(misc-no-recursion): the patterns are short */
static bool matches_slowly(const char *pattern, const char *path)
{
    if (*pattern == '\0')
        return *path == '\0';
    if (*pattern == '*')
        return matches_slowly(pattern + 1, path) ||
               (*path && matches_slowly(pattern, path + 1));
    if (*path == '\0')
        return false;
    if (*pattern == '[')
        return (*path == 'a' || *path == 'b') && matches_slowly(pattern + 4, path + 1);
    return (*pattern == '?' || *pattern == *path) &&
           matches_slowly(pattern + 1, path + 1);
}

static void make_random_text(unsigned *seed, const char *const *parts, size_t count,
                             char *text)
{
    *text = '\0';
    for (int left = rand_r(seed) % 9; left > 0; left--)
        strcat(text, parts[(size_t)rand_r(seed) % count]);
}

static void made_up_patterns_match_as_trying_everything_does(void **state)
{
    static const char *const of_pattern[] = {"*", "*", "?", "a", "b", "c", "[ab]"};
    static const char *const of_path[] = {"a", "b", "c"};
    unsigned seed = (unsigned)time(NULL);
    const unsigned first = seed;

    (void)state;
    for (int i = 0; i < 200000; i++) {
        char pattern[64], path[64];

        make_random_text(&seed, of_pattern, 7, pattern);
        make_random_text(&seed, of_path, 3, path);
        if (pattern_selects(pattern, path) != matches_slowly(pattern, path))
            fail_msg("'%s' on '%s' (seed %u)", pattern, path, first);
    }
}

static struct hc_filter *filter_compile(const struct hc_patterns *patterns,
                                        struct hc_cancellation *cancellation)
{
    struct hc_error err;
    struct hc_filter *filter;

    assert_int_equal(hc_patterns_check(patterns, &err), 0);
    filter = hc_filter_new(patterns, cancellation, &err);
    assert_non_null(filter);
    return filter;
}

static bool filter_selects(struct hc_filter *filter, const char *path)
{
    struct hc_error err;
    int result = hc_filter_select(filter, path, &err);

    assert_true(result >= 0);
    return result;
}

static void ignore_wins_over_allow(void **state)
{
    static const char *const allow[] = {"*.json", "*.bin"};
    static const char *const ignore[] = {"big*"};
    const struct hc_patterns patterns = {allow, 2, ignore, 1};
    HC_AUTO(hc_filter) *filter = filter_compile(&patterns, NULL);

    (void)state;
    assert_true(filter_selects(filter, "a.json"));
    assert_true(filter_selects(filter, "a.bin"));
    assert_false(filter_selects(filter, "big.bin"));
    assert_false(filter_selects(filter, "a.txt"));
}

static void no_patterns_select_everything(void **state)
{
    const struct hc_patterns patterns = {0};
    HC_AUTO(hc_filter) *filter = filter_compile(&patterns, NULL);

    (void)state;
    assert_true(filter_selects(filter, ".git/config"));
}

/* A thousand patterns that match nothing, each of the hardest kind. */
static struct hc_filter *filter_compile_a_thousand(const char *pattern,
                                                   struct hc_cancellation *cancellation)
{
    static const char *list[HC_PATTERNS_MAX];
    const struct hc_patterns patterns = {.allow = list, .allow_count = HC_PATTERNS_MAX};

    for (size_t i = 0; i < HC_PATTERNS_MAX; i++)
        list[i] = pattern;
    return filter_compile(&patterns, cancellation);
}

static void a_thousand_patterns_are_compiled_once(void **state)
{
    HC_AUTO(hc_filter) *filter =
        filter_compile_a_thousand("data/*/train-*.parquet", NULL);
    int64_t start_ms = hc_monotonic_ms();

    (void)state;
    for (int i = 0; i < 10000; i++)
        assert_false(filter_selects(filter, "data/en/validation-00000-of-00001.json"));
    assert_true(hc_monotonic_ms() - start_ms < 20000);
}

static void matching_ends_when_it_is_cancelled(void **state)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(HC_NO_DEADLINE);
    HC_AUTO(hc_filter) *filter = filter_compile_a_thousand("*?a?a?a?b", cancellation);
    struct hc_error err = {0};
    int files = 0;

    (void)state;
    assert_false(filter_selects(filter, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab/aaaaaaaaaaaa"));
    hc_cancellation_cancel(cancellation);
    while (hc_filter_select(filter, "aaaaaaaaaaaaaaaaaaaaaaaaaaab/a", &err) == 0)
        assert_true(files++ < 1000);
    assert_int_equal(err.reason, HC_CANCELLED);
}

static void patterns_times_files_have_a_limit(void **state)
{
    static const size_t most = HC_MATCHES_MAX / HC_PATTERNS_MAX;
    HC_AUTO(hc_filter) *filter = filter_compile_a_thousand("*.x", NULL);
    HC_AUTO(hc_filter) *none = filter_compile(&(const struct hc_patterns){0}, NULL);
    struct hc_error err = {0};

    (void)state;
    assert_int_equal(hc_filter_check(filter, 0, &err), 0);
    assert_int_equal(hc_filter_check(filter, most - 1, &err), 0);
    assert_int_equal(hc_filter_check(filter, most, &err), 0);
    assert_int_equal(hc_filter_check(filter, most + 1, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_PATTERN);
    assert_string_equal(err.field, "allow_patterns");
    assert_int_equal(hc_filter_check(filter, SIZE_MAX, &err), -1);
    assert_int_equal(hc_filter_check(none, SIZE_MAX, &err), 0);
}

static void patterns_have_limits(void **state)
{
    static char text[HC_PATTERN_MAX + 2];
    static const char *list[HC_PATTERNS_MAX + 1];
    struct hc_patterns patterns = {.allow = list, .allow_count = HC_PATTERNS_MAX};
    struct hc_error err;

    (void)state;
    memset(text, 'a', HC_PATTERN_MAX);
    for (size_t i = 0; i < HC_PATTERNS_MAX + 1; i++)
        list[i] = text;
    assert_int_equal(hc_patterns_check(&patterns, &err), 0);

    patterns.allow_count = HC_PATTERNS_MAX + 1;
    assert_int_equal(hc_patterns_check(&patterns, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_PATTERN);
    assert_string_equal(err.field, "allow_patterns");

    text[HC_PATTERN_MAX] = 'a';
    patterns = (struct hc_patterns){.ignore = list, .ignore_count = 1};
    assert_int_equal(hc_patterns_check(&patterns, &err), -1);
    assert_string_equal(err.field, "ignore_patterns");
    assert_false(pattern_selects(text, text));
}

static void a_pattern_is_utf8(void **state)
{
    static const char *const list[] = {"\xff"};
    const struct hc_patterns patterns = {.allow = list, .allow_count = 1};
    struct hc_error err;

    (void)state;
    assert_int_equal(hc_patterns_check(&patterns, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_PATTERN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stars_and_question_marks_cross_slashes),
        cmocka_unit_test(a_directory_means_all_in_it),
        cmocka_unit_test(sets_are_those_of_fnmatch),
        cmocka_unit_test(a_character_is_a_code_point),
        cmocka_unit_test(many_stars_take_no_exponential_time),
        cmocka_unit_test(made_up_patterns_match_as_trying_everything_does),
        cmocka_unit_test(a_thousand_patterns_are_compiled_once),
        cmocka_unit_test(matching_ends_when_it_is_cancelled),
        cmocka_unit_test(patterns_times_files_have_a_limit),
        cmocka_unit_test(ignore_wins_over_allow),
        cmocka_unit_test(no_patterns_select_everything),
        cmocka_unit_test(patterns_have_limits),
        cmocka_unit_test(a_pattern_is_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
