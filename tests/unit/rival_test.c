/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whether somebody else who fetches a blob still moves is told by what he does,
 * not by what others left lying about.
 */
#include "cache_fixture.h"

#include <claim/rival.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define BLOBS "models--org--name/blobs/"
#define CLAIM ".hubcache/transfers/models--org--name/" HELLO_GIT
#define OURS HELLO_GIT ".01234567.incomplete"
#define THEIRS HELLO_GIT ".incomplete"

enum { STEP_MS = 1000, PATIENCE_MS = 10000 };

static void claim(struct fixture *f, const char *owner)
{
    char text[512];

    (void)snprintf(text, sizeof text,
                   "%s\nstart=1\nincomplete=" OURS "\nsize=9\nbytes=2\nranges=0-2\n",
                   owner);
    temp_dir_write(f->dir, CLAIM, text);
    temp_dir_write(f->dir, BLOBS OURS, "xx");
}

static void start(struct fixture *f, struct hc_rival *rival)
{
    hc_rival_init(rival, f->cache, &f->repo, HELLO_GIT, 0);
    assert_true(hc_rival_look(rival, 0));
    assert_false(hc_rival_look(rival, 1));
    assert_true(hc_rival_look(rival, STEP_MS / 2));
}

static void a_claim_that_lives_is_watched(void **state)
{
    struct fixture *f = *state;
    struct hc_rival rival;

    claim(f, "host=elsewhere.invalid\npid=1");
    start(f, &rival);
    assert_true(rival.is_claimed);
    assert_string_equal(rival.partial, OURS);
    assert_int_equal(rival.bytes, 2);
    assert_false(hc_rival_is_still(&rival, PATIENCE_MS, PATIENCE_MS));
    assert_true(hc_rival_is_still(&rival, PATIENCE_MS, 2 * PATIENCE_MS));
}

/* hubcache died, and then a Python client took the lock and is at work. */
static void a_claim_that_outlived_its_owner_is_nobodys(void **state)
{
    char bytes[] = "123456789";
    struct fixture *f = *state;
    struct hc_rival rival;

    claim(f, "host=\npid=0");
    start(f, &rival);
    for (int i = 1; i < 20; i++) {
        bytes[i % 9] = '\0';
        temp_dir_write(f->dir, BLOBS THEIRS, bytes);
        bytes[i % 9] = 'x';
        assert_true(hc_rival_look(&rival, (int64_t)i * STEP_MS));
        assert_false(rival.is_claimed);
        assert_true(rival.is_there);
        assert_false(hc_rival_is_still(&rival, PATIENCE_MS, (int64_t)i * STEP_MS));
    }
}

/* The owner's host cannot be asked; a client that writes beside him is at work. */
static void who_writes_beside_a_claim_moves_too(void **state)
{
    struct fixture *f = *state;
    struct hc_rival rival;

    claim(f, "host=elsewhere.invalid\npid=1");
    start(f, &rival);
    temp_dir_write(f->dir, BLOBS THEIRS, "1234");
    assert_false(hc_rival_is_still(&rival, PATIENCE_MS, PATIENCE_MS));
}

/* Who has the lock, and finds a claim in the way. */
static void of_ours_only_the_claim_counts_dead_or_not(void **state)
{
    struct fixture *f = *state;
    struct hc_rival rival;

    claim(f, "host=\npid=0");
    hc_rival_init(&rival, f->cache, &f->repo, HELLO_GIT, 0);
    rival.is_ours = true;
    assert_true(hc_rival_look(&rival, 0));
    assert_true(rival.is_claimed);
    temp_dir_write(f->dir, BLOBS THEIRS, "1234");
    assert_true(hc_rival_is_still(&rival, PATIENCE_MS, PATIENCE_MS));
}

static void it_looks_again_before_it_says_still(void **state)
{
    struct fixture *f = *state;
    struct hc_rival rival;

    claim(f, "host=elsewhere.invalid\npid=1");
    start(f, &rival);
    claim(f, "host=elsewhere.invalid\npid=222");
    age_file(f, CLAIM, 5);
    assert_false(hc_rival_is_still(&rival, PATIENCE_MS, PATIENCE_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_claim_that_lives_is_watched),
        WITH_CACHE(a_claim_that_outlived_its_owner_is_nobodys),
        WITH_CACHE(who_writes_beside_a_claim_moves_too),
        WITH_CACHE(of_ours_only_the_claim_counts_dead_or_not),
        WITH_CACHE(it_looks_again_before_it_says_still),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
