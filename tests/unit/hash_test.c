/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: an etag tells which hash it is, and the hashes are git's and sha256sum's. A
 * keyed hash tells texts apart and shows nothing of them.
 */
#include "cache_fixture.h"

#include <string.h>

static void assert_digest(enum hc_digest_kind kind, const char *text, size_t step,
                          const char *expected)
{
    struct hc_error err;
    size_t size = strlen(text);
    char hex[HC_DIGEST_HEX_MAX + 1];
    struct hc_digest *digest = hc_digest_new(kind, size, &err);

    assert_non_null(digest);
    for (size_t i = 0; i < size; i += step) {
        size_t count = size - i < step ? size - i : step;

        assert_int_equal(hc_digest_update(digest, text + i, count, &err), 0);
    }
    assert_int_equal(hc_digest_finish(digest, hex, &err), 0);
    assert_string_equal(hex, expected);
    hc_digest_free(digest);
}

static void the_length_of_an_etag_tells_its_hash(void **state)
{
    (void)state;
    assert_int_equal(hc_digest_kind_of(HELLO_GIT), HC_DIGEST_GIT_BLOB);
    assert_int_equal(hc_digest_kind_of(HELLO_SHA256), HC_DIGEST_SHA256);
    assert_int_equal(hc_digest_kind_of("abc-gzip"), HC_DIGEST_NONE);
    assert_int_equal(hc_digest_kind_of("B6FC4C620B67D95F953A5C1C1230AAAB5DB5A1B0"),
                     HC_DIGEST_NONE);
}

static void a_git_blob_is_hashed_with_its_header(void **state)
{
    (void)state;
    assert_digest(HC_DIGEST_GIT_BLOB, "hello", 5, HELLO_GIT);
    assert_digest(HC_DIGEST_GIT_BLOB, "", 1, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
}

static void the_pieces_in_which_bytes_come_do_not_matter(void **state)
{
    (void)state;
    assert_digest(HC_DIGEST_SHA256, "hello", 5, HELLO_SHA256);
    assert_digest(HC_DIGEST_SHA256, "hello", 1, HELLO_SHA256);
    assert_digest(HC_DIGEST_GIT_BLOB, "hello", 2, HELLO_GIT);
}

static void the_hash_of_an_empty_file_is_known(void **state)
{
    (void)state;
    assert_digest(HC_DIGEST_GIT_BLOB, "", 0, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    assert_true(hc_digest_is_of_empty_file("e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"));
    assert_true(hc_digest_is_of_empty_file(
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
    assert_false(hc_digest_is_of_empty_file("e69de29bb2d1d6434b8b29ae775ad8c2e48c5390"));
    assert_false(hc_digest_is_of_empty_file(""));
}

static void an_etag_that_is_no_hash_has_no_digest(void **state)
{
    (void)state;
    assert_digest(HC_DIGEST_NONE, "hello", 5, "");
}

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
        cmocka_unit_test(the_length_of_an_etag_tells_its_hash),
        cmocka_unit_test(a_git_blob_is_hashed_with_its_header),
        cmocka_unit_test(the_pieces_in_which_bytes_come_do_not_matter),
        cmocka_unit_test(the_hash_of_an_empty_file_is_known),
        cmocka_unit_test(an_etag_that_is_no_hash_has_no_digest),
        cmocka_unit_test(equal_texts_have_equal_hashes_and_others_do_not),
        cmocka_unit_test(no_text_and_an_empty_text_have_the_same_hash),
        cmocka_unit_test(a_hash_contains_no_part_of_its_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
