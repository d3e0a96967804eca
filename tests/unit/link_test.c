/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the next page is found in every Link header that RFC 8288 allows, and a
 * header that cannot be understood is never taken for "no further page".
 */
#include "test.h"

#include <hub/response.h>

#include <string.h>

static void the_next_page_is_found_however_the_header_is_written(void **state)
{
    static const char *const values[] = {
        "<p?a=1>; rel=\"next\"",
        "<p?a=1>; rel=next",
        "<p?a=1>; rel = \"next\"",
        "<p?a=1> ; rel\t=\tnext ",
        "<p?a=1>;rel=next",
        "<p?a=1>; REL=\"NEXT\"",
        "<p?a=1>; rel=\"next last\"",
        "<p?a=1>; rel=\"last  next\"",
        "<p?a=1>; rel=\"  next  \"",
        "<p?a=1>; title=\"a, <b>; rel=prev\"; rel=next",
        "<p?a=1>; title=\"say \\\"hi\\\", <x>; rel=\\\"next\\\"\"; rel=\"next\"",
        "<p?a=1>; rel=next; rel=prev",
        "<p?a=1>; rev=prev; rel=next",
        "<p?a=1>; crossorigin; rel=next",
        "<p?a=1>;; rel=next;",
        "<p?a=1>; rel=next, <p?a=1>; rel=\"next\"",
        "</x,y;z>; rel=\"first\", <p?a=1>; rel=\"next\"",
        "<x>; rel=\"prev\",<p?a=1>; rel=\"next\",<y>; rel=\"last\"",
        ", ,<p?a=1>; rel=next, ,",
        "<x>, <p?a=1>; rel=next",
        "<x>; anchor=\"#a\"; rel=\"prev\", <p?a=1>; rel=next",
    };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char target[16];

        if (hc_link_next(values[i], target, sizeof target) != 1)
            fail_msg("not found: %s", values[i]);
        assert_string_equal(target, "p?a=1");
    }
}

static void a_target_may_hold_what_separates_elsewhere(void **state)
{
    char target[64];

    (void)state;
    assert_int_equal(hc_link_next("<https://h/p?a=1,2;b=\"c\">; rel=next", target,
                                  sizeof target),
                     1);
    assert_string_equal(target, "https://h/p?a=1,2;b=\"c\"");
}

static void links_without_a_next_page_say_that_there_is_none(void **state)
{
    static const char *const values[] = {
        "",
        " ",
        ",,",
        "<x>",
        "<x>; rel=\"prev\"",
        "<x>; rel=nextish",
        "<x>; rel=\"xnext next-archive\"",
        "<x>; rev=next",
        "<x>; rel=prev; rel=next",
        "<x>; rel",
        "<x>; title=\"rel=next\"",
        "<x?rel=next>; rel=prev",
        "<>; rel=self",
        "<x>; anchor=\"#other\"; rel=prev",
    };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char target[16];

        if (hc_link_next(values[i], target, sizeof target) != 0)
            fail_msg("not 0: %s", values[i]);
    }
}

static void a_header_that_cannot_be_understood_is_told_from_none(void **state)
{
    static const char *const values[] = {
        "x",
        "x; rel=next",
        "<x",
        "<x; rel=next",
        "<x>; rel=\"next",
        "<x>; rel=\"next\\\"",
        "<x> rel=next",
        "<x>; rel=",
        "<x>; =next",
        "<x>; rel=next <y>",
        "<x>; rel=\"next\"last",
        "<x>; rel=next last",
        "<x<y>>; rel=next",
        "<>; rel=next",
        "<x>; rel=next, <y>; rel=next",
        "<x>; anchor=\"#other\"; rel=next",
        "<x>; rel=prev, y; rel=next",
        "<0123456789abcdef>; rel=next", /* does not fit */
    };

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        char target[16];

        if (hc_link_next(values[i], target, sizeof target) != -1)
            fail_msg("not refused: %s", values[i]);
    }
}

static void a_target_fits_to_the_last_byte(void **state)
{
    char target[16];

    (void)state;
    assert_int_equal(hc_link_next("<0123456789abcde>; rel=next", target, sizeof target),
                     1);
    assert_string_equal(target, "0123456789abcde");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_page_is_found_however_the_header_is_written),
        cmocka_unit_test(a_target_may_hold_what_separates_elsewhere),
        cmocka_unit_test(links_without_a_next_page_say_that_there_is_none),
        cmocka_unit_test(a_header_that_cannot_be_understood_is_told_from_none),
        cmocka_unit_test(a_target_fits_to_the_last_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
