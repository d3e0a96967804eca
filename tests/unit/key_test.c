/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a key tells texts apart and shows nothing of them.
 */
#include "test.h"

#include <base/key.h>

#include <string.h>

static void equal_texts_have_one_key_and_others_another(void **state)
{
    static const char *const texts[] = {"hf_a", "hf_b", "hf_aa", "A", " "};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            const struct hc_key one = hc_key_of(texts[i]);
            const struct hc_key other = hc_key_of(texts[k]);

            assert_true(hc_key_is(&one, &other) == (i == k));
        }
    }
}

static void no_text_and_an_empty_one_are_the_same(void **state)
{
    const struct hc_key none = {0};
    const struct hc_key null = hc_key_of(NULL);
    const struct hc_key empty = hc_key_of("");

    (void)state;
    assert_true(hc_key_is(&none, &null));
    assert_true(hc_key_is(&none, &empty));
}

static void a_key_has_no_part_of_its_text(void **state)
{
    static const char text[] = "hf_0123456789abcdef";
    const struct hc_key key = hc_key_of(text);

    (void)state;
    for (size_t i = 0; i + 4 < sizeof text; i++)
        assert_null(memmem(key.bytes, sizeof key.bytes, text + i, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_have_one_key_and_others_another),
        cmocka_unit_test(no_text_and_an_empty_one_are_the_same),
        cmocka_unit_test(a_key_has_no_part_of_its_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
