/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: sizes and ages are read and written as `hf cache ls` does, and times as RFC
 * 3339 has them.
 */
#include "test.h"

#include "client/command/units.h"

#include <string.h>

static void assert_bytes(const char *text, uint64_t expected)
{
    uint64_t bytes = 1;

    assert_int_equal(hc_bytes_parse(text, &bytes), 0);
    assert_int_equal(bytes, expected);
}

static void sizes_have_decimal_units_of_either_case(void **state)
{
    (void)state;
    assert_bytes("0", 0);
    assert_bytes("999", 999);
    assert_bytes("1k", 1000);
    assert_bytes("1KB", 1000);
    assert_bytes("1.5 GB", UINT64_C(1500000000));
    assert_bytes("2T", UINT64_C(2000000000000));
    assert_bytes("9pb", UINT64_C(9000000000000000));
}

static void what_is_no_size_is_refused(void **state)
{
    static const char *const texts[] = {"",     "-1",   "x",     "1x",
                                        "1kbx", "0x10", "1e400", "GB"};
    uint64_t bytes;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(hc_bytes_parse(texts[i], &bytes), -1);
}

static void assert_age(const char *text, int64_t expected)
{
    int64_t seconds = 1;

    assert_int_equal(hc_age_parse(text, &seconds), 0);
    assert_int_equal(seconds, expected);
}

static void ages_have_units_up_to_years(void **state)
{
    int64_t seconds;

    (void)state;
    assert_age("90", 90);
    assert_age("90s", 90);
    assert_age("2m", 120);
    assert_age("12h", 43200);
    assert_age("7d", 604800);
    assert_age("2w", 1209600);
    assert_age("1mo", 2592000);
    assert_age("1y", 31536000);
    assert_int_equal(hc_age_parse("7 days", &seconds), -1);
}

static void assert_ago(int64_t age, const char *expected)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    char text[HC_UNITS_TEXT_MAX];

    time.seconds = 2000000000 - age;
    hc_age_format(text, &time, 2000000000);
    assert_string_equal(text, expected);
}

static void an_age_has_the_largest_unit_that_fits(void **state)
{
    char text[HC_UNITS_TEXT_MAX];

    (void)state;
    assert_ago(-5, "a few seconds ago");
    assert_ago(19, "a few seconds ago");
    assert_ago(20, "20 seconds ago");
    assert_ago(59, "59 seconds ago");
    assert_ago(60, "1 minute ago");
    assert_ago(3600, "1 hour ago");
    assert_ago(2 * 86400, "2 days ago");
    assert_ago(7 * 86400, "1 week ago");
    assert_ago(400 * 86400, "1 year ago");
    assert_ago(4000 * 86400, "11 years ago");
    hc_age_format(text, NULL, 0);
    assert_string_equal(text, "");
}

static void a_time_is_written_in_utc_with_milliseconds(void **state)
{
    Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
    char text[HC_UNITS_TEXT_MAX];

    (void)state;
    time.seconds = 1772366400;
    time.nanos = 123000000;
    hc_time_format(text, &time);
    assert_string_equal(text, "2026-03-01T12:00:00.123Z");
    hc_time_format(text, NULL);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_decimal_units_of_either_case),
        cmocka_unit_test(what_is_no_size_is_refused),
        cmocka_unit_test(ages_have_units_up_to_years),
        cmocka_unit_test(an_age_has_the_largest_unit_that_fits),
        cmocka_unit_test(a_time_is_written_in_utc_with_milliseconds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
