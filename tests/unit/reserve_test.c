/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: without room nothing is begun; room that one file, or one fetch of many, was
 * promised is not promised to another, whoever asks; what it has used, or leaves, is free
 * again.
 */
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/cancellation.h>
#include <base/text.h>
#include <claim/claim.h>
#include <claim/claims.h>
#include <claim/reserve.h>

#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, ROOM = 100 * MIB };

static uint64_t free_bytes; /* that the volume claims to have */

int __real_fstatvfs(int fd, struct statvfs *volume);
int __wrap_fstatvfs(int fd, struct statvfs *volume);

int __wrap_fstatvfs(int fd, struct statvfs *volume)
{
    int result = __real_fstatvfs(fd, volume);

    volume->f_frsize = 1;
    volume->f_bavail = free_bytes;
    return result;
}

static int make_room(void **state)
{
    free_bytes = ROOM;
    return make_cache(state);
}

/* For a repo of that name; NULL when there is no room. */
static struct hc_reserve *reserve(struct fixture *f, const char *id, uint64_t bytes)
{
    struct hc_reserve *reserve = NULL;
    struct hc_repo repo;

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, id, &f->err), 0);
    if (hc_reserve_make(f->cache, &repo, bytes, &reserve, &f->err) == 0)
        return reserve;
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    return NULL;
}

static void more_than_there_is_is_refused_with_both_figures(void **state)
{
    struct fixture *f = *state;

    assert_null(reserve(f, "org/one", ROOM + 1));
    assert_int_equal(f->err.needed_bytes, ROOM + 1);
    assert_int_equal(f->err.free_bytes, ROOM);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static struct hc_ingest *begin(struct fixture *f, const char *etag, uint64_t size)
{
    return begin_ingest(f->cache, &f->repo, etag, size, &f->err);
}

static void without_room_nothing_is_begun(void **state)
{
    struct fixture *f = *state;

    assert_null(begin(f, HELLO_GIT, ROOM + 1));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.needed_bytes, ROOM + 1);
    assert_int_equal(f->err.free_bytes, ROOM);
    assert_int_equal(temp_dir_count(f->dir, f->repo.folder), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void room_is_kept_for_those_who_were_first(void **state)
{
    static const char bytes[2 * MIB];
    struct fixture *f = *state;
    HC_AUTO(hc_ingest) *first = begin(f, "first", 60 * (uint64_t)MIB);
    HC_AUTO(hc_ingest) *second = NULL;

    assert_non_null(first);
    assert_null(begin(f, "second", 41 * (uint64_t)MIB));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.needed_bytes, 41 * MIB);
    assert_int_equal(f->err.free_bytes, 40 * MIB);
    assert_int_equal(hc_ingest_write(first, 0, bytes, sizeof bytes, &f->err), 0);
    second = begin(f, "second", 41 * (uint64_t)MIB); /* the first needs less now */
    assert_non_null(second);
}

/* Whose claim is kept until he is known to be dead. */
static void who_is_followed_needs_no_more(void **state)
{
    static const char claim[] =
        "host=elsewhere.invalid\npid=1\nstart=1\nsince=1\nsize="
        "62914560\nbytes=0\nranges=\nincomplete=" HELLO_GIT ".01234567.incomplete\n";
    struct fixture *f = *state;
    HC_AUTO(hc_ingest) *ingest = NULL;

    temp_dir_write(f->dir, ".hubcache/transfers/models--org--name/" HELLO_GIT, claim);
    ingest = take_ingest_over(f->cache, &f->repo, HELLO_GIT, 60 * (uint64_t)MIB);
    assert_non_null(ingest);
    assert_null(begin(f, "other", 41 * (uint64_t)MIB)); /* but others count him */
}

static void what_is_promised_to_one_is_not_promised_to_another(void **state)
{
    struct fixture *f = *state;
    struct hc_reserve *one = reserve(f, "org/one", 60 * (uint64_t)MIB);

    assert_non_null(one);
    assert_null(reserve(f, "org/two", 41 * (uint64_t)MIB));
    assert_int_equal(f->err.free_bytes, 40 * MIB);
    assert_null(begin(f, HELLO_GIT, 41 * (uint64_t)MIB));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    hc_reserve_drop(one);

    one = reserve(f, "org/two", 41 * (uint64_t)MIB);
    assert_non_null(one);
    hc_reserve_drop(one);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void fetches_of_one_repo_share_their_room(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_reserve) *one = reserve(f, f->repo.id, 60 * (uint64_t)MIB);
    HC_AUTO(hc_reserve) *two = reserve(f, f->repo.id, 60 * (uint64_t)MIB);
    struct hc_ingest *ingest = begin(f, HELLO_GIT, 60 * (uint64_t)MIB);

    assert_non_null(one);
    assert_non_null(two);
    assert_non_null(ingest);
    hc_ingest_drop(ingest);
}

static void what_is_used_is_not_promised_any_more(void **state)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    struct fixture *f = *state;
    HC_AUTO(hc_reserve) *one = reserve(f, "org/one", 60 * (uint64_t)MIB);
    struct hc_reserve *two = NULL;
    int64_t give_up = hc_monotonic_ms() + 20000;

    hc_reserve_use(one, 50 * (uint64_t)MIB);
    while (!two) { /* the others are told by the next heartbeat */
        if (hc_monotonic_ms() >= give_up)
            fail_msg("%s", f->err.message);
        (void)nanosleep(&moment, NULL);
        two = reserve(f, "org/two", 90 * (uint64_t)MIB);
    }
    hc_reserve_drop(two);
}

static void little_needs_no_file(void **state)
{
    struct fixture *f = *state;

    assert_null(reserve(f, "org/one", 1000));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
    free_bytes = 999;
    f->err.reason = HC_OK;
    assert_null(reserve(f, "org/one", 1000));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
}

/* Any process of the volume may write a claim, of any size. */
static void what_claims_say_adds_up_and_never_wraps(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];

    for (int i = 1; i <= 3; i++) {
        char text[512];

        assert_true(hc_format(path, sizeof path,
                              ".hubcache/transfers/models--other--%d/snapshot.0000000%d",
                              i, i) > 0);
        assert_true(hc_format(text, sizeof text,
                              "host=elsewhere.invalid\npid=1\nstart=1\n"
                              "incomplete=snapshot.0000000%d\nsince=1\nsize=%s\n",
                              i, "6148914691236517206") > 0); /* (2^64 + 2) / 3 */
        temp_dir_write(f->dir, path, text);
    }
    assert_null(reserve(f, "org/one", 2 * (uint64_t)MIB));
    assert_int_equal(f->err.free_bytes, 0);
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), path, 0), 0);
}

/* Its host is gone, and its clock was ahead. */
static void what_was_promised_in_the_future_is_free(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/transfers/models--other--1/snapshot.00000001",
                   "host=elsewhere.invalid\npid=1\nstart=1\n"
                   "incomplete=snapshot.00000001\nsince=1\nsize=99999999\n");
    assert_null(reserve(f, "org/one", 20 * (uint64_t)MIB));
    assert_int_equal(
        hc_claims_needs(f->cache, "",
                        &(const struct hc_claim_record){.began_us = INT64_MAX},
                        ((int64_t)time(NULL) * 1000) - 2 * HC_HEARTBEAT_TIMEOUT_MS),
        0);
}

static void what_a_dead_process_was_promised_is_free_again(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    struct hc_reserve *two;
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(reserve(f, "org/one", 60 * (uint64_t)MIB) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 1);
    two = reserve(f, "org/two", 90 * (uint64_t)MIB);
    assert_non_null(two);
    hc_reserve_drop(two);
    (void)hc_claim_sweep(f->cache, (int64_t)time(NULL) * 1000);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

#define WITH_ROOM(test) cmocka_unit_test_setup_teardown(test, make_room, remove_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_ROOM(without_room_nothing_is_begun),
        WITH_ROOM(room_is_kept_for_those_who_were_first),
        WITH_ROOM(who_is_followed_needs_no_more),
        WITH_ROOM(more_than_there_is_is_refused_with_both_figures),
        WITH_ROOM(what_is_promised_to_one_is_not_promised_to_another),
        WITH_ROOM(fetches_of_one_repo_share_their_room),
        WITH_ROOM(what_is_used_is_not_promised_any_more),
        WITH_ROOM(little_needs_no_file),
        WITH_ROOM(what_claims_say_adds_up_and_never_wraps),
        WITH_ROOM(what_was_promised_in_the_future_is_free),
        WITH_ROOM(what_a_dead_process_was_promised_is_free_again),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
