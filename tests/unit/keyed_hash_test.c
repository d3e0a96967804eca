/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a key tells texts apart and shows nothing of them.
 */
#include "test.h"

#include <base/keyed_hash.h>

#include <string.h>

static void equal_texts_have_equal_hashes_and_others_do_not(void **state)
{
    static const char *const texts[] = {"hf_a", "hf_b", "hf_aa", "A", " "};

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        for (size_t k = 0; k < sizeof texts / sizeof *texts; k++) {
            const struct hc_keyed_hash one = hc_keyed_hash_of(texts[i]);
            const struct hc_keyed_hash other = hc_keyed_hash_of(texts[k]);

            assert_true(hc_keyed_hash_equals(&one, &other) == (i == k));
        }
    }
}

static void no_text_and_an_empty_text_have_the_same_hash(void **state)
{
    const struct hc_keyed_hash none = {0};
    const struct hc_keyed_hash null = hc_keyed_hash_of(NULL);
    const struct hc_keyed_hash empty = hc_keyed_hash_of("");

    (void)state;
    assert_true(hc_keyed_hash_equals(&none, &null));
    assert_true(hc_keyed_hash_equals(&none, &empty));
}

static void a_hash_contains_no_part_of_its_text(void **state)
{
    static const char text[] = "hf_0123456789abcdef";
    const struct hc_keyed_hash key = hc_keyed_hash_of(text);

    (void)state;
    for (size_t i = 0; i + 4 < sizeof text; i++)
        assert_null(memmem(key.bytes, sizeof key.bytes, text + i, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_have_equal_hashes_and_others_do_not),
        cmocka_unit_test(no_text_and_an_empty_text_have_the_same_hash),
        cmocka_unit_test(a_hash_contains_no_part_of_its_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
