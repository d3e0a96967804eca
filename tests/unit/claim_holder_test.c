/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: whether somebody else who fetches a blob still moves is told by what he does,
 * not by what others left lying about.
 */
#include "blob_id.h"
#include "cache_fixture.h"

#include <claim/claim_holder.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define BLOBS "models--org--name/blobs/"
#define CLAIM ".hubcache/transfers/models--org--name/" HELLO_GIT
#define HUBCACHE_PARTIAL HELLO_GIT ".01234567.incomplete"
#define OTHER_CLIENTS_PARTIAL HELLO_GIT ".incomplete"

enum { STEP_MS = 1000, STALLED_AFTER_MS = 10000 };

static void write_holders_claim(struct fixture *f, const char *owner)
{
    char text[512];

    (void)snprintf(text, sizeof text,
                   "%s\nstart=1\nincomplete=" HUBCACHE_PARTIAL
                   "\nsize=9\nbytes=2\nranges=0-2\n",
                   owner);
    temp_dir_write(f->dir, CLAIM, text);
    temp_dir_write(f->dir, BLOBS HUBCACHE_PARTIAL, "xx");
}

static void begin_polling(struct fixture *f, struct hc_claim_holder *holder)
{
    hc_claim_holder_init(holder, f->cache, BLOB_OF(f, HELLO_GIT), 0);
    assert_true(hc_claim_holder_poll(holder, 0));
    assert_false(hc_claim_holder_poll(holder, 1));
    assert_true(hc_claim_holder_poll(holder, STEP_MS / 2));
}

static void a_held_claim_is_polled(void **state)
{
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=elsewhere.invalid\npid=1");
    begin_polling(f, &holder);
    assert_true(holder.has_claim);
    assert_string_equal(holder.partial, HUBCACHE_PARTIAL);
    assert_int_equal(holder.bytes, 2);
    assert_false(hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, STALLED_AFTER_MS));
    assert_true(
        hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, 2 * STALLED_AFTER_MS));
}

/* hubcache died, and then a Python client took the lock and is at work. */
static void a_claim_whose_owner_is_gone_does_not_count(void **state)
{
    char bytes[] = "123456789";
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=\npid=0");
    begin_polling(f, &holder);
    for (int i = 1; i < 20; i++) {
        bytes[i % 9] = '\0';
        temp_dir_write(f->dir, BLOBS OTHER_CLIENTS_PARTIAL, bytes);
        bytes[i % 9] = 'x';
        assert_true(hc_claim_holder_poll(&holder, (int64_t)i * STEP_MS));
        assert_false(holder.has_claim);
        assert_true(holder.is_present);
        assert_false(
            hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, (int64_t)i * STEP_MS));
    }
}

/* The owner's host cannot be asked; a client that writes beside him is at work. */
static void a_client_that_writes_beside_a_claim_counts_as_progress(void **state)
{
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=elsewhere.invalid\npid=1");
    begin_polling(f, &holder);
    temp_dir_write(f->dir, BLOBS OTHER_CLIENTS_PARTIAL, "1234");
    assert_false(hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, STALLED_AFTER_MS));
}

/* Who has the lock, and finds a claim in the way. */
static void with_only_claims_other_clients_files_do_not_count(void **state)
{
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=\npid=0");
    hc_claim_holder_init(&holder, f->cache, BLOB_OF(f, HELLO_GIT), 0);
    holder.only_claims = true;
    assert_true(hc_claim_holder_poll(&holder, 0));
    assert_true(holder.has_claim);
    temp_dir_write(f->dir, BLOBS OTHER_CLIENTS_PARTIAL, "1234");
    assert_true(hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, STALLED_AFTER_MS));
}

static void a_holder_is_read_again_before_it_counts_as_stalled(void **state)
{
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=elsewhere.invalid\npid=1");
    begin_polling(f, &holder);
    write_holders_claim(f, "host=elsewhere.invalid\npid=222");
    age_file(f, CLAIM, 5);
    assert_false(hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, STALLED_AFTER_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_held_claim_is_polled),
        WITH_CACHE(a_claim_whose_owner_is_gone_does_not_count),
        WITH_CACHE(a_client_that_writes_beside_a_claim_counts_as_progress),
        WITH_CACHE(with_only_claims_other_clients_files_do_not_count),
        WITH_CACHE(a_holder_is_read_again_before_it_counts_as_stalled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
