/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a download for which the volume has not enough space is refused before its
 * first byte, after the reclaimers were asked, each by one thread at a time. Space that
 * is reserved for one file, or for one download of many, is not given to another, in any
 * process; what has been used, or is dropped, is no longer reserved. A download that
 * would fit beside what is leased, pinned and kept waits for the rest to go.
 */
#include "blob_id.h"
#include "cache_fixture.h"
#include "cache_helper.h"

#include <base/cancellation.h>
#include <base/free_space.h>
#include <base/text.h>
#include <cache/occupancy.h>
#include <claim/fetching.h>
#include <claim/reservation.h>
#include <claim/sweep.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1024 * 1024, FREE_SPACE = 100 * MIB, CAPACITY = 200 * MIB };

static atomic_uint_least64_t free_bytes; /* that the volume says it has */

int __real_fstatvfs(int fd, struct statvfs *volume);
int __wrap_fstatvfs(int fd, struct statvfs *volume);

int __wrap_fstatvfs(int fd, struct statvfs *volume)
{
    int result = __real_fstatvfs(fd, volume);

    volume->f_frsize = 1;
    volume->f_blocks = CAPACITY;
    volume->f_bavail = atomic_load(&free_bytes);
    return result;
}

/* While a test says what happens during a pause, time goes on by its length at once. */
static void (*during_pause)(void);
static atomic_int_least64_t skipped_ms;

int64_t __real_hc_monotonic_ms(void);
int64_t __wrap_hc_monotonic_ms(void);
int __real_hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                                 struct hc_error *err);
int __wrap_hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                                 struct hc_error *err);

int64_t __wrap_hc_monotonic_ms(void)
{
    return __real_hc_monotonic_ms() + atomic_load(&skipped_ms);
}

int __wrap_hc_cancellation_sleep(struct hc_cancellation *cancellation, int64_t ms,
                                 struct hc_error *err)
{
    if (!during_pause)
        return __real_hc_cancellation_sleep(cancellation, ms, err);
    during_pause();
    (void)atomic_fetch_add(&skipped_ms, ms);
    return hc_cancellation_check(cancellation, err);
}

static int setup_free_space(void **state)
{
    during_pause = NULL;
    atomic_store(&skipped_ms, 0);
    atomic_store(&free_bytes, FREE_SPACE);
    return make_cache(state);
}

/* For a repo of that name; NULL when there is not enough space. */
static struct hc_reservation *reserve_space(struct fixture *f, const char *id,
                                            uint64_t bytes)
{
    struct hc_reservation *reservation = NULL;
    struct hc_repo repo;

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, id, &f->err), 0);
    if (hc_reservation_make(f->cache, &repo, bytes, NULL, &reservation, &f->err) == 0)
        return reservation;
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    return NULL;
}

static void a_reservation_above_the_free_space_is_refused_with_both_figures(void **state)
{
    struct fixture *f = *state;

    assert_null(reserve_space(f, "org/one", FREE_SPACE + 1));
    assert_int_equal(f->err.needed_bytes, FREE_SPACE + 1);
    assert_int_equal(f->err.free_bytes, FREE_SPACE);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static struct hc_ingest *reservation_begin_ingest(struct fixture *f, const char *etag,
                                                  uint64_t size)
{
    return begin_ingest(f->cache, BLOB_OF(f, etag), size, &f->err);
}

static void an_ingest_above_the_free_space_is_refused_before_its_first_byte(void **state)
{
    struct fixture *f = *state;

    assert_null(reservation_begin_ingest(f, HELLO_GIT, FREE_SPACE + 1));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.needed_bytes, FREE_SPACE + 1);
    assert_int_equal(f->err.free_bytes, FREE_SPACE);
    assert_int_equal(temp_dir_count(f->dir, f->repo.folder), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void an_earlier_ingest_keeps_its_space(void **state)
{
    static const char bytes[2 * MIB];
    struct fixture *f = *state;
    HC_AUTO(hc_ingest) *first = reservation_begin_ingest(f, "first", 60 * (uint64_t)MIB);
    HC_AUTO(hc_ingest) *second = NULL;

    assert_non_null(first);
    assert_null(reservation_begin_ingest(f, "second", 41 * (uint64_t)MIB));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.needed_bytes, 41 * MIB);
    assert_int_equal(f->err.free_bytes, 40 * MIB);
    assert_int_equal(hc_ingest_write(first, 0, bytes, sizeof bytes, &f->err), 0);
    second = reservation_begin_ingest(f, "second",
                                      41 * (uint64_t)MIB); /* the first needs less now */
    assert_non_null(second);
}

/* The superseded claim stays until its owner is known to be gone. */
static void a_superseded_claim_of_the_same_blob_reserves_nothing(void **state)
{
    static const char claim[] =
        "host=elsewhere.invalid\npid=1\nstart=1\nsince=1\nsize="
        "62914560\nbytes=0\nranges=\nincomplete=" HELLO_GIT ".01234567.incomplete\n";
    struct fixture *f = *state;
    HC_AUTO(hc_ingest) *ingest = NULL;

    temp_dir_write(f->dir, ".hubcache/transfers/models--org--name/" HELLO_GIT, claim);
    ingest = take_ingest_over(f->cache, BLOB_OF(f, HELLO_GIT), 60 * (uint64_t)MIB);
    assert_non_null(ingest);
    assert_null(
        reservation_begin_ingest(f, "other",
                                 41 * (uint64_t)MIB)); /* another blob counts it */
}

static void space_is_reserved_only_once(void **state)
{
    struct fixture *f = *state;
    struct hc_reservation *one = reserve_space(f, "org/one", 60 * (uint64_t)MIB);

    assert_non_null(one);
    assert_null(reserve_space(f, "org/two", 41 * (uint64_t)MIB));
    assert_int_equal(f->err.free_bytes, 40 * MIB);
    assert_null(reservation_begin_ingest(f, HELLO_GIT, 41 * (uint64_t)MIB));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    hc_reservation_drop(one);

    one = reserve_space(f, "org/two", 41 * (uint64_t)MIB);
    assert_non_null(one);
    hc_reservation_drop(one);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void fetches_of_one_repo_share_their_space(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_reservation) *one = reserve_space(f, f->repo.id, 60 * (uint64_t)MIB);
    HC_AUTO(hc_reservation) *two = reserve_space(f, f->repo.id, 60 * (uint64_t)MIB);
    struct hc_ingest *ingest = reservation_begin_ingest(f, HELLO_GIT, 60 * (uint64_t)MIB);

    assert_non_null(one);
    assert_non_null(two);
    assert_non_null(ingest);
    hc_ingest_drop(ingest);
}

static void used_bytes_are_no_longer_reserved(void **state)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    struct fixture *f = *state;
    HC_AUTO(hc_reservation) *one = reserve_space(f, "org/one", 60 * (uint64_t)MIB);
    struct hc_reservation *two = NULL;
    int64_t give_up = hc_monotonic_ms() + 20000;

    hc_reservation_use(one, 50 * (uint64_t)MIB);
    while (!two) { /* the next heartbeat writes it */
        if (hc_monotonic_ms() >= give_up)
            fail_msg("%s", f->err.message);
        (void)nanosleep(&moment, NULL);
        two = reserve_space(f, "org/two", 90 * (uint64_t)MIB);
    }
    hc_reservation_drop(two);
}

static void a_small_reservation_writes_no_file(void **state)
{
    struct fixture *f = *state;

    assert_null(reserve_space(f, "org/one", 1000));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
    atomic_store(&free_bytes, 999);
    f->err.reason = HC_OK;
    assert_null(reserve_space(f, "org/one", 1000));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
}

/* Any process that can write to the volume may write a claim of any size. */
static void forged_sizes_add_up_without_overflow(void **state)
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
    assert_null(reserve_space(f, "org/one", 2 * (uint64_t)MIB));
    assert_int_equal(f->err.free_bytes, 0);
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), path, 0), 0);
}

/* NFS keeps a file that was removed while it is open, under such a name. */
static void a_removed_claim_that_is_still_open_does_not_count(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_reservation) *reservation = NULL;

    temp_dir_write(f->dir, ".hubcache/transfers/models--other--1/.nfs0000000000000001",
                   "host=elsewhere.invalid\npid=1\nstart=1\n"
                   "incomplete=snapshot.00000001\nsince=1\nsize=99999999\n");
    reservation = reserve_space(f, "org/one", FREE_SPACE);
    assert_non_null(reservation);
}

/* The owner's host is gone; its clock was ahead. */
static void a_reservation_with_an_expired_heartbeat_does_not_count(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/transfers/models--other--1/snapshot.00000001",
                   "host=elsewhere.invalid\npid=1\nstart=1\n"
                   "incomplete=snapshot.00000001\nsince=1\nsize=99999999\n");
    assert_null(reserve_space(f, "org/one", 20 * (uint64_t)MIB));
    assert_int_equal(hc_claimed_bytes(f->cache, "",
                                      &(const struct hc_claim_record){.began_us =
                                                                          INT64_MAX},
                                      ((int64_t)time(NULL) * 1000) -
                                          2 * (int64_t)HC_HEARTBEAT_TIMEOUT_MS)
                         .reserved,
                     0);
}

static void the_reservation_of_a_dead_process_is_released(void **state)
{
    struct fixture *f = *state;
    pid_t child = fork();
    struct hc_reservation *two;
    int status;

    assert_true(child >= 0);
    if (child == 0)
        _exit(reserve_space(f, "org/one", 60 * (uint64_t)MIB) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 1);
    two = reserve_space(f, "org/two", 90 * (uint64_t)MIB);
    assert_non_null(two);
    hc_reservation_drop(two);
    (void)hc_claim_sweep(f->cache, (int64_t)time(NULL) * 1000);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

/* What a reclaimer of the test frees at each call, and how it was called. */
struct reclaimer {
    uint64_t frees;
    unsigned times; /* and then nothing; 0: always */
    uint64_t wanted;
    char folder[HC_REPO_FOLDER_MAX + 1];
    atomic_uint calls, running;
};

static uint64_t reclaim_as_told(void *ctx, const struct hc_space_request *request,
                                uint64_t bytes, struct hc_space_held *held)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    struct reclaimer *reclaimer = ctx;

    (void)held;
    if (atomic_fetch_add(&reclaimer->running, 1) > 0)
        abort();
    (void)nanosleep(&moment, NULL);
    if (atomic_fetch_add(&reclaimer->calls, 1) >= reclaimer->times && reclaimer->times) {
        (void)atomic_fetch_sub(&reclaimer->running, 1);
        return 0;
    }
    reclaimer->wanted = bytes;
    (void)hc_format(reclaimer->folder, sizeof reclaimer->folder, "%s", request->folder);
    (void)atomic_fetch_add(&free_bytes, reclaimer->frees);
    (void)atomic_fetch_sub(&reclaimer->running, 1);
    return reclaimer->frees;
}

static void add_reclaimer(struct fixture *f, struct reclaimer *reclaimer)
{
    hc_free_space_add_reclaimer(hc_cache_free_space(f->cache), reclaim_as_told,
                                reclaimer);
}

static void with_enough_space_no_reclaimer_is_asked(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = MIB};
    HC_AUTO(hc_reservation) *reservation = NULL;
    HC_AUTO(hc_ingest) *ingest = NULL;

    add_reclaimer(f, &reclaimer);
    reservation = reserve_space(f, f->repo.id, FREE_SPACE);
    assert_non_null(reservation);
    ingest = reservation_begin_ingest(f, HELLO_GIT, FREE_SPACE);
    assert_non_null(ingest);
    assert_int_equal(atomic_load(&reclaimer.calls), 0);
}

static void a_reclaimer_that_frees_enough_makes_the_reservation_succeed(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = 3 * (uint64_t)MIB};
    HC_AUTO(hc_reservation) *one = NULL;
    HC_AUTO(hc_reservation) *two = NULL;

    add_reclaimer(f, &reclaimer);
    one = reserve_space(f, "org/one", 60 * (uint64_t)MIB);
    assert_non_null(one);
    two = reserve_space(f, "org/two", 43 * (uint64_t)MIB);
    assert_non_null(two);
    assert_int_equal(atomic_load(&reclaimer.calls), 1);
    assert_int_equal(reclaimer.wanted, 3 * MIB);
    assert_string_equal(reclaimer.folder, "models--org--two");
}

static void a_reclaimer_that_frees_enough_makes_an_ingest_succeed(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = MIB};
    HC_AUTO(hc_ingest) *ingest = NULL;

    add_reclaimer(f, &reclaimer);
    ingest = reservation_begin_ingest(f, HELLO_GIT, FREE_SPACE + MIB);
    assert_non_null(ingest);
    assert_string_equal(reclaimer.folder, f->repo.folder);
}

static void too_little_freed_is_refused_with_the_figures_after(void **state)
{
    struct fixture *f = *state;
    struct reclaimer first = {.frees = 2 * (uint64_t)MIB, .times = 1};
    struct reclaimer second = {.frees = 0};

    add_reclaimer(f, &first);
    add_reclaimer(f, &second);
    assert_null(reserve_space(f, "org/one", FREE_SPACE + 3 * (uint64_t)MIB));
    assert_int_equal(f->err.needed_bytes, FREE_SPACE + 3 * (uint64_t)MIB);
    assert_int_equal(f->err.free_bytes, FREE_SPACE + 2 * (uint64_t)MIB);
    assert_int_equal(first.wanted, 3 * MIB);
    assert_int_equal(second.wanted, MIB); /* what the first has left to be freed */
    assert_int_equal(atomic_load(&first.calls), 2); /* it may have freed more */
    assert_int_equal(atomic_load(&second.calls), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/transfers"), 0);
}

static void for_more_than_the_volume_holds_no_reclaimer_is_asked(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = MIB};

    add_reclaimer(f, &reclaimer);
    assert_null(reserve_space(f, "org/one", CAPACITY + 1));
    assert_int_equal(f->err.free_bytes, FREE_SPACE);
    assert_int_equal(atomic_load(&reclaimer.calls), 0);
    assert_null(reserve_space(f, "org/one", CAPACITY));
    assert_true(atomic_load(&reclaimer.calls) > 0);
}

static void a_reservation_can_be_tried_without_a_reclaimer(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = MIB};
    HC_AUTO(hc_reservation) *reservation = NULL;

    add_reclaimer(f, &reclaimer);
    assert_int_equal(hc_reservation_try(f->cache, &f->repo, FREE_SPACE + MIB,
                                        &reservation, &f->err),
                     0);
    assert_null(reservation);
    assert_int_equal(hc_reservation_try(f->cache, &f->repo, FREE_SPACE, &reservation,
                                        &f->err),
                     1);
    assert_non_null(reservation);
    assert_int_equal(atomic_load(&reclaimer.calls), 0);
}

/* ---- limit and floor --------------------------------------------------------------- */

static void set_bounds(struct fixture *f, uint64_t limit, uint64_t floor)
{
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), limit, floor);
}

/* As a scan would find. */
static void set_occupied(struct fixture *f, uint64_t bytes)
{
    struct hc_occupancy *occupancy = hc_cache_occupancy(f->cache);
    const struct hc_occupancy_scan scan = hc_occupancy_begin_scan(occupancy);

    hc_occupancy_end_scan(occupancy, &scan, bytes);
}

static void the_limit_takes_the_last_byte_and_refuses_one_more(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_reservation) *reservation = NULL;

    set_occupied(f, 30 * (uint64_t)MIB);
    set_bounds(f, 50 * (uint64_t)MIB, 0);
    assert_null(reserve_space(f, "org/one", 20 * (uint64_t)MIB + 1));
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.needed_bytes, 20 * MIB + 1);
    assert_int_equal(f->err.free_bytes, 20 * MIB);
    assert_int_equal(f->err.limit_bytes, 50 * MIB);
    reservation = reserve_space(f, "org/one", 20 * (uint64_t)MIB);
    assert_non_null(reservation);
}

static void a_limit_counts_what_other_downloads_have_reserved(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_reservation) *one = NULL;

    set_occupied(f, 30 * (uint64_t)MIB);
    set_bounds(f, 50 * (uint64_t)MIB, 0);
    one = reserve_space(f, "org/one", 15 * (uint64_t)MIB);
    assert_non_null(one);
    assert_null(reserve_space(f, "org/two", 6 * (uint64_t)MIB));
    assert_int_equal(f->err.free_bytes, 5 * MIB);
}

static void a_limit_counts_what_has_arrived_in_partial_files(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/transfers/models--other--1/" HELLO_SHA256,
                   "host=\npid=0\nstart=0\nincomplete=" HELLO_SHA256
                   ".01234567.incomplete\nsince=1\nsize=9000000\nbytes=5242880\n"
                   "ranges=0-5242880\n");
    set_occupied(f, 30 * (uint64_t)MIB);
    set_bounds(f, 50 * (uint64_t)MIB, 0);
    assert_null(reserve_space(f, "org/two", 16 * (uint64_t)MIB));
    assert_int_equal(f->err.free_bytes, 15 * MIB);
}

static void for_more_than_the_limit_no_reclaimer_is_asked(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = MIB};

    add_reclaimer(f, &reclaimer);
    set_occupied(f, 0);
    set_bounds(f, 10 * (uint64_t)MIB, 0);
    assert_null(reserve_space(f, "org/one", 10 * (uint64_t)MIB + 1));
    assert_int_equal(f->err.limit_bytes, 10 * MIB);
    assert_int_equal(atomic_load(&reclaimer.calls), 0);
}

static void a_cache_that_was_never_scanned_is_measured_by_a_reclaimer(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.wanted = UINT64_MAX};
    HC_AUTO(hc_reservation) *reservation = NULL;

    add_reclaimer(f, &reclaimer);
    set_bounds(f, 10 * (uint64_t)MIB, 0);
    reservation = reserve_space(f, "org/one", 2 * (uint64_t)MIB);
    assert_non_null(reservation); /* it could not, and the limit does not hold */
    assert_int_equal(reclaimer.wanted, 0);
    assert_int_equal(atomic_load(&reclaimer.calls), 1);
}

static void the_floor_stays_free(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = 0};
    HC_AUTO(hc_reservation) *reservation = NULL;

    add_reclaimer(f, &reclaimer);
    set_bounds(f, 0, 30 * (uint64_t)MIB);
    assert_null(reserve_space(f, "org/one", FREE_SPACE - 30 * (uint64_t)MIB + 1));
    assert_int_equal(reclaimer.wanted, 1);
    assert_int_equal(f->err.limit_bytes, 0);
    assert_int_equal(f->err.free_bytes, FREE_SPACE - 30 * MIB);
    reservation = reserve_space(f, "org/one", FREE_SPACE - 30 * (uint64_t)MIB);
    assert_non_null(reservation);
}

/* The snapshot has reserved the space of its files: a reservation that came between the
 * two, and waits for space, does not take it from them. */
static void a_blob_of_a_reservation_is_as_early_as_that(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_reservation) *own = NULL;
    HC_AUTO(hc_reservation) *between = NULL;
    HC_AUTO(hc_ingest) *ingest = NULL;

    own = reserve_space(f, f->repo.id, 60 * (uint64_t)MIB);
    assert_non_null(own);
    between = reserve_space(f, "org/two", FREE_SPACE - 60 * (uint64_t)MIB);
    assert_non_null(between);
    hc_reservation_use(own, 60 * (uint64_t)MIB);
    ingest = reservation_begin_ingest(f, HELLO_GIT, 60 * (uint64_t)MIB);
    assert_non_null(ingest);
}

/* A reclaimer that hangs until the test lets it go. */
struct hanging_reclaimer {
    sem_t has_begun, may_end;
};

static uint64_t reclaim_when_told(void *ctx, const struct hc_space_request *request,
                                  uint64_t bytes, struct hc_space_held *held)
{
    struct hanging_reclaimer *reclaimer = ctx;

    (void)request, (void)bytes, (void)held;
    (void)sem_post(&reclaimer->has_begun);
    (void)sem_wait(&reclaimer->may_end);
    (void)atomic_fetch_add(&free_bytes, MIB);
    return MIB;
}

static int require_for(struct fixture *f, struct hc_cancellation *cancellation,
                       struct hc_error *err)
{
    const struct hc_space_request request = {.fd = hc_cache_fd(f->cache),
                                             .folder = f->repo.folder,
                                             .needed = FREE_SPACE + MIB,
                                             .cancellation = cancellation};

    return hc_free_space_require(hc_cache_free_space(f->cache), &request, err);
}

static void *require_too_much(void *ctx)
{
    struct hc_error err;

    return require_for(ctx, NULL, &err) == 0 ? ctx : NULL;
}

static void a_caller_may_leave_while_another_thread_reclaims(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cancellation) *soon = hc_cancellation_new(hc_monotonic_ms() + 200);
    HC_AUTO(hc_cancellation) *gone = hc_cancellation_new(HC_NO_DEADLINE);
    struct hanging_reclaimer reclaimer;
    pthread_t thread;
    void *result;

    assert_int_equal(sem_init(&reclaimer.has_begun, 0, 0), 0);
    assert_int_equal(sem_init(&reclaimer.may_end, 0, 0), 0);
    hc_free_space_add_reclaimer(hc_cache_free_space(f->cache), reclaim_when_told,
                                &reclaimer);
    assert_int_equal(pthread_create(&thread, NULL, require_too_much, f), 0);
    (void)sem_wait(&reclaimer.has_begun);
    hc_cancellation_cancel(gone);

    assert_int_equal(require_for(f, soon, &f->err), -1);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    assert_int_equal(require_for(f, gone, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CANCELLED);
    (void)sem_post(&reclaimer.may_end);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_ptr_equal(result, f);
    assert_int_equal(require_for(f, NULL, &f->err), 0);
}

/* The first that is short reclaims; the others wait, and find what it has freed. */
static void one_thread_at_a_time_reclaims(void **state)
{
    struct fixture *f = *state;
    struct reclaimer reclaimer = {.frees = MIB};
    pthread_t threads[8];
    void *result;

    add_reclaimer(f, &reclaimer);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, require_too_much, f), 0);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_ptr_equal(result, f);
    }
    assert_int_equal(atomic_load(&reclaimer.calls), 1);
}

/* ---- waiting ----------------------------------------------------------------------- */

/* A reclaimer that frees nothing, and knows what holds the rest. */
struct knowing_reclaimer {
    struct hc_space_held held;
    unsigned calls;
};

static uint64_t reclaim_nothing(void *ctx, const struct hc_space_request *request,
                                uint64_t bytes, struct hc_space_held *held)
{
    struct knowing_reclaimer *reclaimer = ctx;

    (void)request, (void)bytes;
    reclaimer->calls++;
    *held = reclaimer->held;
    return 0;
}

static unsigned pauses;
static struct fixture *paused;

static void count_pause(void)
{
    pauses++;
}

/* 50 MiB may be taken and are; so many of them are leased, pinned and kept. */
static void set_held(struct fixture *f, struct knowing_reclaimer *reclaimer,
                     uint64_t leased, uint64_t pinned, uint64_t kept)
{
    reclaimer->held = (struct hc_space_held){true, leased, pinned, kept, 0};
    hc_free_space_add_reclaimer(hc_cache_free_space(f->cache), reclaim_nothing,
                                reclaimer);
    set_occupied(f, 50 * (uint64_t)MIB);
    set_bounds(f, 50 * (uint64_t)MIB, 0);
    pauses = 0;
    paused = f;
    during_pause = count_pause;
}

static void more_than_fits_beside_what_is_held_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    struct knowing_reclaimer reclaimer = {.calls = 0};

    set_held(f, &reclaimer, 20 * (uint64_t)MIB, 7 * (uint64_t)MIB, 3 * (uint64_t)MIB);
    assert_null(reserve_space(f, "org/one", 20 * (uint64_t)MIB + 1));
    assert_int_equal(pauses, 0);
    assert_int_equal(reclaimer.calls, 1);
    assert_non_null(strstr(f->err.message,
                           "the rest: 20971520 bytes leased, 7340032 bytes pinned, "
                           "3145728 bytes kept by the policy: end leases"));
}

static void let_the_rest_go(void)
{
    if (++pauses == 3)
        set_occupied(paused, 30 * (uint64_t)MIB);
}

static void what_fits_beside_what_is_held_waits_for_the_rest_to_go(void **state)
{
    struct fixture *f = *state;
    struct knowing_reclaimer reclaimer = {.calls = 0};
    HC_AUTO(hc_reservation) *reservation = NULL;

    set_held(f, &reclaimer, 20 * (uint64_t)MIB, 7 * (uint64_t)MIB, 3 * (uint64_t)MIB);
    during_pause = let_the_rest_go;
    reservation = reserve_space(f, "org/one", 20 * (uint64_t)MIB);
    assert_non_null(reservation);
    assert_int_equal(pauses, 3);
}

static void when_nothing_comes_or_goes_for_long_it_is_refused(void **state)
{
    struct fixture *f = *state;
    struct knowing_reclaimer reclaimer = {.calls = 0};
    int64_t began_ms = hc_monotonic_ms();

    set_held(f, &reclaimer, 0, 0, 0);
    assert_null(reserve_space(f, "org/one", MIB));
    assert_true(hc_monotonic_ms() - began_ms >= HC_SPACE_STILL_MS);
    assert_true(hc_monotonic_ms() - began_ms < 2 * HC_SPACE_STILL_MS);
}

/* The other takes longer than HC_SPACE_STILL_MS. */
static struct hc_reservation *earlier;

static void end_the_earlier_late(void)
{
    if (++pauses < 100)
        return;
    hc_reservation_drop(earlier);
    earlier = NULL;
    set_occupied(paused, 40 * (uint64_t)MIB);
}

static void a_request_waits_for_an_earlier_download_however_long_it_takes(void **state)
{
    struct fixture *f = *state;
    struct knowing_reclaimer reclaimer = {.calls = 0};
    HC_AUTO(hc_reservation) *reservation = NULL;

    earlier = reserve_space(f, "org/one", 10 * (uint64_t)MIB);
    assert_non_null(earlier);
    set_held(f, &reclaimer, 0, 0, 0);
    during_pause = end_the_earlier_late;
    reservation = reserve_space(f, "org/two", 10 * (uint64_t)MIB);
    assert_non_null(reservation);
    assert_int_equal(pauses, 100);
}

static void require_another(void)
{
    const struct hc_space_request request = {.fd = hc_cache_fd(paused->cache),
                                             .folder = "models--org--two",
                                             .needed = MIB};

    during_pause = count_pause;
    set_occupied(paused, 49 * (uint64_t)MIB);
    set_bounds(paused, 49 * (uint64_t)MIB, 0);
    assert_int_equal(hc_free_space_require(hc_cache_free_space(paused->cache), &request,
                                           &paused->err),
                     -1);
    set_occupied(paused, 30 * (uint64_t)MIB);
}

/* What it waits for may need a turn: the second request, which comes during a pause of
 * the first, has been asked and answered before the first goes on. */
static void a_request_that_waits_gives_its_turn_away(void **state)
{
    struct fixture *f = *state;
    struct knowing_reclaimer reclaimer = {.calls = 0};
    HC_AUTO(hc_reservation) *reservation = NULL;

    set_held(f, &reclaimer, 0, 0, 0);
    during_pause = require_another;
    reservation = reserve_space(f, "org/one", 10 * (uint64_t)MIB);
    assert_non_null(reservation);
    assert_true(reclaimer.calls > 1);
}

static void look_whether_it_holds(void)
{
    HC_AUTO_VALUE(hc_fetching) fetching = {0};

    assert_int_equal(hc_fetching_read(&fetching, paused->cache, &paused->repo,
                                      hc_volume_now_ms(paused->cache), &paused->err),
                     0);
    assert_false(fetching.has_reservation);
    let_the_rest_go();
}

/* Else two downloads that wait would keep what is there of each other's snapshots. */
static void a_reservation_that_waits_holds_nothing_of_its_repo(void **state)
{
    struct fixture *f = *state;
    struct knowing_reclaimer reclaimer = {.calls = 0};
    HC_AUTO(hc_reservation) *reservation = NULL;
    HC_AUTO_VALUE(hc_fetching) fetching = {0};

    set_held(f, &reclaimer, 0, 0, 0);
    during_pause = look_whether_it_holds;
    reservation = reserve_space(f, f->repo.id, 20 * (uint64_t)MIB);
    assert_non_null(reservation);
    assert_int_equal(pauses, 3);
    assert_int_equal(hc_fetching_read(&fetching, f->cache, &f->repo,
                                      hc_volume_now_ms(f->cache), &f->err),
                     0);
    assert_true(fetching.has_reservation);
}

/* ---- rank -------------------------------------------------------------------------- */

/* Makes a reservation of another process in the middle of one: before the text of its
 * file is written for the n-th time. */
static unsigned writes_left; /* 0: none is made */
static struct hc_reservation *between;

int __real_hc_claim_record_write(struct hc_claim_record *record, int fd);
int __wrap_hc_claim_record_write(struct hc_claim_record *record, int fd);

int __wrap_hc_claim_record_write(struct hc_claim_record *record, int fd)
{
    if (writes_left > 0 && --writes_left == 0)
        between = reserve_space(paused, "org/two", 60 * (uint64_t)MIB);
    return __real_hc_claim_record_write(record, fd);
}

static void of_two_that_are_made_at_once_exactly_one_has_the_space(void **state)
{
    struct fixture *f = *state;

    paused = f;
    for (unsigned i = 1; i <= 3; i++) {
        struct hc_reservation *one;

        writes_left = i;
        between = NULL;
        one = reserve_space(f, "org/one", 60 * (uint64_t)MIB);
        if (!one == !between)
            fail_msg("before write %u: %s has it", i, one ? "each" : "none");
        hc_reservation_drop(one);
        hc_reservation_drop(between);
        writes_left = 0;
    }
}

#define WITH_FREE_SPACE(test)                                                            \
    cmocka_unit_test_setup_teardown(test, setup_free_space, remove_cache)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FREE_SPACE(an_ingest_above_the_free_space_is_refused_before_its_first_byte),
        WITH_FREE_SPACE(an_earlier_ingest_keeps_its_space),
        WITH_FREE_SPACE(a_superseded_claim_of_the_same_blob_reserves_nothing),
        WITH_FREE_SPACE(a_reservation_above_the_free_space_is_refused_with_both_figures),
        WITH_FREE_SPACE(space_is_reserved_only_once),
        WITH_FREE_SPACE(fetches_of_one_repo_share_their_space),
        WITH_FREE_SPACE(used_bytes_are_no_longer_reserved),
        WITH_FREE_SPACE(a_small_reservation_writes_no_file),
        WITH_FREE_SPACE(forged_sizes_add_up_without_overflow),
        WITH_FREE_SPACE(a_reservation_with_an_expired_heartbeat_does_not_count),
        WITH_FREE_SPACE(a_removed_claim_that_is_still_open_does_not_count),
        WITH_FREE_SPACE(the_reservation_of_a_dead_process_is_released),
        WITH_FREE_SPACE(with_enough_space_no_reclaimer_is_asked),
        WITH_FREE_SPACE(a_reclaimer_that_frees_enough_makes_the_reservation_succeed),
        WITH_FREE_SPACE(a_reclaimer_that_frees_enough_makes_an_ingest_succeed),
        WITH_FREE_SPACE(too_little_freed_is_refused_with_the_figures_after),
        WITH_FREE_SPACE(for_more_than_the_volume_holds_no_reclaimer_is_asked),
        WITH_FREE_SPACE(a_reservation_can_be_tried_without_a_reclaimer),
        WITH_FREE_SPACE(the_limit_takes_the_last_byte_and_refuses_one_more),
        WITH_FREE_SPACE(a_limit_counts_what_other_downloads_have_reserved),
        WITH_FREE_SPACE(a_limit_counts_what_has_arrived_in_partial_files),
        WITH_FREE_SPACE(for_more_than_the_limit_no_reclaimer_is_asked),
        WITH_FREE_SPACE(a_cache_that_was_never_scanned_is_measured_by_a_reclaimer),
        WITH_FREE_SPACE(the_floor_stays_free),
        WITH_FREE_SPACE(a_blob_of_a_reservation_is_as_early_as_that),
        WITH_FREE_SPACE(one_thread_at_a_time_reclaims),
        WITH_FREE_SPACE(a_caller_may_leave_while_another_thread_reclaims),
        WITH_FREE_SPACE(more_than_fits_beside_what_is_held_is_refused_at_once),
        WITH_FREE_SPACE(what_fits_beside_what_is_held_waits_for_the_rest_to_go),
        WITH_FREE_SPACE(when_nothing_comes_or_goes_for_long_it_is_refused),
        WITH_FREE_SPACE(a_request_waits_for_an_earlier_download_however_long_it_takes),
        WITH_FREE_SPACE(a_request_that_waits_gives_its_turn_away),
        WITH_FREE_SPACE(a_reservation_that_waits_holds_nothing_of_its_repo),
        WITH_FREE_SPACE(of_two_that_are_made_at_once_exactly_one_has_the_space),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
