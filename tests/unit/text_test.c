/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: text helpers never write past a buffer, never cut silently, and know UTF-8.
 */
#include "test.h"

#include <base/text.h>

#include <string.h>

static void a_text_that_fits_is_formatted_and_its_length_returned(void **state)
{
    char buffer[4];

    (void)state;
    assert_int_equal(hc_format(buffer, sizeof buffer, "%d", 123), 3);
    assert_string_equal(buffer, "123");
}

static void a_text_that_does_not_fit_leaves_an_empty_buffer(void **state)
{
    char buffer[4] = "old";

    (void)state;
    assert_int_equal(hc_format(buffer, sizeof buffer, "%d", 1234), -1);
    assert_string_equal(buffer, "");
}

/* Formats of texts alone do not go through vsnprintf(3). */
static void texts_are_joined_as_snprintf_does(void **state)
{
    const char *const texts[] = {"", "a", "models--org", "100%", "%s", "\xc3\xa4"};
    char ours[32], theirs[32];

    (void)state;
    for (size_t i = 0; i < 6 * 6 * 8; i++) {
        const char *one = texts[i % 6], *other = texts[i / 6 % 6];
        int precision = (int)(i / 36) - 1;
        int length =
            snprintf(theirs, sizeof theirs, "%s/%%%.*s.x", one, precision, other);

        assert_int_equal(hc_format(ours, sizeof ours, "%s/%%%.*s.x", one, precision,
                                   other),
                         length);
        assert_string_equal(ours, theirs);
        length = snprintf(theirs, sizeof theirs, "%.*s/%s", precision, other, one);
        assert_int_equal(hc_format(ours, sizeof ours, "%.*s/%s", precision, other, one),
                         length);
        assert_string_equal(ours, theirs);
    }
}

static void joined_texts_fit_up_to_the_last_byte(void **state)
{
    char buffer[6];

    (void)state;
    assert_int_equal(hc_format(buffer, sizeof buffer, "%s/%s", "ab", "cd"), 5);
    assert_string_equal(buffer, "ab/cd");
    assert_int_equal(hc_format(buffer, sizeof buffer, "%s/%s", "ab", "cde"), -1);
    assert_string_equal(buffer, "");
    assert_int_equal(hc_format(buffer, sizeof buffer, "%s/%.*s", "ab", 2, "cde"), 5);
    assert_string_equal(buffer, "ab/cd");
    assert_int_equal(hc_format(buffer, sizeof buffer, "%s", ""), 0);
    assert_string_equal(buffer, "");
}

static void starts_and_ends_are_compared_whole(void **state)
{
    (void)state;
    assert_true(hc_text_starts("abc", "ab"));
    assert_true(hc_text_starts("abc", ""));
    assert_false(hc_text_starts("a", "ab"));
    assert_true(hc_text_ends("abc", "bc"));
    assert_false(hc_text_ends("c", "bc"));
}

static void well_formed_utf8_is_accepted(void **state)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "a\xc3\xa9z"};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(hc_text_is_utf8(good[i]));
}

static void ill_formed_utf8_is_refused(void **state)
{
    static const char *const bad[] = {"\x80",
                                      "\xc1\xbf",
                                      "\xc3",
                                      "\xc3(",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xe2\x82z",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xf0\x90\x80"};

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(hc_text_is_utf8(bad[i]));
}

static void control_characters_are_not_printable(void **state)
{
    (void)state;
    assert_true(hc_text_is_printable("a b\xc3\xa9"));
    assert_false(hc_text_is_printable("a\nb"));
    assert_false(hc_text_is_printable("\x7f"));
}

static void assert_escaped(const char *text, const char *also, const char *expected)
{
    HC_AUTO_FREE char *escaped = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&escaped, &size);

    assert_non_null(out);
    hc_text_escape(out, text, also);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(escaped, expected);
}

static void terminal_control_sequences_are_escaped(void **state)
{
    (void)state;
    assert_escaped("", "", "");
    assert_escaped("plain \"text\" \\", "", "plain \"text\" \\");
    assert_escaped("a\"b\\c", "\"\\", "a\\\"b\\\\c");
    assert_escaped("\x01\n\x1f \x7e\x7f", "", "\\u0001\\u000a\\u001f ~\\u007f");
    assert_escaped("\x1b[2J\rx", "", "\\u001b[2J\\u000dx");
    /* C1 controls as characters, and bytes that are no UTF-8 */
    assert_escaped("\xc2\x80\xc2\x9b\xc2\x9f\u00a0", "", "\\u0080\\u009b\\u009f\u00a0");
    assert_escaped("\x9b[2J\xff\xc3", "", "\\u009b[2J\\u00ff\\u00c3");
    assert_escaped("\xf0\x9f\xa4\x97 \u00e9\xf0\x9f", "",
                   "\xf0\x9f\xa4\x97 \u00e9\\u00f0\\u009f");
}

static void direction_controls_are_escaped(void **state)
{
    (void)state;
    assert_escaped("\u061b\u061c\u061d", "", "\u061b\\u061c\u061d");
    assert_escaped("\u200d\u200e\u200f\u2010", "", "\u200d\\u200e\\u200f\u2010");
    assert_escaped("\u2027\u2028\u2029\u202a\u202e\u202c\u202c\u202f", "",
                   "\u2027\\u2028\\u2029\\u202a\\u202e\\u202c\\u202c\u202f");
    assert_escaped("\u2065\u2066\u2069\u206a", "", "\u2065\\u2066\\u2069\u206a");
}

static void hex_is_lower_case_and_of_that_length(void **state)
{
    (void)state;
    assert_true(hc_text_is_hex("0af9", 4));
    assert_false(hc_text_is_hex("0AF9", 4));
    assert_false(hc_text_is_hex("0af", 4));
    assert_false(hc_text_is_hex("0af90", 4));
}

static void white_space_is_cut_off_both_ends(void **state)
{
    char text[] = " \t a b\r\n";
    char blank[] = " \n";

    (void)state;
    assert_string_equal(hc_text_trim(text), "a b");
    assert_string_equal(hc_text_trim(blank), "");
}

static void a_list_owns_copies_of_any_number_of_strings(void **state)
{
    HC_AUTO_VALUE(hc_strings) list = {0};
    char text[8] = "x";
    struct hc_error err;

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_true(hc_format(text, sizeof text, "%d", i) > 0);
        assert_int_equal(hc_strings_add(&list, text, &err), 0);
    }
    assert_int_equal(list.count, 100);
    assert_string_equal(list.items[0], "0");
    assert_string_equal(list.items[99], "99");
    hc_strings_clear(&list);
    assert_int_equal(list.count, 0);
}

static void a_copy_of_null_is_null(void **state)
{
    struct hc_error err;

    (void)state;
    assert_null(hc_text_copy(NULL, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_that_fits_is_formatted_and_its_length_returned),
        cmocka_unit_test(a_text_that_does_not_fit_leaves_an_empty_buffer),
        cmocka_unit_test(texts_are_joined_as_snprintf_does),
        cmocka_unit_test(joined_texts_fit_up_to_the_last_byte),
        cmocka_unit_test(starts_and_ends_are_compared_whole),
        cmocka_unit_test(well_formed_utf8_is_accepted),
        cmocka_unit_test(ill_formed_utf8_is_refused),
        cmocka_unit_test(control_characters_are_not_printable),
        cmocka_unit_test(terminal_control_sequences_are_escaped),
        cmocka_unit_test(direction_controls_are_escaped),
        cmocka_unit_test(hex_is_lower_case_and_of_that_length),
        cmocka_unit_test(white_space_is_cut_off_both_ends),
        cmocka_unit_test(a_list_owns_copies_of_any_number_of_strings),
        cmocka_unit_test(a_copy_of_null_is_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
