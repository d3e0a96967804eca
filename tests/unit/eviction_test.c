/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: an eviction removes the revisions that were used least recently, as many as it
 * takes and no more, and never one that is held. For a download it removes nothing unless
 * that makes room for it. What is left is a cache that every client reads.
 */
#include "removal_fixture.h"

#include <base/free_space.h>
#include <base/text.h>
#include <cache/occupancy.h>
#include <cache/pin.h>
#include <cache/usage.h>
#include <claim/claim_record.h>
#include <claim/lease.h>
#include <maintenance/eviction.h>
#include <maintenance/orphans.h>
#include <maintenance/replica_lock.h>
#include <maintenance/trash.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { ROOM = 8192 /* that a blob of the fixture takes */, DAY_S = 24 * 3600 };

/* What another replica does just before the lock of evictions is asked for. */
static void (*before_lock)(void);

bool __real_hc_replica_lock_try(struct hc_replica_lock *lock, int64_t now_ms);
bool __wrap_hc_replica_lock_try(struct hc_replica_lock *lock, int64_t now_ms);

bool __wrap_hc_replica_lock_try(struct hc_replica_lock *lock, int64_t now_ms)
{
    void (*hook)(void) = before_lock;

    if (hook) {
        before_lock = NULL;
        hook();
    }
    return __real_hc_replica_lock_try(lock, now_ms);
}

static struct hc_eviction *eviction_of(struct fixture *f)
{
    struct hc_eviction *eviction = hc_eviction_new(f->cache, NULL, &f->err);

    assert_non_null(eviction);
    hc_free_space_add_reclaimer(hc_cache_free_space(f->cache), hc_eviction_reclaim,
                                eviction);
    return eviction;
}

static struct hc_repo repo_number(unsigned number)
{
    struct hc_repo repo;
    struct hc_error err;
    char id[32];

    (void)hc_format(id, sizeof id, "org/repo-%02u", number);
    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, id, &err), 0);
    return repo;
}

static void set_times(const struct fixture *f, const char *path, time_t seconds)
{
    const struct timespec times[2] = {{.tv_sec = seconds}, {.tv_sec = seconds}};

    assert_int_equal(utimensat(hc_cache_fd(f->cache), path, times, AT_SYMLINK_NOFOLLOW),
                     0);
}

/* A revision of one blob, of a repo of its own, that was last used so many seconds
 * after the epoch. */
static void put_revision(const struct fixture *f, unsigned number, time_t used_s)
{
    struct hc_repo repo = repo_number(number);
    char path[PATH_MAX];

    put_file(f, &repo, COMMIT, "file", BLOB_A);
    put_ref(f, &repo, "main", COMMIT);
    (void)hc_format(path, sizeof path, "%s/blobs/" BLOB_A, repo.folder);
    set_times(f, path, used_s);
    (void)hc_format(path, sizeof path, "%s/snapshots/" COMMIT, repo.folder);
    set_times(f, path, used_s);
}

static bool has_revision(const struct fixture *f, unsigned number)
{
    struct hc_repo repo = repo_number(number);
    char path[PATH_MAX];

    (void)hc_format(path, sizeof path, "%s/snapshots/" COMMIT "/file", repo.folder);
    return temp_dir_has(f->dir, path);
}

/* Revisions 1 to `count`; 1 was used least recently. */
static void put_revisions(const struct fixture *f, unsigned count)
{
    for (unsigned i = 1; i <= count; i++)
        put_revision(f, i, (time_t)i * DAY_S);
}

/* Asserts that the revisions are there that `left` has a digit for, and no others. */
static void assert_left(const struct fixture *f, const char *left)
{
    for (unsigned i = 1; i <= 9; i++) {
        bool is_left = strchr(left, (int)('0' + i)) != NULL;

        if (has_revision(f, i) != is_left)
            fail_msg("revision %u is %s", i, is_left ? "gone" : "left");
    }
    assert_cache_is_sound(f);
    assert_no_trash(f);
}

static struct hc_removal_result evict(struct fixture *f, struct hc_eviction *eviction,
                                      uint64_t bytes)
{
    const struct hc_eviction_request request = {.bytes = bytes};
    struct hc_removal_result result = {0};

    if (hc_eviction_run(eviction, &request, &result, &f->err) < 0)
        fail_msg("%s", f->err.message);
    return result;
}

static void pin(struct fixture *f, unsigned number)
{
    const struct hc_repo repo = repo_number(number);
    const struct hc_pin made = {.reason = "it is good"};

    assert_int_equal(hc_pin_set(f->cache, &repo, COMMIT, &made, &f->err), 0);
}

/* What the cache takes, as a scan finds it. */
static void measure(struct fixture *f)
{
    assert_int_equal(hc_usage_measure(f->cache, true, NULL, &f->err), 0);
}

static void assert_occupied(struct fixture *f, uint64_t bytes)
{
    uint64_t found = 0;

    assert_int_equal(hc_occupancy_find(hc_cache_occupancy(f->cache), &found), 1);
    assert_int_equal(found, bytes);
}

static int require_room(struct fixture *f, uint64_t bytes)
{
    const struct hc_space_request request = {.fd = hc_cache_fd(f->cache),
                                             .folder = "models--org--new",
                                             .needed = bytes};

    return hc_free_space_require(hc_cache_free_space(f->cache), &request, &f->err);
}

static int require_room_until(struct fixture *f, uint64_t bytes, int64_t deadline_ms)
{
    HC_AUTO(hc_cancellation) *cancellation = hc_cancellation_new(deadline_ms);
    const struct hc_space_request request = {.fd = hc_cache_fd(f->cache),
                                             .folder = "models--org--new",
                                             .needed = bytes,
                                             .cancellation = cancellation};

    return hc_free_space_require(hc_cache_free_space(f->cache), &request, &f->err);
}

/* ---- order and amount -------------------------------------------------------------- */

static void an_empty_cache_frees_nothing(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) result = evict(f, eviction, 1);

    assert_int_equal(result.removed_count, 0);
    assert_int_equal(result.missing_bytes, 1);
}

static void the_least_recently_used_go_first_and_no_more_than_it_takes(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) result = {0};

    put_revision(f, 1, 3 * DAY_S);
    put_revision(f, 2, 1 * DAY_S);
    put_revision(f, 3, 2 * DAY_S);
    put_revision(f, 4, 4 * DAY_S);
    result = evict(f, eviction, ROOM + 1);
    assert_left(f, "14");
    assert_string_equal(result.removed[0].repo_id, "org/repo-02");
    assert_string_equal(result.removed[0].commit_hash, COMMIT);
    assert_int_equal(result.removed[0].last_used_ms, INT64_C(1000) * DAY_S);
    assert_string_equal(result.removed[0].detail, "least recently used");
    assert_int_equal(result.freed_bytes, 2 * ROOM);
    assert_int_equal(result.missing_bytes, 0);
}

static void sizes_below_at_and_above_a_revision_take_one_one_and_two(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *left;
    } cases[] = {{1, "2345"}, {ROOM - 1, "345"}, {ROOM, "45"}, {ROOM + 1, ""}};
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    put_revisions(f, 5);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        HC_AUTO_VALUE(hc_removal_result)
        result = evict(f, eviction, cases[i].bytes);

        assert_int_equal(result.missing_bytes, 0);
        assert_left(f, cases[i].left);
    }
}

static void ties_go_by_name(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    for (unsigned i = 5; i > 0; i--)
        put_revision(f, i, DAY_S);
    HC_AUTO_VALUE(hc_removal_result) result = evict(f, eviction, 2 * ROOM);

    (void)result;
    assert_left(f, "345");
}

static void one_list_serves_many_evictions(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    put_revisions(f, 6);
    for (unsigned i = 0; i < 3; i++) {
        HC_AUTO_VALUE(hc_removal_result) result = evict(f, eviction, 1);

        assert_int_equal(result.missing_bytes, 0);
    }
    assert_left(f, "456");
}

static void a_use_after_the_list_was_made_counts(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) first = {0};
    HC_AUTO_VALUE(hc_removal_result) second = {0};

    put_revisions(f, 4);
    first = evict(f, eviction, 1);
    set_times(f, "models--org--repo-02/blobs/" BLOB_A, 5 * DAY_S);
    second = evict(f, eviction, 2 * ROOM);
    assert_left(f, "2");
}

static void a_dry_run_says_what_an_eviction_does(void **state)
{
    struct fixture *f = *state;
    const struct hc_eviction_request dry = {.bytes = 3 * ROOM, .is_dry_run = true};
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) plan = {0};
    HC_AUTO_VALUE(hc_removal_result) result = {0};

    put_revisions(f, 5);
    pin(f, 2);
    assert_int_equal(hc_eviction_run(eviction, &dry, &plan, &f->err), 0);
    assert_left(f, "12345");
    result = evict(f, eviction, 3 * ROOM);
    assert_left(f, "25");
    assert_int_equal(plan.removed_count, result.removed_count);
    assert_int_equal(plan.freed_bytes, result.freed_bytes);
    assert_int_equal(plan.kept_count, 1);
    for (size_t i = 0; i < plan.removed_count; i++)
        assert_string_equal(plan.removed[i].repo_id, result.removed[i].repo_id);
}

/* ---- holds ------------------------------------------------------------------------- */

static void what_is_held_stays_and_is_told(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) result = {0};

    put_revisions(f, 4);
    pin(f, 1);
    pin(f, 4);
    result = evict(f, eviction, 4 * ROOM);
    assert_left(f, "14");
    assert_int_equal(result.kept_count, 2);
    assert_string_equal(result.kept[0].repo_id, "org/repo-01");
    assert_int_equal(result.kept[0].held_by, HC_HELD_BY_PIN);
    assert_int_equal(result.missing_bytes, 2 * ROOM);
}

static void what_was_used_later_than_the_last_one_removed_is_not_told(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) result = {0};

    put_revisions(f, 4);
    pin(f, 1);
    pin(f, 4);
    result = evict(f, eviction, ROOM);
    assert_int_equal(result.kept_count, 1);
}

/* ---- for a download ---------------------------------------------------------------- */

static void a_download_makes_room_with_a_margin(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    assert_non_null(eviction);
    put_revisions(f, 9);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 9 * ROOM, 0);
    assert_int_equal(require_room(f, ROOM), 0);
    assert_left(f, "3456789"); /* a twentieth of the limit is a part of the second */
    assert_occupied(f, 7 * ROOM);
    assert_int_equal(require_room(f, 2 * ROOM), 0);
    assert_left(f, "3456789");
}

static void for_a_download_that_cannot_have_room_nothing_is_removed(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    struct hc_eviction_counts counts;

    put_revisions(f, 4);
    pin(f, 2);
    pin(f, 3);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 4 * ROOM, 0);
    assert_int_equal(require_room(f, 3 * ROOM), -1);
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_int_equal(f->err.limit_bytes, 4 * ROOM);
    assert_left(f, "1234");
    assert_int_equal(require_room(f, 2 * ROOM), 0);
    assert_left(f, "23");
    hc_eviction_counts(eviction, &counts);
    assert_int_equal(counts.evicted_revisions, 2);
    assert_int_equal(counts.evicted_bytes, 2 * ROOM);
    assert_int_equal(counts.held_bytes, 2 * ROOM);
    assert_int_equal(counts.running, 0);
}

/* A killed process leaves a blob without a pointer, which no revision's removal frees. */
static void a_download_waits_for_an_orphan_blob_that_goes_soon(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    const struct hc_repo repo = repo_number(1);
    int64_t now_ms = hc_volume_now_ms(f->cache);

    assert_non_null(eviction);
    put_revisions(f, 2);
    pin(f, 1);
    pin(f, 2);
    temp_dir_write(f->dir, "models--org--repo-01/blobs/" BLOB_C, "orphan");
    measure(f);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 3 * ROOM, 0);
    assert_int_equal(require_room_until(f, ROOM, hc_monotonic_ms() + 1), -1);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    assert_int_equal(hc_orphans_remove(f->cache, &repo, now_ms, NULL), 0);
    assert_true(hc_orphans_remove(f->cache, &repo, now_ms + 2 * HC_ORPHAN_AGE_MS, NULL) >
                0);
    assert_int_equal(require_room(f, ROOM), 0);
    assert_left(f, "12");
}

/* What a killed process has moved to the trash, so many seconds ago. */
static void put_trash(const struct fixture *f, unsigned age_s)
{
    static const char trash[] = ".hubcache/trash/models--org--repo-01/01234567";
    char bytes[5000];

    (void)memset(bytes, 'x', sizeof bytes);
    bytes[sizeof bytes - 1] = '\0';
    temp_dir_write(f->dir, ".hubcache/trash/models--org--repo-01/01234567/blobs/" BLOB_C,
                   bytes);
    set_times(f, trash, time(NULL) - (time_t)age_s);
}

static void the_trash_of_a_killed_process_goes_before_a_revision(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    assert_non_null(eviction);
    put_revisions(f, 2);
    pin(f, 1);
    pin(f, 2);
    put_trash(f, HC_TRASH_STALE_MS / 1000 + 2);
    measure(f);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 3 * ROOM, 0);
    assert_int_equal(require_room(f, ROOM), 0);
    assert_left(f, "12");
}

/* Its process may live, so it stays for a moment. */
static void a_download_waits_for_trash_that_goes_soon(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    assert_non_null(eviction);
    put_revisions(f, 2);
    pin(f, 1);
    pin(f, 2);
    put_trash(f, 0);
    measure(f);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 3 * ROOM, 0);
    assert_int_equal(require_room_until(f, ROOM, hc_monotonic_ms() + 1), -1);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    put_trash(f, HC_TRASH_STALE_MS / 1000 + 2);
    assert_int_equal(require_room(f, ROOM), 0);
    assert_left(f, "12");
}

static void a_refusal_says_what_holds_the_rest(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    const struct hc_repo repo = repo_number(2);
    const struct hc_lease_request request = {.repo = &repo,
                                             .commit = COMMIT,
                                             .duration_ms = 60 * 1000};
    struct hc_lease lease;

    assert_non_null(eviction);
    put_revisions(f, 3);
    pin(f, 1);
    pin(f, 3);
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), 1);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 3 * ROOM, 0);
    assert_int_equal(require_room(f, 1), -1);
    assert_int_equal(f->err.reason, HC_NO_SPACE);
    assert_non_null(strstr(f->err.message, "the rest: 8192 bytes leased, 16384 bytes "
                                           "pinned: end leases"));
}

/* What the cache takes is not known, so nothing says that there is room. */
static void a_caller_that_leaves_during_the_first_scan_gets_no_room(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    assert_non_null(eviction);
    put_revisions(f, 2);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 2 * ROOM, 0);
    assert_int_equal(require_room_until(f, ROOM, hc_monotonic_ms()), -1);
    assert_int_equal(f->err.reason, HC_DEADLINE_EXCEEDED);
    assert_left(f, "12");
}

static void a_download_larger_than_the_limit_removes_nothing(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);

    assert_non_null(eviction);
    put_revisions(f, 4);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 4 * ROOM, 0);
    assert_int_equal(require_room(f, 4 * ROOM + 1), -1);
    assert_left(f, "1234");
    assert_int_equal(require_room(f, 4 * ROOM), 0);
    assert_left(f, "");
}

static void what_other_clients_have_added_goes_in_the_background(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) within = {0};
    HC_AUTO_VALUE(hc_removal_result) beyond = {0};

    put_revisions(f, 5);
    measure(f);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 5 * ROOM, 0);
    within = evict(f, eviction, 0);
    assert_int_equal(within.removed_count, 0);
    put_revision(f, 6, 6 * DAY_S);
    measure(f);
    beyond = evict(f, eviction, 0);
    assert_int_equal(beyond.missing_bytes, 0);
    assert_left(f, "3456");
}

/* ---- single files ------------------------------------------------------------------ */

#define GGUF "models--org--gguf/"

static struct hc_repo gguf_repo(void)
{
    struct hc_repo repo;
    struct hc_error err;

    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, "org/gguf", &err), 0);
    return repo;
}

static void put_quant(const struct fixture *f, const char *path, const char *etag,
                      time_t used_s)
{
    const struct hc_repo repo = gguf_repo();
    char blob[PATH_MAX];

    put_file(f, &repo, COMMIT, path, etag);
    (void)hc_format(blob, sizeof blob, GGUF "blobs/%s", etag);
    set_times(f, blob, used_s);
}

/* Another replica fetches a blob of the repo. */
static void put_claim(const struct fixture *f, const char *etag)
{
    char path[PATH_MAX], text[512];

    (void)hc_format(path, sizeof path, ".hubcache/transfers/" GGUF "%s", etag);
    (void)hc_format(text, sizeof text,
                    "host=elsewhere.invalid\npid=1\nstart=1\nsince=1\nsize=8192\n"
                    "bytes=0\nranges=\nincomplete=%s.01234567.incomplete\n",
                    etag);
    temp_dir_write(f->dir, path, text);
}

/* Of four files of a repo two were fetched one after the other, and a third one is. */
static void put_quants(const struct fixture *f)
{
    put_quant(f, "q4", BLOB_A, 2 * DAY_S);
    put_quant(f, "dir/q5", BLOB_B, 1 * DAY_S);
    set_times(f, GGUF "snapshots/" COMMIT, DAY_S);
    put_claim(f, BLOB_C);
}

static void assert_quants(const struct fixture *f, bool has_q4, bool has_q5)
{
    assert_int_equal(temp_dir_has(f->dir, GGUF "snapshots/" COMMIT "/q4"), has_q4);
    assert_int_equal(temp_dir_has(f->dir, GGUF "blobs/" BLOB_A), has_q4);
    assert_int_equal(temp_dir_has(f->dir, GGUF "snapshots/" COMMIT "/dir/q5"), has_q5);
    assert_int_equal(temp_dir_has(f->dir, GGUF "blobs/" BLOB_B), has_q5);
}

static void a_repo_of_many_files_makes_room_for_the_next_of_them(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    struct hc_eviction_counts counts;

    put_revision(f, 1, 0);
    pin(f, 1);
    put_quants(f);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 3 * ROOM, 0);
    assert_int_equal(require_room(f, ROOM), 0);
    assert_quants(f, true, false);
    assert_left(f, "1");
    assert_occupied(f, 2 * ROOM);
    hc_eviction_counts(eviction, &counts);
    assert_int_equal(counts.evicted_revisions, 0);
    assert_int_equal(counts.evicted_bytes, ROOM);
    assert_int_equal(require_room(f, 2 * ROOM), 0);
    assert_quants(f, false, false);
}

static void whole_revisions_go_before_single_files(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *first = eviction_of(f);
    HC_AUTO(hc_eviction) *second = hc_eviction_new(f->cache, NULL, &f->err);
    HC_AUTO_VALUE(hc_removal_result) result = {0};

    put_revision(f, 1, 9 * DAY_S);
    put_quants(f);
    result = evict(f, first, ROOM);
    assert_quants(f, true, true);
    assert_left(f, "");
    hc_removal_result_clear(&result);
    put_revision(f, 2, 9 * DAY_S);
    result = evict(f, second, 2 * ROOM);
    assert_quants(f, true, false);
    assert_left(f, "");
    assert_null(result.removed[0].filename);
    assert_string_equal(result.removed[result.removed_count - 1].filename, "dir/q5");
    assert_int_equal(result.missing_bytes, 0);
}

static void a_dry_run_names_the_single_files(void **state)
{
    struct fixture *f = *state;
    const struct hc_eviction_request dry = {.bytes = 2 * ROOM, .is_dry_run = true};
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) plan = {0};

    put_quants(f);
    assert_int_equal(hc_eviction_run(eviction, &dry, &plan, &f->err), 0);
    assert_quants(f, true, true);
    assert_int_equal(plan.removed_count, 2);
    assert_string_equal(plan.removed[0].filename, "dir/q5");
    assert_string_equal(plan.removed[1].filename, "q4");
    assert_int_equal(plan.freed_bytes, 2 * ROOM);
}

static void hold_by_reservation(const struct fixture *f)
{
    temp_dir_write(f->dir, ".hubcache/transfers/" GGUF "snapshot.01234567",
                   "host=elsewhere.invalid\npid=1\nstart=1\nsince=1\nsize=9999999\n"
                   "incomplete=snapshot.01234567\n");
}

static void hold_by_other_client(const struct fixture *f)
{
    temp_dir_write(f->dir, GGUF "blobs/" BLOB_C ".incomplete", "abc");
}

static void hold_by_lease(const struct fixture *f)
{
    const struct hc_repo repo = gguf_repo();
    const struct hc_lease_request request = {.repo = &repo,
                                             .commit = COMMIT,
                                             .duration_ms = 60 * 1000};
    struct hc_lease lease;
    struct hc_error err;

    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &err), 1);
}

static void hold_by_pin(const struct fixture *f)
{
    const struct hc_repo repo = gguf_repo();
    const struct hc_pin made = {.reason = "it is good"};
    struct hc_error err;

    assert_int_equal(hc_pin_set(f->cache, &repo, COMMIT, &made, &err), 0);
}

/* A file that is there is fetched anew, and no other is missing. */
static void hold_by_completeness(const struct fixture *f)
{
    temp_dir_write(f->dir, GGUF "trees/" COMMIT ".json",
                   "{\"format_version\": 1, \"files\": {\"q4\": {\"size\": 5000, "
                   "\"blob_id\": \"" BLOB_A "\"}}}");
    put_claim(f, BLOB_A);
}

/* Of what is leased, pinned, complete, or fetched as a snapshot, no file goes alone. */
static void files_of_a_revision_that_is_held_otherwise_stay(void **state)
{
    static void (*const holds[])(
        const struct fixture *f) = {hold_by_reservation, hold_by_other_client,
                                    hold_by_lease, hold_by_pin, hold_by_completeness};

    for (size_t i = 0; i < sizeof holds / sizeof *holds; i++) {
        struct fixture *f;
        HC_AUTO(hc_eviction) *eviction = NULL;
        HC_AUTO_VALUE(hc_removal_result) result = {0};

        assert_int_equal(remove_cache(state), 0);
        assert_int_equal(make_cache(state), 0);
        f = *state;
        eviction = hc_eviction_new(f->cache, NULL, &f->err);
        put_quants(f);
        holds[i](f);
        result = evict(f, eviction, ROOM);
        if (result.removed_count > 0)
            fail_msg("hold %zu: '%s' went", i, result.removed[0].filename);
        assert_quants(f, true, true);
    }
}

/* A blob that is being fetched again, and the pointer to it. */
static void a_file_that_is_being_fetched_itself_stays(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *eviction = eviction_of(f);
    HC_AUTO_VALUE(hc_removal_result) result = {0};

    put_quants(f);
    put_claim(f, BLOB_B);
    result = evict(f, eviction, 2 * ROOM);
    assert_quants(f, false, true);
    assert_int_equal(result.missing_bytes, ROOM);
}

/* ---- side by side ------------------------------------------------------------------ */

struct racer {
    struct fixture *f;
    struct hc_eviction *eviction;
    uint64_t freed;
};

static void *race_evict(void *ctx)
{
    const struct hc_eviction_request request = {.bytes = 4 * ROOM};
    struct racer *racer = ctx;
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    struct hc_error err;

    if (hc_eviction_run(racer->eviction, &request, &result, &err) == 0)
        racer->freed = result.freed_bytes;
    return NULL;
}

static void two_processes_that_evict_free_no_byte_twice(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *one = hc_eviction_new(f->cache, NULL, &f->err);
    HC_AUTO(hc_eviction) *two = hc_eviction_new(f->cache, NULL, &f->err);
    struct racer racers[] = {{f, one, 0}, {f, two, 0}};
    pthread_t threads[2];

    put_revisions(f, 9);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, race_evict, &racers[i]), 0);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    assert_int_equal(racers[0].freed + racers[1].freed, 8 * ROOM);
    assert_left(f, "9");
}

static struct racer other;

static void let_the_other_evict(void)
{
    (void)race_evict(&other);
}

static void what_another_replica_has_freed_meanwhile_is_not_freed_again(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_eviction) *one = eviction_of(f);
    HC_AUTO(hc_eviction) *two = hc_eviction_new(f->cache, NULL, &f->err);

    assert_non_null(one);
    put_revisions(f, 9);
    measure(f);
    hc_free_space_set_bounds(hc_cache_free_space(f->cache), 9 * ROOM, 0);
    other = (struct racer){f, two, 0};
    before_lock = let_the_other_evict;
    assert_int_equal(require_room(f, 3 * ROOM), 0);
    assert_int_equal(other.freed, 4 * ROOM);
    assert_left(f, "56789");
}

/* Random revisions, pins and amounts, against a model: the ones that are not pinned, in
 * order, until there is enough. */
static void a_random_eviction_is_that_of_the_model(void **state)
{
    struct fixture *f = *state;
    unsigned seed = 7;

    for (unsigned round = 0; round < 20; round++) {
        HC_AUTO(hc_eviction) *eviction = hc_eviction_new(f->cache, NULL, &f->err);
        char left[10] = "";
        uint64_t wanted = (uint64_t)(rand_r(&seed) % (9 * ROOM)) + 1, freed = 0;
        size_t count = 0;

        for (unsigned i = 1; i <= 9; i++) {
            const struct hc_repo repo = repo_number(i);
            bool is_pinned = rand_r(&seed) % 3 == 0;

            put_revision(f, i, (time_t)i * DAY_S);
            (void)hc_pin_clear(f->cache, &repo, COMMIT, &f->err);
            if (is_pinned)
                pin(f, i);
            if (is_pinned || freed >= wanted)
                left[count++] = (char)('0' + i);
            else
                freed += ROOM;
        }
        HC_AUTO_VALUE(hc_removal_result) result = evict(f, eviction, wanted);

        assert_int_equal(result.freed_bytes, freed);
        assert_int_equal(result.missing_bytes, wanted > freed ? wanted - freed : 0);
        assert_left(f, left);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(an_empty_cache_frees_nothing),
        WITH_CACHE(the_least_recently_used_go_first_and_no_more_than_it_takes),
        WITH_CACHE(sizes_below_at_and_above_a_revision_take_one_one_and_two),
        WITH_CACHE(ties_go_by_name),
        WITH_CACHE(one_list_serves_many_evictions),
        WITH_CACHE(a_use_after_the_list_was_made_counts),
        WITH_CACHE(a_dry_run_says_what_an_eviction_does),
        WITH_CACHE(what_is_held_stays_and_is_told),
        WITH_CACHE(what_was_used_later_than_the_last_one_removed_is_not_told),
        WITH_CACHE(a_download_makes_room_with_a_margin),
        WITH_CACHE(for_a_download_that_cannot_have_room_nothing_is_removed),
        WITH_CACHE(a_download_waits_for_an_orphan_blob_that_goes_soon),
        WITH_CACHE(the_trash_of_a_killed_process_goes_before_a_revision),
        WITH_CACHE(a_download_waits_for_trash_that_goes_soon),
        WITH_CACHE(a_refusal_says_what_holds_the_rest),
        WITH_CACHE(a_caller_that_leaves_during_the_first_scan_gets_no_room),
        WITH_CACHE(a_download_larger_than_the_limit_removes_nothing),
        WITH_CACHE(what_other_clients_have_added_goes_in_the_background),
        WITH_CACHE(a_repo_of_many_files_makes_room_for_the_next_of_them),
        WITH_CACHE(whole_revisions_go_before_single_files),
        WITH_CACHE(a_dry_run_names_the_single_files),
        WITH_CACHE(files_of_a_revision_that_is_held_otherwise_stay),
        WITH_CACHE(a_file_that_is_being_fetched_itself_stays),
        WITH_CACHE(two_processes_that_evict_free_no_byte_twice),
        WITH_CACHE(what_another_replica_has_freed_meanwhile_is_not_freed_again),
        WITH_CACHE(a_random_eviction_is_that_of_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
