/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: also where no lock keeps them apart, one of many goes on with what an earlier
 * transfer left, whoever dies in between; and who stood still is followed by one only.
 */
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/cancellation.h>
#include <base/text.h>
#include <claim/claim.h>

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

enum {
    OTHER_UID = 65534,
    MIB = 1024 * 1024,
    SIZE = 4 * MIB,
    HAS = 2 * MIB,
    MANY = 8,
    ROUNDS = 30
};

static char *content; /* HAS bytes of text */

static int make_content(void **state)
{
    (void)state;
    content = calloc(1, HAS + 1);
    if (!content)
        return -1;
    memset(content, 'x', HAS);
    return 0;
}

static int free_content(void **state)
{
    (void)state;
    free(content);
    return 0;
}

/* A claim with HAS bytes; of nobody any more, or of another host that lives. */
static void claim_of(struct fixture *f, const char *owner)
{
    char text[512];

    assert_true(hc_format(text, sizeof text,
                          "%s\nstart=1\nincomplete=" INCOMPLETE
                          "\nsize=%d\nbytes=%d\nranges=0-%d\n",
                          owner, SIZE, HAS, HAS) > 0);
    temp_dir_write(f->dir, CLAIM, text);
    temp_dir_write(f->dir, FOLDER "/blobs/" INCOMPLETE, content);
}

#define NOBODY "host=\npid=0"
#define ELSEWHERE "host=elsewhere.invalid\npid=1"

/* The bytes it begins with are added; NULL when somebody else is at it. */
static struct hc_ingest *begin(struct fixture *f, const char *stuck, uint64_t *inherited)
{
    const struct hc_ingest_request plan = {.repo = &f->repo,
                                           .etag = HELLO_GIT,
                                           .size = SIZE,
                                           .stuck = stuck};
    struct hc_ingest *ingest = NULL;
    struct hc_error err;

    if (hc_ingest_begin(f->cache, &plan, &ingest, &err) != 1)
        return NULL;
    *inherited += hc_ingest_resumed_bytes(ingest);
    return ingest;
}

struct follower {
    struct fixture *f;
    const char *stuck;
    pthread_barrier_t *start;
    pthread_t thread;
    struct hc_ingest *ingest;
    uint64_t inherited;
};

static void *follow(void *argument)
{
    struct follower *follower = argument;

    (void)pthread_barrier_wait(follower->start);
    follower->ingest = begin(follower->f, follower->stuck, &follower->inherited);
    return NULL;
}

/* MANY at once; how many got it, and with how many bytes. */
static unsigned race(struct fixture *f, const char *stuck, uint64_t *inherited)
{
    struct follower followers[MANY];
    pthread_barrier_t start;
    unsigned count = 0;

    *inherited = 0;
    assert_int_equal(pthread_barrier_init(&start, NULL, MANY), 0);
    for (int i = 0; i < MANY; i++) {
        followers[i] = (struct follower){.f = f, .stuck = stuck, .start = &start};
        assert_int_equal(pthread_create(&followers[i].thread, NULL, follow,
                                        &followers[i]),
                         0);
    }
    for (int i = 0; i < MANY; i++)
        assert_int_equal(pthread_join(followers[i].thread, NULL), 0);
    for (int i = 0; i < MANY; i++) {
        count += followers[i].ingest != NULL;
        *inherited += followers[i].inherited;
    }
    for (int i = 0; i < MANY; i++) {
        if (followers[i].ingest)
            (void)hc_ingest_restart(followers[i].ingest, &f->err); /* leaves nothing */
        hc_ingest_drop(followers[i].ingest);
    }
    assert_int_equal(pthread_barrier_destroy(&start), 0);
    return count;
}

static void of_many_one_goes_on_with_what_was_left(void **state)
{
    struct fixture *f = *state;
    uint64_t inherited;

    for (int i = 0; i < ROUNDS; i++) {
        claim_of(f, NOBODY);
        assert_int_equal(race(f, NULL, &inherited), 1);
        assert_int_equal(inherited, HAS);
        assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 0);
        assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
    }
}

/* Its owner may have it open, and write to it when it was hashed. Only root can test it. */
static void another_users_partial_file_is_copied(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);
    struct stat theirs, ours;
    uint64_t inherited = 0;

    if (geteuid() != 0)
        skip();
    claim_of(f, NOBODY);
    assert_int_equal(fchownat(root, FOLDER "/blobs/" INCOMPLETE, OTHER_UID, (gid_t)-1, 0),
                     0);
    assert_int_equal(fstatat(root, FOLDER "/blobs/" INCOMPLETE, &theirs, 0), 0);
    {
        HC_AUTO(hc_ingest) *ingest = begin(f, NULL, &inherited);
        struct hc_claim_record record;
        char path[PATH_MAX];

        assert_non_null(ingest);
        assert_int_equal(inherited, HAS);
        assert_int_equal(hc_claim_record_find(root, FOLDER, HELLO_GIT, &record), 1);
        assert_true(hc_format(path, sizeof path, FOLDER "/blobs/%s", record.partial) > 0);
        assert_int_equal(fstatat(root, path, &ours, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(ours.st_ino != theirs.st_ino);
        assert_int_equal(ours.st_uid, geteuid());
        assert_false(temp_dir_has(f->dir, FOLDER "/blobs/" INCOMPLETE));
    }
}

static void of_many_one_follows_who_stood_still(void **state)
{
    struct fixture *f = *state;
    uint64_t inherited;

    for (int i = 0; i < ROUNDS; i++) {
        claim_of(f, ELSEWHERE);
        assert_int_equal(race(f, INCOMPLETE, &inherited), 1);
        assert_int_equal(inherited, HAS);
        assert_int_equal(unlinkat(hc_cache_fd(f->cache), CLAIM HEX, 0), 0);
    }
}

static void who_follows_is_not_taken_for_the_one_before(void **state)
{
    struct fixture *f = *state;
    uint64_t inherited = 0;
    HC_AUTO(hc_ingest) *first = NULL;

    claim_of(f, ELSEWHERE);
    assert_null(begin(f, NULL, &inherited));
    assert_null(begin(f, HELLO_GIT ".76543210.incomplete", &inherited));
    first = begin(f, INCOMPLETE, &inherited);
    assert_non_null(first);
    assert_null(begin(f, INCOMPLETE, &inherited));
}

/* link(2) has been called, and rename(2) has not. */
static void who_dies_of_it_is_in_nobodys_way_for_long(void **state)
{
    const struct timespec moment = {.tv_nsec = 50000000};
    struct fixture *f = *state;
    int64_t give_up = hc_monotonic_ms() + 30000;
    int root = hc_cache_fd(f->cache);
    struct hc_ingest *ingest = NULL;
    uint64_t inherited = 0;

    claim_of(f, NOBODY);
    assert_int_equal(linkat(root, CLAIM, root, CLAIM HEX, 0), 0);
    assert_null(begin(f, NULL, &inherited));
    while (!ingest) {
        assert_true(hc_monotonic_ms() < give_up);
        (void)nanosleep(&moment, NULL);
        ingest = begin(f, NULL, &inherited);
    }
    assert_int_equal(inherited, HAS);
    hc_ingest_drop(ingest);
}

/* The same, and rename(2) has been called, but the file has its old name still. */
static void what_is_to_be_followed_is_not_swept_with_the_tomb(void **state)
{
    struct fixture *f = *state;
    int root = hc_cache_fd(f->cache);
    uint64_t inherited = 0;
    struct hc_ingest *ingest;
    char text[512];

    claim_of(f, NOBODY);
    assert_int_equal(renameat(root, CLAIM, root, CLAIM HEX), 0);
    assert_true(hc_format(text, sizeof text,
                          NOBODY "\nstart=1\nincomplete=" HELLO_GIT
                                 ".76543210.incomplete\nprevious=" INCOMPLETE
                                 "\nsize=%d\nbytes=%d\nranges=0-%d\n",
                          SIZE, HAS, HAS) > 0);
    temp_dir_write(f->dir, CLAIM, text);
    assert_int_equal(hc_claim_sweep(f->cache, hc_volume_now_ms(f->cache)), 0);
    assert_false(temp_dir_has(f->dir, CLAIM HEX));
    ingest = begin(f, NULL, &inherited);
    assert_non_null(ingest);
    assert_int_equal(inherited, HAS);
    hc_ingest_drop(ingest);
}

static void who_was_followed_leaves_nothing_that_nobody_finds(void **state)
{
    struct fixture *f = *state;
    struct hc_error err;
    HC_AUTO(hc_ingest) *one = begin_ingest(f->cache, &f->repo, HELLO_GIT, SIZE, &err);
    int root = hc_cache_fd(f->cache);

    assert_non_null(one);
    assert_int_equal(hc_ingest_write(one, 0, content, HAS, &f->err), 0);
    assert_int_equal(unlinkat(root, CLAIM, 0), 0); /* as whoever thinks it is dead */
    hc_ingest_drop(one);
    one = NULL;
    assert_int_equal(temp_dir_count(f->dir, FOLDER "/blobs"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(of_many_one_goes_on_with_what_was_left),
        WITH_CACHE(another_users_partial_file_is_copied),
        WITH_CACHE(of_many_one_follows_who_stood_still),
        WITH_CACHE(who_follows_is_not_taken_for_the_one_before),
        WITH_CACHE(who_dies_of_it_is_in_nobodys_way_for_long),
        WITH_CACHE(what_is_to_be_followed_is_not_swept_with_the_tomb),
        WITH_CACHE(who_was_followed_leaves_nothing_that_nobody_finds),
    };

    return cmocka_run_group_tests(tests, make_content, free_content);
}
