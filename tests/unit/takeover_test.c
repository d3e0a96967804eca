/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: also on a volume without working locks, one process of many takes over an
 * abandoned or stalled claim with its bytes, whichever process dies in between; and a
 * holder has stalled only when neither its claim nor any partial file has changed.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/cancellation.h>
#include <base/text.h>
#include <claim/claim.h>
#include <claim/sweep.h>
#include <claim/takeover.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define FOLDER "models--org--name"
#define CLAIM ".hubcache/transfers/" FOLDER "/" HELLO_GIT
#define HEX ".01234567"
#define INCOMPLETE HELLO_GIT HEX ".incomplete"
#define OTHER_CLIENTS_PARTIAL HELLO_GIT ".incomplete"

enum {
    OTHER_UID = 65534,
    MIB = 1024 * 1024,
    SIZE = 4 * MIB,
    HAS = 2 * MIB,
    MANY = 8,
    ROUNDS = 30,
    STEP_MS = 1000,
    STALLED_AFTER_MS = 10000
};

static char *content; /* HAS bytes of text */

static int setup_partial_content(void **state)
{
    (void)state;
    content = calloc(1, HAS + 1);
    if (!content)
        return -1;
    memset(content, 'x', HAS);
    return 0;
}

static int teardown_partial_content(void **state)
{
    (void)state;
    free(content);
    return 0;
}

/* A claim with HAS bytes, which its owner has abandoned or another host holds. */
static void write_earlier_claim(struct fixture *f, const char *owner)
{
    char text[512];

    assert_true(hc_format(text, sizeof text,
                          "%s\nstart=1\nincomplete=" INCOMPLETE
                          "\nsize=%d\nbytes=%d\nranges=0-%d\n",
                          owner, SIZE, HAS, HAS) > 0);
    temp_dir_write(f->dir, CLAIM, text);
    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, content);
}

#define ABANDONED "host=\npid=0"
#define ANOTHER_HOST "host=elsewhere.invalid\npid=1"

/* Adds the bytes it begins with to `reused`. NULL: another process holds the claim. */
static struct hc_ingest *takeover_begin_ingest(struct fixture *f, const char *stuck,
                                               uint64_t *reused)
{
    const struct hc_blob_request request = {.blob = *BLOB_OF(f, HELLO_GIT), .size = SIZE};
    const struct hc_claim_options options = {.stalled = stuck};
    struct hc_ingest *ingest = NULL;
    struct hc_error err;

    if (hc_ingest_begin(f->cache, &request, &options, &ingest, &err) != 1)
        return NULL;
    *reused += hc_ingest_resumed_bytes(ingest);
    return ingest;
}

struct contender {
    struct fixture *f;
    const char *stuck;
    pthread_barrier_t *start;
    pthread_t thread;
    struct hc_ingest *ingest;
    uint64_t reused;
};

static void *contender_thread(void *argument)
{
    struct contender *contender = argument;

    (void)pthread_barrier_wait(contender->start);
    contender->ingest =
        takeover_begin_ingest(contender->f, contender->stuck, &contender->reused);
    return NULL;
}

/* MANY begin at once: how many of them succeed, and with how many bytes. */
static unsigned race_contenders(struct fixture *f, const char *stuck, uint64_t *reused)
{
    struct contender contenders[MANY];
    pthread_barrier_t start;
    unsigned count = 0;

    *reused = 0;
    assert_int_equal(pthread_barrier_init(&start, NULL, MANY), 0);
    for (int i = 0; i < MANY; i++) {
        contenders[i] = (struct contender){.f = f, .stuck = stuck, .start = &start};
        assert_int_equal(pthread_create(&contenders[i].thread, NULL, contender_thread,
                                        &contenders[i]),
                         0);
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pthread_join(contenders[i].thread, NULL), 0);
    for (int i = 0; i < MANY; i++) {
        count += contenders[i].ingest != NULL;
        *reused += contenders[i].reused;
    }
    for (int i = 0; i < MANY; i++) {
        if (contenders[i].ingest)
            (void)hc_ingest_restart(contenders[i].ingest,
                                    &f->err); /* so that the drop leaves nothing */
        hc_ingest_drop(contenders[i].ingest);
    }
    assert_int_equal(pthread_barrier_destroy(&start), 0);
    return count;
}

static void one_of_many_takes_over_an_abandoned_partial_file(void **state)
{
    struct fixture *f = *state;
    uint64_t reused;

    for (int i = 0; i < ROUNDS; i++) {
        write_earlier_claim(f, ABANDONED);
        assert_int_equal(race_contenders(f, NULL, &reused), 1);
        assert_int_equal(reused, HAS);
        assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 0);
        assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
    }
}

/* Its owner may have it open, and write to it after it was hashed. Needs root. */
static void another_users_partial_file_is_copied(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);
    struct stat theirs, ours;
    uint64_t reused = 0;

    if (geteuid() != 0)
        skip();
    write_earlier_claim(f, ABANDONED);
    assert_int_equal(fchownat(root, FOLDER "/blobs/" INCOMPLETE, OTHER_UID, (gid_t)-1, 0),
                     0);
    assert_int_equal(fstatat(root, FOLDER "/blobs/" INCOMPLETE, &theirs, 0), 0);
    {
        HC_AUTO(hc_ingest) *ingest = takeover_begin_ingest(f, NULL, &reused);
        struct hc_claim_record record;
        char path[PATH_MAX];

        assert_non_null(ingest);
        assert_int_equal(reused, HAS);
        assert_int_equal(hc_claim_record_find(root, BLOB_OF(f, HELLO_GIT), &record), 1);
        assert_true(hc_format(path, sizeof path, FOLDER "/blobs/%s", record.partial) > 0);
        assert_int_equal(fstatat(root, path, &ours, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(ours.st_ino != theirs.st_ino);
        assert_int_equal(ours.st_uid, geteuid());
        assert_false(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
    }
}

static void one_of_many_takes_over_from_a_stalled_holder(void **state)
{
    struct fixture *f = *state;
    uint64_t reused;

    for (int i = 0; i < ROUNDS; i++) {
        write_earlier_claim(f, ANOTHER_HOST);
        assert_int_equal(race_contenders(f, INCOMPLETE, &reused), 1);
        assert_int_equal(reused, HAS);
        assert_int_equal(unlinkat(hc_cache_fd(f->cache), CLAIM HEX, 0), 0);
    }
}

static void a_successor_is_not_taken_for_the_stalled_holder(void **state)
{
    struct fixture *f = *state;
    uint64_t reused = 0;
    HC_AUTO(hc_ingest) *first = NULL;

    write_earlier_claim(f, ANOTHER_HOST);
    assert_null(takeover_begin_ingest(f, NULL, &reused));
    assert_null(takeover_begin_ingest(f, HELLO_GIT ".76543210.incomplete", &reused));
    first = takeover_begin_ingest(f, INCOMPLETE, &reused);
    assert_non_null(first);
    assert_null(takeover_begin_ingest(f, INCOMPLETE, &reused));
}

/* The successor died after link(2) and before rename(2). */
static void a_crashed_takeover_is_repeated_after_a_while(void **state)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    struct fixture *f = *state;
    int64_t give_up = hc_monotonic_ms() + 30000;
    int root = hc_cache_fd(f->cache);
    struct hc_ingest *ingest = NULL;
    uint64_t reused = 0;

    write_earlier_claim(f, ABANDONED);
    assert_int_equal(linkat(root, CLAIM, root, CLAIM HEX, 0), 0);
    assert_null(takeover_begin_ingest(f, NULL, &reused));
    while (!ingest) {
        assert_true(hc_monotonic_ms() < give_up);
        (void)nanosleep(&moment, NULL);
        ingest = takeover_begin_ingest(f, NULL, &reused);
    }
    assert_int_equal(reused, HAS);
    hc_ingest_drop(ingest);
}

/* It died after rename(2), but the partial file still has its earlier name. */
static void the_sweep_keeps_the_partial_file_of_an_unfinished_takeover(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);
    uint64_t reused = 0;
    struct hc_ingest *ingest;
    char text[512];

    write_earlier_claim(f, ABANDONED);
    assert_int_equal(renameat(root, CLAIM, root, CLAIM HEX), 0);
    assert_true(hc_format(text, sizeof text,
                          ABANDONED "\nstart=1\nincomplete=" HELLO_GIT
                                    ".76543210.incomplete\nprevious=" INCOMPLETE
                                    "\nsize=%d\nbytes=%d\nranges=0-%d\n",
                          SIZE, HAS, HAS) > 0);
    temp_dir_write(f->dir, CLAIM, text);
    assert_int_equal(hc_claim_sweep(f->cache, hc_volume_now_ms(f->cache)), 0);
    assert_false(temp_dir_has(f->dir, CLAIM HEX));
    ingest = takeover_begin_ingest(f, NULL, &reused);
    assert_non_null(ingest);
    assert_int_equal(reused, HAS);
    hc_ingest_drop(ingest);
}

static void an_owner_without_its_claim_leaves_no_partial_file(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;
    HC_AUTO(hc_ingest) *one = begin_ingest(f->cache, BLOB_OF(f, HELLO_GIT), SIZE, &err);
    int root = hc_cache_fd(f->cache);

    assert_non_null(one);
    assert_int_equal(hc_ingest_write(one, 0, content, HAS, &f->err), 0);
    assert_int_equal(unlinkat(root, CLAIM, 0),
                     0); /* as by a process that takes it for dead */
    hc_ingest_drop(one);
    one = NULL;
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 0);
}

static void write_holders_claim(struct fixture *f, const char *owner)
{
    char text[512];

    (void)snprintf(text, sizeof text,
                   "%s\nstart=1\nincomplete=" INCOMPLETE
                   "\nsize=9\nbytes=2\nranges=0-2\n",
                   owner);
    temp_dir_write(f->dir, CLAIM, text);
    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, "xx");
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
    assert_string_equal(holder.partial, INCOMPLETE);
    assert_int_equal(holder.bytes, 2);
    assert_false(hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, STALLED_AFTER_MS));
    assert_true(hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS,
                                           2 * (int64_t)STALLED_AFTER_MS));
}

/* hubcache died; then a Python client took the lock, and writes. */
static void a_claim_whose_owner_is_gone_does_not_count(void **state)
{
    char bytes[] = "123456789";
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=\npid=0");
    begin_polling(f, &holder);
    for (int i = 1; i < 20; i++) {
        bytes[i % 9] = '\0';
        temp_dir_write(f->dir, FOLDER "/blobs/" OTHER_CLIENTS_PARTIAL, bytes);
        bytes[i % 9] = 'x';
        assert_true(hc_claim_holder_poll(&holder, (int64_t)i * STEP_MS));
        assert_false(holder.has_claim);
        assert_true(holder.is_present);
        assert_false(
            hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, (int64_t)i * STEP_MS));
    }
}

/* The claim's owner is on another host, so it may live; another client writes as well. */
static void a_client_that_writes_beside_a_claim_counts_as_progress(void **state)
{
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=elsewhere.invalid\npid=1");
    begin_polling(f, &holder);
    temp_dir_write(f->dir, FOLDER "/blobs/" OTHER_CLIENTS_PARTIAL, "1234");
    assert_false(hc_claim_holder_is_stalled(&holder, STALLED_AFTER_MS, STALLED_AFTER_MS));
}

/* As for a process that has the lock, and finds a claim in place. */
static void with_only_claims_other_clients_files_do_not_count(void **state)
{
    struct fixture *f = *state;
    struct hc_claim_holder holder;

    write_holders_claim(f, "host=\npid=0");
    hc_claim_holder_init(&holder, f->cache, BLOB_OF(f, HELLO_GIT), 0);
    holder.only_claims = true;
    assert_true(hc_claim_holder_poll(&holder, 0));
    assert_true(holder.has_claim);
    temp_dir_write(f->dir, FOLDER "/blobs/" OTHER_CLIENTS_PARTIAL, "1234");
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
        WITH_CACHE(one_of_many_takes_over_an_abandoned_partial_file),
        WITH_CACHE(another_users_partial_file_is_copied),
        WITH_CACHE(one_of_many_takes_over_from_a_stalled_holder),
        WITH_CACHE(a_successor_is_not_taken_for_the_stalled_holder),
        WITH_CACHE(a_crashed_takeover_is_repeated_after_a_while),
        WITH_CACHE(the_sweep_keeps_the_partial_file_of_an_unfinished_takeover),
        WITH_CACHE(an_owner_without_its_claim_leaves_no_partial_file),
        WITH_CACHE(a_held_claim_is_polled),
        WITH_CACHE(a_claim_whose_owner_is_gone_does_not_count),
        WITH_CACHE(a_client_that_writes_beside_a_claim_counts_as_progress),
        WITH_CACHE(with_only_claims_other_clients_files_do_not_count),
        WITH_CACHE(a_holder_is_read_again_before_it_counts_as_stalled),
    };

    return cmocka_run_group_tests(tests, setup_partial_content, teardown_partial_content);
}
