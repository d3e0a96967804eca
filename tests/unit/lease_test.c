/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a lease that was answered is on the disk, is seen by every process of the
 * volume, holds until its end by the volume's clock, and is gone afterwards. A lease and
 * a removal of the same revision exclude each other, whichever comes first, and whatever
 * process dies. Ids and files are not trusted.
 */
#include "cache_fixture.h"

#include <base/file.h>
#include <base/text.h>
#include <claim/claim_record.h>
#include <claim/lease.h>
#include <claim/lease_bar.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define LEASES ".hubcache/leases/models--org--name/" COMMIT

enum { HOUR_MS = 3600 * 1000, DIGITS = HC_LEASE_NAME_LENGTH };

static struct hc_lease_request request_of(const struct fixture *f)
{
    return (struct hc_lease_request){.repo = &f->repo,
                                     .commit = COMMIT,
                                     .kind = "jwt",
                                     .caller = "system:serviceaccount:team-a:vllm",
                                     .pod = "vllm-0",
                                     .duration_ms = HOUR_MS};
}

static struct hc_lease take_lease(struct fixture *f)
{
    const struct hc_lease_request request = request_of(f);
    struct hc_lease lease;

    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), 1);
    return lease;
}

static const char *file_of(const struct hc_lease *lease)
{
    static char path[PATH_MAX];

    assert_true(hc_format(path, sizeof path, LEASES "/%s", hc_lease_id_name(lease->id)) >
                0);
    return path;
}

static int is_held(struct fixture *f)
{
    return hc_lease_is_held(f->cache, &f->repo, COMMIT, hc_volume_now_ms(f->cache),
                            &f->err);
}

static unsigned sweep(struct fixture *f, int64_t now_ms)
{
    unsigned held, count = temp_dir_count(f->dir, ".hubcache/leases");
    unsigned removed = hc_lease_sweep(f->cache, now_ms, &held);

    assert_true(held + removed <= count);
    return removed;
}

static unsigned list_length(struct fixture *f, const struct hc_repo *repo,
                            const char *commit)
{
    HC_AUTO_VALUE(hc_lease_list)
    list = hc_lease_list(f->cache, repo, commit, hc_volume_now_ms(f->cache));
    unsigned count = 0;

    while (hc_lease_list_next(&list))
        count++;
    return count;
}

/* ---- one lease --------------------------------------------------------------------- */

static void a_lease_that_is_taken_is_a_file_that_ends_at_its_mtime(void **state)
{
    struct fixture *f = *state;
    const int64_t before_ms = hc_volume_now_ms(f->cache);
    const struct hc_lease lease = take_lease(f);
    struct stat status;

    assert_true(temp_dir_has(f->dir, file_of(&lease)));
    assert_int_equal(fstatat(hc_cache_fd(f->cache), file_of(&lease), &status, 0), 0);
    assert_int_equal(hc_file_time_ms(&status.st_mtim), lease.until_ms);
    assert_true(lease.until_ms >= before_ms + HOUR_MS);
    assert_true(lease.until_ms <= hc_volume_now_ms(f->cache) + HOUR_MS);
    assert_int_equal(lease.since_ms, lease.until_ms - HOUR_MS);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void another_process_finds_the_caller_the_pod_and_both_times(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    struct hc_lease found;

    reopen_cache(f, false);
    assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 1);
    assert_string_equal(found.id, lease.id);
    assert_string_equal(found.repo_id, "org/name");
    assert_int_equal(found.repo_type, HC_REPO_MODEL);
    assert_string_equal(found.commit_hash, COMMIT);
    assert_string_equal(found.kind, "jwt");
    assert_string_equal(found.caller, "system:serviceaccount:team-a:vllm");
    assert_string_equal(found.pod, "vllm-0");
    assert_int_equal(found.since_ms, lease.since_ms);
    assert_int_equal(found.until_ms, lease.until_ms);
}

static void every_lease_has_an_id_of_its_own_that_names_no_path(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease one = take_lease(f), two = take_lease(f);

    assert_string_not_equal(one.id, two.id);
    assert_null(strchr(one.id, '/'));
    assert_int_equal(list_length(f, NULL, NULL), 2);
}

static void a_renewed_lease_ends_later_and_keeps_all_else(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    struct hc_lease renewed, found;

    assert_int_equal(hc_lease_renew(f->cache, lease.id, 2 * (int64_t)HOUR_MS, &renewed,
                                    &f->err),
                     1);
    assert_true(renewed.until_ms >= lease.until_ms + HOUR_MS);
    assert_int_equal(renewed.since_ms, lease.since_ms);
    assert_string_equal(renewed.caller, lease.caller);
    assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 1);
    assert_int_equal(found.until_ms, renewed.until_ms);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void a_lease_can_be_renewed_to_end_earlier(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    struct hc_lease renewed;

    assert_int_equal(hc_lease_renew(f->cache, lease.id, 5000, &renewed, &f->err), 1);
    assert_true(renewed.until_ms < lease.until_ms);
}

static void a_released_lease_is_gone_and_releasing_it_again_is_no_error(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    struct hc_lease found;

    assert_int_equal(is_held(f), 1);
    assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 1);
    assert_int_equal(is_held(f), 0);
    assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 0);
    assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 0);
    assert_int_equal(hc_lease_renew(f->cache, lease.id, HOUR_MS, &found, &f->err), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void a_lease_whose_time_has_passed_cannot_be_renewed(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    struct hc_lease renewed;

    age_file(f, file_of(&lease), 1);
    assert_int_equal(hc_lease_find(f->cache, lease.id, &renewed, &f->err), 0);
    assert_int_equal(hc_lease_renew(f->cache, lease.id, HOUR_MS, &renewed, &f->err), 0);
    assert_int_equal(list_length(f, NULL, NULL), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

/* Clocks, and the mtimes of some file systems, differ by so much. */
static void a_lease_holds_until_the_grace_after_its_end(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    const int64_t ends_ms = lease.until_ms + HC_LEASE_GRACE_MS;

    assert_int_equal(hc_lease_is_held(f->cache, &f->repo, COMMIT, ends_ms - 1, &f->err),
                     1);
    assert_int_equal(sweep(f, ends_ms - 1), 0);
    assert_int_equal(hc_lease_is_held(f->cache, &f->repo, COMMIT, ends_ms, &f->err), 0);
    assert_int_equal(sweep(f, ends_ms), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 0);
    assert_false(temp_dir_has(f->dir, ".hubcache/leases/models--org--name"));
}

static void a_lease_holds_its_own_revision_only(void **state)
{
    struct fixture *f = *state;
    const int64_t now_ms = hc_volume_now_ms(f->cache);
    struct hc_repo other;

    (void)take_lease(f);
    assert_int_equal(hc_repo_init(&other, HC_REPO_DATASET, "org/name", &f->err), 0);
    assert_int_equal(hc_lease_is_held(f->cache, &f->repo, OTHER_COMMIT, now_ms, &f->err),
                     0);
    assert_int_equal(hc_lease_is_held(f->cache, &other, COMMIT, now_ms, &f->err), 0);
    assert_int_equal(list_length(f, &f->repo, NULL), 1);
    assert_int_equal(list_length(f, &f->repo, COMMIT), 1);
    assert_int_equal(list_length(f, &f->repo, OTHER_COMMIT), 0);
    assert_int_equal(list_length(f, &other, NULL), 0);
}

static void leases_are_counted_up_to_the_limit(void **state)
{
    struct fixture *f = *state;
    const int64_t now_ms = hc_volume_now_ms(f->cache);

    for (unsigned i = 0; i < 5; i++)
        (void)take_lease(f);
    assert_int_equal(hc_lease_count(f->cache, &f->repo, COMMIT, 3, now_ms, &f->err), 3);
    assert_int_equal(hc_lease_count(f->cache, &f->repo, COMMIT, 9, now_ms, &f->err), 5);
}

/* ---- what is not trusted ----------------------------------------------------------- */

static void an_id_that_hubcache_does_not_give_is_refused(void **state)
{
    static const char digits[] = "0123456789abcdef0123456789abcdef";
    static const char *const folders[] = {
        "..",        "models--a/../..",    "models--..--x", "",
        ".hubcache", "models--org--name/", "models--\xff",  "blobs",
    };
    struct fixture *f = *state;
    struct hc_lease lease = take_lease(f);
    char id[2 * HC_LEASE_ID_SIZE];

    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        assert_true(hc_format(id, sizeof id, "%s." COMMIT ".%s", folders[i], digits) > 0);
        assert_int_equal(hc_lease_find(f->cache, id, &lease, &f->err), -1);
        assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
        assert_string_equal(f->err.field, "lease_id");
        assert_int_equal(hc_lease_release(f->cache, id, &f->err), -1);
        assert_int_equal(hc_lease_renew(f->cache, id, HOUR_MS, &lease, &f->err), -1);
    }
}

static void no_other_byte_of_an_id_is_taken(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    const size_t tail = strlen(lease.id) - (DIGITS + 1 + 40 + 1);
    struct hc_lease found;
    char id[2 * HC_LEASE_ID_SIZE];

    for (size_t i = tail; i < strlen(lease.id); i++) {
        for (const char *bad = "/.GgXx \n"; *bad; bad++) {
            (void)hc_format(id, sizeof id, "%s", lease.id);
            if (id[i] == *bad)
                continue;
            id[i] = *bad;
            assert_int_equal(hc_lease_find(f->cache, id, &found, &f->err), -1);
        }
    }
    for (size_t length = 0; length < strlen(lease.id); length++) {
        (void)hc_format(id, sizeof id, "%.*s", (int)length, lease.id);
        assert_int_equal(hc_lease_find(f->cache, id, &found, &f->err), -1);
    }
    memset(id, 'a', sizeof id);
    id[sizeof id - 1] = '\0';
    assert_int_equal(hc_lease_find(f->cache, id, &found, &f->err), -1);
    assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 1);
}

/* Its holder may be using the snapshot. */
static void a_file_that_cannot_be_understood_holds_and_has_no_owner(void **state)
{
    static const char *const contents[] = {
        "",
        "{",
        "[]",
        "\"text\"",
        "{\"kind\":1}",
        "{\"kind\":\"\",\"caller\":\"\"}",
        "{\"kind\":\"0123456789abcdef\",\"caller\":\"\",\"pod\":\"\",\"since\":1}",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof contents / sizeof *contents; i++) {
        const struct hc_lease lease = take_lease(f);
        struct hc_lease found;

        temp_dir_write(f->dir, file_of(&lease), contents[i]);
        age_file(f, file_of(&lease), -3600);
        assert_int_equal(is_held(f), 1);
        assert_int_equal(hc_lease_find(f->cache, lease.id, &found, &f->err), 1);
        assert_string_equal(found.kind, "unknown");
        assert_string_equal(found.caller, "");
        assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 1);
    }
}

static void files_that_are_no_leases_hold_nothing_and_stay(void **state)
{
    static const char *const names[] = {"/x",
                                        "/bar.x",
                                        "/0123456789abcdef",
                                        "/0123456789ABCDEF0123456789ABCDEF",
                                        "/0123456789abcdef0123456789abcdef.other",
                                        "/.nfs0000000000000001",
                                        "/d/x"};
    struct fixture *f = *state;
    char path[PATH_MAX];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_true(hc_format(path, sizeof path, LEASES "%s", names[i]) > 0);
        temp_dir_write(f->dir, path, "x");
        age_file(f, path, 24L * 3600);
    }
    assert_int_equal(list_length(f, NULL, NULL), 0);
    assert_int_equal(sweep(f, hc_volume_now_ms(f->cache)), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"),
                     sizeof names / sizeof *names);
}

static void no_symlink_is_followed(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease_request request = request_of(f);
    int root = hc_cache_fd(f->cache);
    struct hc_lease lease;

    temp_dir_write(f->dir, "elsewhere/" COMMIT "/file", "x");
    temp_dir_write(f->dir, ".hubcache/leases/file", "x");
    assert_int_equal(symlinkat("../../elsewhere", root,
                               ".hubcache/leases/models--org--name"),
                     0);
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), -1);
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    assert_int_equal(temp_dir_count(f->dir, "elsewhere"), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void a_name_that_is_too_long_or_no_text_is_refused(void **state)
{
    struct fixture *f = *state;
    struct hc_lease_request request = request_of(f);
    char name[HC_LEASE_CALLER_SIZE + 1];
    struct hc_lease lease;

    memset(name, 'n', sizeof name);
    name[HC_LEASE_CALLER_SIZE] = '\0';
    request.caller = name;
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), -1);
    assert_int_equal(f->err.reason, HC_INVALID_OPTIONS);
    name[HC_LEASE_CALLER_SIZE - 1] = '\0';
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), 1);
    request.pod = "\xff";
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), -1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 1);
}

/* ---- the volume and its clock ------------------------------------------------------ */

static void on_a_read_only_volume_no_lease_is_given(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease_request request = request_of(f);
    struct hc_lease lease;

    make_cache_read_only(f);
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), -1);
    make_cache_writable(f);
    assert_int_equal(f->err.reason, HC_CACHE_READ_ONLY);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 0);
}

/* A replica whose clock was years ahead took it; then the clock was set right. */
static void a_lease_of_a_clock_that_was_set_back_ends_after_its_duration(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    const int64_t taken_ms = lease.until_ms - HOUR_MS;
    const int64_t then_ms = taken_ms - 1000 * (int64_t)HOUR_MS;

    assert_int_equal(sweep(f, then_ms), 0);
    assert_int_equal(hc_lease_is_held(f->cache, &f->repo, COMMIT, then_ms, &f->err), 1);
    assert_int_equal(sweep(f, then_ms + HOUR_MS / 2), 0);
    assert_int_equal(sweep(f, then_ms + 2 * (int64_t)HOUR_MS), 1);
}

/* ---- against a removal ------------------------------------------------------------- */

static void a_leased_revision_cannot_be_barred(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    HC_AUTO(hc_lease_bar) *bar = NULL;

    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 0);
    assert_null(bar);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 1);
    assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 1);
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
    assert_true(hc_lease_bar_holds(bar));
}

static void a_barred_revision_gives_no_lease_until_it_is_unbarred(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease_request request = request_of(f);
    struct hc_lease_bar *bar = NULL, *second = NULL;
    struct hc_lease lease;

    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), 0);
    assert_int_equal(list_length(f, NULL, NULL), 0);
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &second, &f->err), 0);
    assert_true(hc_lease_bar_holds(bar));
    hc_lease_unbar(bar);
    assert_false(temp_dir_has(f->dir, LEASES));
    assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), 1);
}

static void leases_that_have_ended_are_removed_by_a_bar(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_lease_bar) *bar = NULL;

    for (int i = 0; i < 3; i++) {
        const struct hc_lease lease = take_lease(f);

        age_file(f, file_of(&lease), 60);
    }
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 1);
}

static void the_bar_of_a_dead_process_bars_nothing(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease_request request = request_of(f);
    HC_AUTO(hc_lease_bar) *bar = NULL;
    struct hc_lease lease;

    for (int round = 0; round < 3; round++) {
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0)
            _exit(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err) == 1 ? 0 : 1);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        assert_true(temp_dir_has(f->dir, LEASES "/bar"));
        if (round == 0) {
            assert_int_equal(hc_lease_take(f->cache, &request, &lease, &f->err), 1);
            assert_int_equal(hc_lease_release(f->cache, lease.id, &f->err), 1);
        } else if (round == 1) {
            assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
            hc_lease_unbar(hc_take(&bar));
        } else {
            assert_int_equal(sweep(f, hc_volume_now_ms(f->cache)), 0);
        }
        assert_false(temp_dir_has(f->dir, LEASES "/bar"));
    }
}

/* Another host stopped for minutes while it removed; meanwhile a lease was taken. */
/* What a power loss leaves of a file that was not flushed. */
static void a_bar_that_lost_its_content_bars_for_a_while(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_lease_bar) *bar = NULL;

    temp_dir_write(f->dir, LEASES "/bar", "");
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 0);
    age_file(f, LEASES "/bar", HC_HEARTBEAT_TIMEOUT_MS / 1000 + 5);
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
}

static void a_remover_that_was_stopped_finds_out_that_its_bar_is_gone(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_lease_bar) *bar = NULL;

    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
    assert_int_equal(unlinkat(hc_cache_fd(f->cache), LEASES "/bar", 0), 0);
    (void)take_lease(f);
    assert_false(hc_lease_bar_holds(bar));
    hc_lease_unbar(hc_take(&bar));
    assert_int_equal(is_held(f), 1);
}

/* The process that looked at it died between two steps. */
static void a_lease_whose_removal_was_broken_off_holds_or_is_removed(void **state)
{
    struct fixture *f = *state;
    const struct hc_lease lease = take_lease(f);
    HC_AUTO(hc_lease_bar) *bar = NULL;
    char ended[PATH_MAX];
    int root = hc_cache_fd(f->cache);

    assert_true(hc_format(ended, sizeof ended, "%s.ended", file_of(&lease)) > 0);
    assert_int_equal(renameat(root, file_of(&lease), root, ended), 0);
    assert_int_equal(is_held(f), 1);
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 0);
    assert_true(temp_dir_has(f->dir, file_of(&lease))); /* has its name back */
    assert_int_equal(renameat(root, file_of(&lease), root, ended), 0);
    age_file(f, ended, 60);
    assert_int_equal(hc_lease_bar(f->cache, &f->repo, COMMIT, &bar, &f->err), 1);
    assert_false(temp_dir_has(f->dir, ended));
}

/* ---- many at the same time --------------------------------------------------------- */

enum { TAKERS = 4, ROUNDS = 60 };

struct race {
    struct fixture *f;
    struct hc_cache *cache;
    atomic_int leased; /* leases that are held right now */
    atomic_bool is_over;
    atomic_uint taken, barred;
    pthread_barrier_t start;
};

static void *take_and_release(void *ctx)
{
    struct race *race = ctx;
    const struct hc_lease_request request = request_of(race->f);
    struct hc_error err;

    (void)pthread_barrier_wait(&race->start);
    for (int i = 0; i < ROUNDS; i++) {
        struct hc_lease lease, renewed;
        int result = hc_lease_take(race->cache, &request, &lease, &err);

        if (result < 0)
            abort();
        if (result == 0)
            continue;
        (void)atomic_fetch_add(&race->leased, 1);
        (void)atomic_fetch_add(&race->taken, 1);
        if (i % 3 == 0 &&
            hc_lease_renew(race->cache, lease.id, HOUR_MS, &renewed, &err) != 1)
            abort();
        (void)atomic_fetch_sub(&race->leased, 1);
        if (hc_lease_release(race->cache, lease.id, &err) != 1)
            abort();
    }
    return NULL;
}

static void *bar_and_unbar(void *ctx)
{
    struct race *race = ctx;
    struct hc_error err;
    unsigned held;

    (void)pthread_barrier_wait(&race->start);
    while (!atomic_load(&race->is_over)) {
        HC_AUTO(hc_lease_bar) *bar = NULL;
        int result = hc_lease_bar(race->cache, &race->f->repo, COMMIT, &bar, &err);

        if (result < 0)
            abort();
        if (result == 1) {
            (void)atomic_fetch_add(&race->barred, 1);
            for (int i = 0; i < 20; i++) {
                if (atomic_load(&race->leased) != 0)
                    abort(); /* leased and barred */
            }
        }
        (void)hc_lease_sweep(race->cache, hc_volume_now_ms(race->cache), &held);
    }
    return NULL;
}

static void leases_and_removals_of_one_revision_exclude_each_other(void **state)
{
    struct fixture *f = *state;
    struct race race = {.f = f, .cache = f->cache};
    pthread_t takers[TAKERS], removers[2];

    assert_int_equal(pthread_barrier_init(&race.start, NULL, TAKERS + 2), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&removers[i], NULL, bar_and_unbar, &race), 0);
    for (int i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_create(&takers[i], NULL, take_and_release, &race), 0);
    for (int i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_join(takers[i], NULL), 0);
    atomic_store(&race.is_over, true);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_join(removers[i], NULL), 0);
    (void)pthread_barrier_destroy(&race.start);
    assert_true(atomic_load(&race.taken) > 0);
    assert_int_equal(is_held(f), 0);
    (void)sweep(f, hc_volume_now_ms(f->cache));
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/leases"), 0);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_lease_that_is_taken_is_a_file_that_ends_at_its_mtime),
        WITH_CACHE(another_process_finds_the_caller_the_pod_and_both_times),
        WITH_CACHE(every_lease_has_an_id_of_its_own_that_names_no_path),
        WITH_CACHE(a_renewed_lease_ends_later_and_keeps_all_else),
        WITH_CACHE(a_lease_can_be_renewed_to_end_earlier),
        WITH_CACHE(a_released_lease_is_gone_and_releasing_it_again_is_no_error),
        WITH_CACHE(a_lease_whose_time_has_passed_cannot_be_renewed),
        WITH_CACHE(a_lease_holds_until_the_grace_after_its_end),
        WITH_CACHE(a_lease_holds_its_own_revision_only),
        WITH_CACHE(leases_are_counted_up_to_the_limit),
        WITH_CACHE(an_id_that_hubcache_does_not_give_is_refused),
        WITH_CACHE(no_other_byte_of_an_id_is_taken),
        WITH_CACHE(a_file_that_cannot_be_understood_holds_and_has_no_owner),
        WITH_CACHE(files_that_are_no_leases_hold_nothing_and_stay),
        WITH_CACHE(no_symlink_is_followed),
        WITH_CACHE(a_name_that_is_too_long_or_no_text_is_refused),
        WITH_CACHE(on_a_read_only_volume_no_lease_is_given),
        WITH_CACHE(a_lease_of_a_clock_that_was_set_back_ends_after_its_duration),
        WITH_CACHE(a_leased_revision_cannot_be_barred),
        WITH_CACHE(a_barred_revision_gives_no_lease_until_it_is_unbarred),
        WITH_CACHE(leases_that_have_ended_are_removed_by_a_bar),
        WITH_CACHE(the_bar_of_a_dead_process_bars_nothing),
        WITH_CACHE(a_bar_that_lost_its_content_bars_for_a_while),
        WITH_CACHE(a_remover_that_was_stopped_finds_out_that_its_bar_is_gone),
        WITH_CACHE(a_lease_whose_removal_was_broken_off_holds_or_is_removed),
        WITH_CACHE(leases_and_removals_of_one_revision_exclude_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
