/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a caller is remembered under the hash of its credential until its end, in
 * a bounded memory, which gives up what was used least recently.
 */
#include <test.h>

#include <server/caller_memory.h>

#include <string.h>

enum { NOW_S = 1000, END_S = 2000 };

struct fixture {
    struct hc_caller_memory *memory;
    struct hc_error err;
};

static int memory_set_up(void **state)
{
    static struct fixture f;

    f.memory = hc_caller_memory_new(&f.err);
    assert_non_null(f.memory);
    *state = &f;
    return 0;
}

static int memory_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_caller_memory_free(f->memory);
    return 0;
}

/* A hash of the set `set`; those of other numbers are others of the same set. */
static struct hc_credential_hash hash_of(uint32_t set, unsigned char number)
{
    struct hc_credential_hash hash = {{number}};

    memcpy(hash.bytes + sizeof hash.bytes - sizeof set, &set, sizeof set);
    return hash;
}

static void keep(struct fixture *f, uint32_t set, unsigned char number, int64_t end_s)
{
    const struct hc_credential_hash hash = hash_of(set, number);
    const char name[] = {(char)('a' + number), '\0'};
    HC_AUTO(hc_caller) *caller = hc_caller_new(HC_CALLER_TOKEN, name, NULL, 0, &f->err);

    assert_non_null(caller);
    hc_caller_memory_keep(f->memory, &hash, caller, end_s);
}

static bool is_remembered(struct fixture *f, uint32_t set, unsigned char number,
                          int64_t now_s)
{
    const struct hc_credential_hash hash = hash_of(set, number);
    HC_AUTO(hc_caller) *caller = hc_caller_memory_recall(f->memory, &hash, now_s);

    if (caller)
        assert_int_equal(caller->name[0], 'a' + number);
    return caller;
}

static void a_caller_is_remembered_until_its_end(void **state)
{
    struct fixture *f = *state;

    assert_false(is_remembered(f, 7, 1, NOW_S));
    keep(f, 7, 1, END_S);
    assert_true(is_remembered(f, 7, 1, END_S - 1));
    assert_false(is_remembered(f, 7, 1, END_S));
    assert_false(is_remembered(f, 7, 1, NOW_S)); /* gone for good */
}

static void a_hash_that_differs_in_one_byte_is_another(void **state)
{
    struct fixture *f = *state;

    keep(f, 7, 1, END_S);
    assert_false(is_remembered(f, 7, 2, NOW_S));
    assert_false(is_remembered(f, 8, 1, NOW_S));
}

static void the_least_recently_used_gives_way(void **state)
{
    struct fixture *f = *state;

    for (unsigned char number = 0; number < 4; number++)
        keep(f, 7, number, END_S);
    assert_true(is_remembered(f, 7, 0, NOW_S));
    keep(f, 7, 4, END_S);
    assert_true(is_remembered(f, 7, 0, NOW_S));
    assert_false(is_remembered(f, 7, 1, NOW_S));
    assert_true(is_remembered(f, 7, 4, NOW_S));
}

static void to_keep_a_hash_again_replaces_it(void **state)
{
    struct fixture *f = *state;

    for (unsigned char number = 0; number < 4; number++)
        keep(f, 7, number, END_S);
    keep(f, 7, 2, END_S + 10);
    assert_true(is_remembered(f, 7, 2, END_S + 9));
    for (unsigned char number = 0; number < 4; number++)
        assert_true(is_remembered(f, 7, number, NOW_S));
}

static void all_can_be_forgotten(void **state)
{
    struct fixture *f = *state;

    for (uint32_t set = 0; set < 2 * HC_CALLER_MEMORY_MAX; set++)
        keep(f, set, 1, END_S);
    hc_caller_memory_forget_all(f->memory);
    for (uint32_t set = 0; set < 2 * HC_CALLER_MEMORY_MAX; set++)
        assert_false(is_remembered(f, set, 1, NOW_S));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, memory_set_up, memory_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_caller_is_remembered_until_its_end),
        TEST(a_hash_that_differs_in_one_byte_is_another),
        TEST(the_least_recently_used_gives_way),
        TEST(to_keep_a_hash_again_replaces_it),
        TEST(all_can_be_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
