/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whatever bytes a value has, its line is one line, and as JSON an object
 * with the fields that were added. A value that is too long is cut.
 */
#include <test.h>

#include <base/auto.h>
#include <base/json.h>
#include <random.h>
#include <server/line.h>
#include <string.h>

/* The line as JSON, which the calling function releases. */
static json_t *line_parse(struct hc_line *line)
{
    json_t *parsed;

    hc_line_end(line);
    assert_true(line->size <= HC_LINE_MAX);
    assert_ptr_equal(memchr(line->text, '\n', line->size), line->text + line->size - 1);
    parsed = json_loadb(line->text, line->size, 0, NULL);
    assert_non_null(parsed);
    return parsed;
}

static void no_value_breaks_out_of_its_line(void **state)
{
    struct random_source random;
    char value[64];

    (void)state;
    random_begin(&random, "no_value_breaks_out_of_its_line");
    for (int i = 0; i < 20000; i++) {
        HC_AUTO_JSON *parsed = NULL;
        struct hc_line line;
        size_t size = random_between(&random, 0, sizeof value - 1);

        for (size_t at = 0; at < size; at++)
            value[at] = (char)random_between(&random, 1, i % 2 ? 255 : 127);
        value[size] = '\0';
        hc_line_begin(&line, true);
        hc_line_add_text(&line, "repo", value);
        hc_line_add_number(&line, "n", INT64_MIN);
        hc_line_add_bool(&line, "b", true);
        parsed = line_parse(&line);
        assert_int_equal(json_object_size(parsed), 4);
        assert_true(json_is_string(json_object_get(parsed, "repo")));
        assert_true(json_integer_value(json_object_get(parsed, "n")) == INT64_MIN);
    }
}

static void a_text_keeps_what_needs_no_escape(void **state)
{
    struct hc_line line;
    HC_AUTO_JSON *parsed = NULL;
    static const char value[] = "\"\\/ ä€😀 \t";

    (void)state;
    hc_line_begin(&line, true);
    hc_line_add_text(&line, "a", value);
    parsed = line_parse(&line);
    assert_string_equal(json_string_value(json_object_get(parsed, "a")), value);
}

static void a_long_value_is_cut(void **state)
{
    static const char *const kinds[] = {"x", "\n", "\xff", "€"};
    HC_AUTO_FREE char *value = malloc(100000);

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct hc_line line;
        HC_AUTO_JSON *parsed = NULL;
        const char *first;

        *value = '\0';
        for (size_t used = 0; used < 90000; used += strlen(kinds[i]))
            (void)strcpy(value + used, kinds[i]);
        hc_line_begin(&line, true);
        for (char key[] = "a"; *key <= 'z'; ++*key)
            hc_line_add_text(&line, key, value);
        parsed = line_parse(&line);
        first = json_string_value(json_object_get(parsed, "a"));
        assert_non_null(first);
        assert_string_equal(first + strlen(first) - strlen("…"), "…");
    }
}

static void text_has_the_time_first(void **state)
{
    struct hc_line line;

    (void)state;
    hc_line_begin(&line, false);
    hc_line_add_word(&line, "level", "info");
    hc_line_add_word(&line, "msg", "request done");
    hc_line_add_text(&line, "a", "b c");
    hc_line_add_text(&line, "d", "e");
    hc_line_add_microseconds(&line, "ms", 1234567);
    hc_line_end(&line);
    assert_int_equal(line.text[10], 'T');
    assert_int_equal(line.text[23], 'Z');
    assert_int_equal(line.size, strlen("2026-01-01T00:00:00.000Z info request done "
                                       "a=\"b c\" d=e ms=1234.567\n"));
    assert_memory_equal(line.text + 24, " info request done a=\"b c\" d=e ms=1234.567\n",
                        line.size - 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_value_breaks_out_of_its_line),
        cmocka_unit_test(a_text_keeps_what_needs_no_escape),
        cmocka_unit_test(a_long_value_is_cut),
        cmocka_unit_test(text_has_the_time_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
