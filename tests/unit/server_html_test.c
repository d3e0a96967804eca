/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: no text becomes markup, ends an attribute, or changes the direction of the
 * page; figures are short and right.
 */
#include "test.h"

#include <server/html.h>

#include <base/auto.h>

#include <string.h>

static char *written_text(const char *text)
{
    char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);

    assert_non_null(out);
    hc_html_text(out, text);
    assert_int_equal(fclose(out), 0);
    return page;
}

static void assert_text(const char *text, const char *expected)
{
    HC_AUTO_FREE char *page = written_text(text);

    assert_string_equal(page, expected);
}

static void markup_is_shown_and_not_obeyed(void **state)
{
    (void)state;
    assert_text("<script>alert(\"1\" + '2') && x</script>",
                "&lt;script&gt;alert(&quot;1&quot; + &#39;2&#39;) &amp;&amp; "
                "x&lt;/script&gt;");
    assert_text("&lt;", "&amp;lt;");
    assert_text("", "");
}

static void what_is_no_text_is_shown_as_numbers(void **state)
{
    (void)state;
    assert_text("a\nb\x7f", "a\\u000ab\\u007f");
    assert_text("\xff\xc3", "\\u00ff\\u00c3");
    assert_text("\xc0\xbc", "\\u00c0\\u00bc"); /* an overlong "<" */
    assert_text("a\xe2\x80\xae"
                "gpj.exe",
                "a\\u202egpj.exe"); /* right-to-left override */
    assert_text("größe 模型 🤗", "größe 模型 🤗");
}

static void long_texts_are_whole(void **state)
{
    char text[4001];
    HC_AUTO_FREE char *page = NULL;

    (void)state;
    memset(text, '<', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    page = written_text(text);
    assert_int_equal(strlen(page), 4 * (sizeof text - 1));
}

enum figure { COUNT, BYTES, DURATION, TIME };

static void assert_figure(enum figure figure, int64_t value, const char *expected)
{
    HC_AUTO_FREE char *page = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&page, &size);

    assert_non_null(out);
    if (figure == COUNT)
        hc_html_count(out, (uint64_t)value);
    else if (figure == BYTES)
        hc_html_bytes(out, (uint64_t)value);
    else if (figure == DURATION)
        hc_html_duration(out, value);
    else
        hc_html_time(out, value);
    assert_int_equal(fclose(out), 0);
    assert_string_equal(page, expected);
}

static void counts_have_groups_of_three(void **state)
{
    (void)state;
    assert_figure(COUNT, 0, "0");
    assert_figure(COUNT, 999, "999");
    assert_figure(COUNT, 1000, "1,000");
    assert_figure(COUNT, 1234567, "1,234,567");
    assert_figure(COUNT, -1, "18,446,744,073,709,551,615");
}

static void bytes_have_three_digits(void **state)
{
    (void)state;
    assert_figure(BYTES, 0, "0 B");
    assert_figure(BYTES, 999, "999 B");
    assert_figure(BYTES, 1000, "1.00 kB");
    assert_figure(BYTES, 9999, "10.0 kB");
    assert_figure(BYTES, 99960, "100 kB");
    assert_figure(BYTES, 999499, "999 kB");
    assert_figure(BYTES, 999500, "1.00 MB");
    assert_figure(BYTES, 1510000000000, "1.51 TB");
    assert_figure(BYTES, -1, "18.4 EB");
}

static void durations_have_two_units(void **state)
{
    (void)state;
    assert_figure(DURATION, -5, "0 s");
    assert_figure(DURATION, 59999, "59 s");
    assert_figure(DURATION, 60000, "1 min");
    assert_figure(DURATION, 3661000, "1 h 1 min");
    assert_figure(DURATION, 86400000, "1 d");
    assert_figure(DURATION, 86400000 + 59 * 60000, "1 d");
    assert_figure(DURATION, 90000000, "1 d 1 h");
}

static void times_are_utc(void **state)
{
    (void)state;
    assert_figure(TIME, 1795950445999,
                  "<time datetime=\"2026-11-29T11:07:25Z\">2026-11-29 11:07:25</time>");
    assert_figure(TIME, INT64_MAX, "<time datetime=\"\"> </time>");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(markup_is_shown_and_not_obeyed),
        cmocka_unit_test(what_is_no_text_is_shown_as_numbers),
        cmocka_unit_test(long_texts_are_whole),
        cmocka_unit_test(counts_have_groups_of_three),
        cmocka_unit_test(bytes_have_three_digits),
        cmocka_unit_test(durations_have_two_units),
        cmocka_unit_test(times_are_utc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
