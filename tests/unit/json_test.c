/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: JSON that is read member by member gives the same values as when it is read as
 * a whole, from memory and from a file, wherever the window of the file ends.
 */
#include "temp_dir.h"
#include "test.h"

#include <base/json.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Walks arrays and objects of anything; true when it is well-formed to its end. */
static bool json_walk(struct hc_json *json, char open, size_t *members)
{
    int more;

    *members = 0;
    if (!hc_json_enter(json, open))
        return false;
    while ((more = hc_json_next(json)) > 0) {
        HC_AUTO_FREE char *key = open == '{' ? hc_json_key(json) : NULL;
        HC_AUTO_JSON *value = open == '{' && !key ? NULL : hc_json_value(json);

        if (!value)
            return false;
        ++*members;
    }
    return more == 0 && hc_json_is_done(json);
}

static void well_formed_json_is_walked(void **state)
{
    static const struct {
        const char *text;
        char open;
        size_t members;
    } rows[] = {
        {"[]", '[', 0},
        {" [ ] \n", '[', 0},
        {"[1]", '[', 1},
        {"[1,-2.5e3,true,null,\"]\",[[],{}]]", '[', 6},
        {"\t[ 1 , 2\r\n, {\"a\": [1, 2]} ]", '[', 3},
        {"{}", '{', 0},
        {"{\"a\":1}", '{', 1},
        {" { \"a\" : {} , \"\\u0061}\" : \"{\" } ", '{', 2},
    };
    struct hc_json json;
    size_t members;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hc_json_from_text(&json, rows[i].text, strlen(rows[i].text));
        if (!json_walk(&json, rows[i].open, &members) || members != rows[i].members)
            fail_msg("%s", rows[i].text);
    }
}

static void malformed_json_is_refused(void **state)
{
    static const char *const arrays[] = {"",       "[",    "]",     "[1",    "[1,",
                                         "[1,]",   "[,1]", "[1 2]", "[1]]",  "[1] x",
                                         "[1};",   "{}",   "[1}",   "[tru]", "[\"a]",
                                         "[1,,2]", "x[1]"};
    static const char *const objects[] = {"{",          "{\"a\"}",
                                          "{\"a\":}",   "{\"a\":1,}",
                                          "{a:1}",      "{1:1}",
                                          "{\"a\" 1}",  "{\"a\":1]",
                                          "{\"a\":1}}", "{\"a\":1 \"b\":2}",
                                          "[]",         "{,\"a\":1}"};
    struct hc_json json;
    size_t members;

    (void)state;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        hc_json_from_text(&json, arrays[i], strlen(arrays[i]));
        if (json_walk(&json, '[', &members))
            fail_msg("%s", arrays[i]);
    }
    for (size_t i = 0; i < sizeof objects / sizeof *objects; i++) {
        hc_json_from_text(&json, objects[i], strlen(objects[i]));
        if (json_walk(&json, '{', &members))
            fail_msg("%s", objects[i]);
    }
    hc_json_from_text(&json, "[1]\0", 4); /* a NUL is no white space */
    assert_false(json_walk(&json, '[', &members));
}

static void an_object_in_an_object_leaves_the_outer_one_where_it_was(void **state)
{
    static const char text[] = "{\"in\": {\"a\": 1, \"b\": 2}, \"after\": 3}";
    HC_AUTO_FREE char *after = NULL;
    HC_AUTO_FREE char *in = NULL;
    struct hc_json json;
    int more;

    (void)state;
    hc_json_from_text(&json, text, sizeof text - 1);
    assert_true(hc_json_enter(&json, '{'));
    assert_int_equal(hc_json_next(&json), 1);
    in = hc_json_key(&json);
    assert_string_equal(in, "in");
    assert_true(hc_json_enter(&json, '{'));
    while ((more = hc_json_next(&json)) > 0) {
        HC_AUTO_FREE char *key = hc_json_key(&json);
        HC_AUTO_JSON *value = hc_json_value(&json);

        assert_non_null(key);
        assert_non_null(value);
    }
    assert_int_equal(more, 0);
    hc_json_resume(&json, '{');
    assert_int_equal(hc_json_next(&json), 1);
    after = hc_json_key(&json);
    assert_string_equal(after, "after");
}

/* An array of strings, mostly short and some as long as a value may be. */
static size_t write_random_array(FILE *out, unsigned *seed)
{
    size_t count = (size_t)rand_r(seed) % 200;

    (void)fputc('[', out);
    for (size_t i = 0; i < count; i++) {
        int most = HC_JSON_VALUE_MAX - 2;
        int length =
            rand_r(seed) % 20 == 0 ? most - rand_r(seed) % 3 : rand_r(seed) % 999;

        (void)fprintf(out, "%s%*s\"", i > 0 ? "," : "", rand_r(seed) % 9, "");
        for (int j = 0; j < length; j++)
            (void)fputc('a' + (int)(i % 26), out);
        (void)fputc('"', out);
    }
    (void)fputc(']', out);
    return count;
}

static void a_file_is_read_like_its_text(void **state)
{
    char *dir = temp_dir_make();
    HC_AUTO_FREE char *path = temp_dir_path(dir, "json");
    unsigned seed = (unsigned)time(NULL);
    const unsigned first = seed;

    (void)state;
    for (int round = 0; round < 20; round++) {
        HC_AUTO_VALUE(hc_json) json = {.fd = -1};
        HC_AUTO_CLOSE int fd = -1;
        FILE *out = fopen(path, "we");
        struct hc_error err;
        size_t count, members;

        assert_non_null(out);
        count = write_random_array(out, &seed);
        assert_int_equal(fclose(out), 0);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_int_equal(hc_json_from_file(&json, fd, &err), 0);
        if (!json_walk(&json, '[', &members) || members != count)
            fail_msg("%zu of %zu values (seed %u)", members, count, first);
    }
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(well_formed_json_is_walked),
        cmocka_unit_test(malformed_json_is_refused),
        cmocka_unit_test(an_object_in_an_object_leaves_the_outer_one_where_it_was),
        cmocka_unit_test(a_file_is_read_like_its_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
