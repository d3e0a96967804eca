/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the memo says what the file would say now, or what a recent look found, and
 * "recent" has the bound that the header states. A file in another state, or one that has
 * only just changed, is read; what this process writes is forgotten at once; and memory
 * has a bound, however many paths there are.
 */
#include "cache_fixture.h"

#include <base/cancellation.h>
#include <cache/memo.h>
#include <cache/pointer.h>
#include <cache/ref.h>

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define test(name) cmocka_unit_test_setup_teardown(name, make_cache, remove_cache)

#define OLD "1111111111111111111111111111111111111111"
#define NEW "2222222222222222222222222222222222222222"

enum { INTERVAL_MS = 60 * 1000, NS_PER_MS = 1000000, LOOKS = 100 };

static const struct stat settled = {.st_ino = 1,
                                    .st_size = 40,
                                    .st_ctim = {.tv_sec = 100},
                                    .st_mtim = {.tv_sec = 7}};

/* A memo that recalls for a minute, once its volume is slow. */
static struct hc_memo *make_memo(struct fixture *f)
{
    struct hc_memo *memo = hc_memo_new(&f->err);

    assert_non_null(memo);
    hc_memo_set_interval(memo, INTERVAL_MS);
    return memo;
}

/* Stores what a look found that began `age_ns` ago. */
static void store_aged(struct hc_memo *memo, const char *path, const char *text,
                       int64_t age_ns)
{
    struct hc_memo_look look = hc_memo_begin_look(memo, path);
    struct hc_memo_fact fact = {0};

    (void)snprintf(fact.text, sizeof fact.text, "%s", text);
    look.began_ns -= age_ns;
    hc_memo_store(memo, &look, &settled, &fact);
}

static void store(struct hc_memo *memo, const char *path, const char *text)
{
    store_aged(memo, path, text, 0);
}

static bool is_found(struct hc_memo *memo, const char *path, const struct stat *status,
                     struct hc_memo_fact *fact)
{
    const struct hc_memo_look look = hc_memo_begin_look(memo, path);

    return hc_memo_find(memo, &look, status, fact);
}

static bool is_recalled(struct hc_memo *memo, const char *path)
{
    struct hc_memo_fact fact;

    return hc_memo_recall(memo, path, &fact);
}

static bool is_due(struct hc_memo *memo, const char *path)
{
    struct hc_memo_fact fact;

    assert_true(hc_memo_recall(memo, path, &fact));
    return fact.is_due;
}

/* As many looks as settle the median, each of which took so long. */
static void look_often(struct hc_memo *memo, int64_t took_ns)
{
    for (int i = 0; i < LOOKS; i++)
        store_aged(memo, "speed", "", took_ns);
}

static void make_slow(struct hc_memo *memo)
{
    look_often(memo, NS_PER_MS);
    assert_true(hc_memo_is_slow(memo));
}

/* ---- find -------------------------------------------------------------------------- */

static void a_stored_text_is_found_for_the_same_state_only(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct stat changed = settled;
    struct hc_memo_fact fact;

    store(memo, "a", "one");
    assert_true(is_found(memo, "a", &settled, &fact));
    assert_string_equal(fact.text, "one");
    assert_int_equal(fact.size, 40);
    assert_int_equal(fact.mtime_ms, 7000);
    assert_false(is_found(memo, "b", &settled, &fact));
    changed.st_ctim.tv_nsec = 1;
    assert_false(is_found(memo, "a", &changed, &fact));
    changed = settled;
    changed.st_ino = 2;
    assert_false(is_found(memo, "a", &changed, &fact));
    changed = settled;
    changed.st_size = 41;
    assert_false(is_found(memo, "a", &changed, &fact));
}

static void the_state_of_a_file_that_has_just_changed_proves_nothing(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct stat status = {.st_ino = 1};
    struct hc_memo_look look;
    struct hc_memo_fact fact = {.text = "one"};

    make_slow(memo);
    status.st_ctim.tv_sec = time(NULL);
    look = hc_memo_begin_look(memo, "a");
    hc_memo_store(memo, &look, &status, &fact);
    assert_false(is_found(memo, "a", &status, &fact));
    assert_true(is_recalled(memo, "a"));

    status.st_ctim.tv_sec -= HC_MEMO_MIN_AGE_S;
    look = hc_memo_begin_look(memo, "a");
    hc_memo_store(memo, &look, &status, &fact);
    assert_true(is_found(memo, "a", &status, &fact));
}

/* ---- recall ------------------------------------------------------------------------ */

static void on_a_slow_volume_a_look_is_recalled_for_the_interval(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_memo_fact fact;

    make_slow(memo);
    store_aged(memo, "young", "one", (INTERVAL_MS - 10000) * (int64_t)NS_PER_MS);
    store_aged(memo, "old", "one", INTERVAL_MS * (int64_t)NS_PER_MS);
    assert_true(hc_memo_recall(memo, "young", &fact));
    assert_string_equal(fact.text, "one");
    assert_int_equal(fact.size, 40);
    assert_int_equal(fact.mtime_ms, 7000);
    assert_false(is_recalled(memo, "old"));
    assert_false(is_recalled(memo, "never"));

    assert_true(is_found(memo, "old", &settled, &fact));
    assert_true(is_recalled(memo, "old"));
}

static void on_a_quick_volume_a_look_is_recalled_for_a_few_looks(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    const struct hc_memo_look look = hc_memo_begin_look(memo, "proved");

    look_often(memo, HC_MEMO_SLOW_NS / 2);
    assert_false(hc_memo_is_slow(memo));
    store_aged(memo, "a", "one", (int64_t)HC_MEMO_SLOW_NS * HC_MEMO_QUICK_LOOKS);
    assert_false(is_recalled(memo, "a"));

    hc_memo_store_proved(memo, &look, 1000 * 1000, "many looks");
    assert_true(is_recalled(memo, "proved"));
}

static void with_an_interval_of_zero_nothing_is_recalled(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_memo_fact fact;

    make_slow(memo);
    hc_memo_set_interval(memo, 0);
    store(memo, "a", "one");
    assert_false(is_recalled(memo, "a"));
    assert_true(is_found(memo, "a", &settled, &fact));
    hc_memo_set_interval(memo, INT64_MAX);
    assert_true(is_recalled(memo, "a"));
}

static void one_caller_is_told_to_confirm_in_the_second_half_of_the_interval(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_memo_fact fact;

    make_slow(memo);
    store_aged(memo, "a", "one", INTERVAL_MS / 4 * (int64_t)NS_PER_MS);
    assert_false(is_due(memo, "a"));
    for (int i = 0; i < 2; i++) {
        store_aged(memo, "a", "one", INTERVAL_MS * 3 / 4 * (int64_t)NS_PER_MS);
        assert_true(is_due(memo, "a"));
        assert_false(is_due(memo, "a"));
    }
    assert_true(is_found(memo, "a", &settled, &fact));
    assert_false(is_due(memo, "a"));
}

static void a_few_slow_looks_do_not_make_a_volume_slow(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);

    look_often(memo, 0);
    for (int i = 0; i < 5; i++)
        store_aged(memo, "speed", "", (int64_t)9 * NS_PER_MS);
    assert_false(hc_memo_is_slow(memo));
    make_slow(memo);
    look_often(memo, 0);
    assert_false(hc_memo_is_slow(memo));
}

static void the_first_look_decides_until_the_next(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_memo_look look = hc_memo_begin_look(memo, "absent");

    assert_false(hc_memo_is_slow(memo));
    look.began_ns -= 5 * NS_PER_MS;
    hc_memo_store_absent(memo, &look);
    assert_true(hc_memo_is_slow(memo));
    store_aged(memo, "a", "one", 0);
    assert_false(hc_memo_is_slow(memo));
}

static void after_a_look_that_hung_sixteen_quick_ones_are_due(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);

    look_often(memo, 0);
    store_aged(memo, "a", "one", (int64_t)HC_MEMO_HANG_NS * HC_MEMO_QUICK_LOOKS);
    assert_true(hc_memo_is_slow(memo));
    assert_false(hc_memo_median_is_slow(memo));
    assert_false(is_recalled(memo, "a")); /* as on any quick volume */
    for (int i = 1; i < HC_MEMO_HANG_LOOKS; i++)
        store_aged(memo, "speed", "", 0);
    store_aged(memo, "speed", "", 2 * NS_PER_MS);
    for (int i = 1; i < HC_MEMO_HANG_LOOKS; i++)
        store_aged(memo, "speed", "", 0);
    assert_true(hc_memo_is_slow(memo));
    store_aged(memo, "speed", "", 0);
    assert_false(hc_memo_is_slow(memo));
}

/* ---- what this process writes ------------------------------------------------------ */

static void what_this_process_writes_is_forgotten_at_once(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_memo_fact fact;

    make_slow(memo);
    store(memo, "a", "one");
    hc_memo_forget(memo, "a");
    assert_false(is_recalled(memo, "a"));
    assert_false(is_found(memo, "a", &settled, &fact));
}

static void a_look_that_began_before_a_write_stores_nothing(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_memo_look look;
    struct hc_memo_fact fact = {.text = "old"};

    make_slow(memo);
    look = hc_memo_begin_look(memo, "a");
    hc_memo_forget(memo, "a");
    hc_memo_store(memo, &look, &settled, &fact);
    assert_false(is_recalled(memo, "a"));
    hc_memo_store_proved(memo, &look, 1, "old");
    assert_false(is_recalled(memo, "a"));
}

/* ---- bounds ------------------------------------------------------------------------ */

static void entries_are_bounded_and_the_last_ones_stay(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    size_t entries, bytes, recalled = 0;
    char path[128];

    make_slow(memo);
    for (int i = 0; i < 3 * HC_MEMO_SLOTS; i++) {
        (void)snprintf(path, sizeof path, "models--a--b/snapshots/" OLD "/%d", i);
        store_aged(memo, path, NEW, NS_PER_MS);
    }
    hc_memo_count(memo, &entries, &bytes);
    assert_in_range(entries, HC_MEMO_SLOTS * 9 / 10, HC_MEMO_SLOTS);
    assert_in_range(bytes, 1, HC_MEMO_BYTES);
    for (int i = 3 * HC_MEMO_SLOTS - 10000; i < 3 * HC_MEMO_SLOTS; i++) {
        (void)snprintf(path, sizeof path, "models--a--b/snapshots/" OLD "/%d", i);
        recalled += is_recalled(memo, path);
    }
    assert_in_range(recalled, 9900, 10000);
}

static void a_working_set_of_100000_paths_fits(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    size_t recalled = 0;
    char path[128];

    make_slow(memo);
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(path, sizeof path, "models--a--b/snapshots/" OLD "/%d", i);
        store_aged(memo, path, NEW, NS_PER_MS);
    }
    for (int i = 0; i < 100000; i++) {
        (void)snprintf(path, sizeof path, "models--a--b/snapshots/" OLD "/%d", i);
        recalled += is_recalled(memo, path);
    }
    assert_in_range(recalled, 90000, 100000);
}

static void bytes_are_bounded_and_a_path_that_is_too_long_is_not_stored(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    char path[HC_MEMO_PATH_MAX + 2], text[HC_MEMO_TEXT_MAX + 1];
    size_t entries, bytes;

    make_slow(memo);
    memset(text, 't', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < HC_MEMO_SLOTS; i++) {
        (void)snprintf(path, sizeof path, "%0*d", HC_MEMO_PATH_MAX, i);
        store_aged(memo, path, text, NS_PER_MS); /* the volume stays slow */
    }
    hc_memo_count(memo, &entries, &bytes);
    assert_in_range(bytes, HC_MEMO_BYTES * 9 / 10, HC_MEMO_BYTES);
    assert_true(is_recalled(memo, path));
    (void)snprintf(path, sizeof path, "%0*d", HC_MEMO_PATH_MAX + 1, 1);
    store_aged(memo, path, text, NS_PER_MS);
    assert_false(is_recalled(memo, path));
}

/* ---- threads ----------------------------------------------------------------------- */

/* Stores, recalls and forgets a few paths; true: no text was another path's. */
static void *memo_use(void *ctx)
{
    struct hc_memo *memo = ctx;
    struct hc_memo_fact fact;
    char path[16];

    for (int i = 0; i < 20000; i++) {
        (void)snprintf(path, sizeof path, "%d", i % 7);
        if (i % 11 == 0)
            hc_memo_forget(memo, path);
        else if (i % 3 == 0)
            store(memo, path, path);
        else if (is_found(memo, path, &settled, &fact) && strcmp(fact.text, path) != 0)
            return memo;
        if (hc_memo_recall(memo, path, &fact) && strcmp(fact.text, path) != 0)
            return memo;
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    pthread_t threads[4];
    void *wrong;

    make_slow(memo);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, memo_use, memo), 0);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_join(threads[i], &wrong), 0);
        assert_null(wrong);
    }
}

/* ---- answers from several facts ---------------------------------------------------- */

static bool is_valid_at(const struct hc_memo_fact *fact, int64_t now_ns)
{
    struct hc_reuse reuse = {0};

    hc_reuse_add(&reuse, &fact->term);
    return hc_reuse_is_valid(&reuse, now_ns);
}

static void on_a_slow_volume_an_answer_is_given_again_until_its_fact_is_due(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    const int64_t interval_ns = INTERVAL_MS * (int64_t)NS_PER_MS;
    const int64_t before_ns = hc_monotonic_ns();
    struct hc_memo_fact fact;

    make_slow(memo);
    store(memo, "a", "one");
    assert_true(hc_memo_recall(memo, "a", &fact));
    assert_true(is_valid_at(&fact, before_ns + interval_ns / 2));
    assert_false(is_valid_at(&fact, hc_monotonic_ns() + interval_ns / 2));

    assert_true(is_found(memo, "a", &settled, &fact));
    assert_true(is_valid_at(&fact, before_ns + interval_ns / 2));
    assert_false(is_valid_at(&fact, hc_monotonic_ns() + interval_ns / 2));
}

static void on_a_quick_volume_an_answer_is_given_again_for_a_few_looks(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    const int64_t look_ns = HC_MEMO_SLOW_NS / 2;
    struct hc_memo_fact fact;

    look_often(memo, look_ns);
    assert_true(is_found(memo, "speed", &settled, &fact));
    assert_true(fact.term.until_ns >= hc_monotonic_ns());
    assert_false(
        is_valid_at(&fact, hc_monotonic_ns() + 2 * HC_MEMO_QUICK_LOOKS * look_ns));
}

static void an_answer_is_not_given_again_after_a_write_to_any_of_its_paths(void **state)
{
    static const char *const paths[] = {"a", "b", "c", "d", "e"};
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_reuse reuse;
    struct hc_memo_fact fact;

    _Static_assert(sizeof paths / sizeof *paths == HC_REUSE_TERMS, "a path for each");
    make_slow(memo);
    for (size_t written = 0; written < HC_REUSE_TERMS; written++) {
        reuse = (struct hc_reuse){0};
        for (size_t i = 0; i < HC_REUSE_TERMS; i++) {
            store(memo, paths[i], "one");
            assert_true(hc_memo_recall(memo, paths[i], &fact));
            hc_reuse_add(&reuse, &fact.term);
        }
        assert_true(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
        hc_memo_forget(memo, paths[written]);
        assert_false(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
    }
}

static void
an_answer_from_more_facts_than_there_is_room_for_is_not_given_again(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_memo) *memo = make_memo(f);
    struct hc_reuse reuse = {0};
    struct hc_memo_fact fact;

    make_slow(memo);
    store(memo, "a", "one");
    assert_true(hc_memo_recall(memo, "a", &fact));
    assert_false(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
    for (size_t i = 0; i < HC_REUSE_TERMS; i++)
        hc_reuse_add(&reuse, &fact.term);
    assert_true(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
    hc_reuse_add(&reuse, &fact.term);
    assert_false(hc_reuse_is_valid(&reuse, hc_monotonic_ns()));
}

/* ---- refs and pointers ------------------------------------------------------------- */

static void a_ref_that_changed_in_place_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;

    temp_dir_write(f->dir, "models--org--name/refs/main", OLD);
    for (int i = 0; i < 3; i++)
        assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_string_equal(ref.commit, OLD);

    temp_dir_write(f->dir, "models--org--name/refs/main", NEW);
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_string_equal(ref.commit, NEW);
}

/* The volume of the test is made slow, so that looks are recalled for a minute. */
static void make_cache_slow(struct fixture *f)
{
    hc_memo_set_interval(hc_cache_memo(f->cache), INTERVAL_MS);
    make_slow(hc_cache_memo(f->cache));
}

static void a_ref_is_recalled_until_this_process_writes_it(void **state)
{
    struct fixture *f = *state;
    struct hc_ref ref;
    bool is_due = false;

    make_cache_slow(f);
    temp_dir_write(f->dir, "models--org--name/refs/main", OLD);
    assert_false(hc_ref_recall(f->cache, &f->repo, "main", &ref, &is_due));
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    temp_dir_write(f->dir, "models--org--name/refs/main", NEW); /* another client */
    assert_true(hc_ref_recall(f->cache, &f->repo, "main", &ref, &is_due));
    assert_string_equal(ref.commit, OLD);

    assert_int_equal(hc_ref_update(f->cache, &f->repo, "main", COMMIT, &f->err), 0);
    assert_false(hc_ref_recall(f->cache, &f->repo, "main", &ref, &is_due));
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_string_equal(ref.commit, COMMIT);

    hc_ref_expire(f->cache, &f->repo, "main");
    assert_false(hc_ref_recall(f->cache, &f->repo, "main", &ref, &is_due));
    assert_int_equal(hc_ref_find(f->cache, &f->repo, "main", &ref, &f->err), 1);
    assert_int_equal(ref.confirmed_ms, 0);
    assert_int_equal(hc_ref_update(f->cache, &f->repo, "main", COMMIT, &f->err), 0);
    assert_false(hc_ref_recall(f->cache, &f->repo, "main", &ref, &is_due));
}

static void a_pointer_is_recalled_until_a_look_finds_it_gone(void **state)
{
    struct fixture *f = *state;
    const struct hc_repo_file file = {&f->repo, COMMIT, "a/b"};
    HC_AUTO_FREE char *blob = temp_dir_path(f->dir, "models--org--name/blobs/" HELLO_GIT);
    struct hc_pointer pointer;
    bool is_due = false;

    make_cache_slow(f);
    temp_dir_write(f->dir, "models--org--name/blobs/" HELLO_GIT, "hello");
    assert_int_equal(hc_pointer_link(f->cache, &file, HELLO_GIT, false, &f->err), 0);
    assert_false(hc_pointer_recall(f->cache, &f->repo, COMMIT, "a/b", &pointer, &is_due));
    assert_int_equal(hc_pointer_find(f->cache, &f->repo, COMMIT, "a/b", &pointer,
                                     &f->err),
                     1);
    assert_true(pointer.is_direct);
    assert_int_equal(unlink(blob), 0); /* another client */
    memset(&pointer, 0, sizeof pointer);
    assert_true(hc_pointer_recall(f->cache, &f->repo, COMMIT, "a/b", &pointer, &is_due));
    assert_string_equal(pointer.etag, HELLO_GIT);
    assert_int_equal(pointer.size, 5);
    assert_true(pointer.is_direct);
    assert_false(is_due);

    assert_int_equal(hc_pointer_find(f->cache, &f->repo, COMMIT, "a/b", &pointer,
                                     &f->err),
                     0);
    assert_false(hc_pointer_recall(f->cache, &f->repo, COMMIT, "a/b", &pointer, &is_due));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_stored_text_is_found_for_the_same_state_only),
        test(the_state_of_a_file_that_has_just_changed_proves_nothing),
        test(on_a_slow_volume_a_look_is_recalled_for_the_interval),
        test(on_a_quick_volume_a_look_is_recalled_for_a_few_looks),
        test(with_an_interval_of_zero_nothing_is_recalled),
        test(one_caller_is_told_to_confirm_in_the_second_half_of_the_interval),
        test(a_few_slow_looks_do_not_make_a_volume_slow),
        test(the_first_look_decides_until_the_next),
        test(after_a_look_that_hung_sixteen_quick_ones_are_due),
        test(what_this_process_writes_is_forgotten_at_once),
        test(a_look_that_began_before_a_write_stores_nothing),
        test(entries_are_bounded_and_the_last_ones_stay),
        test(a_working_set_of_100000_paths_fits),
        test(bytes_are_bounded_and_a_path_that_is_too_long_is_not_stored),
        test(threads_share_it),
        test(on_a_slow_volume_an_answer_is_given_again_until_its_fact_is_due),
        test(on_a_quick_volume_an_answer_is_given_again_for_a_few_looks),
        test(an_answer_is_not_given_again_after_a_write_to_any_of_its_paths),
        test(an_answer_from_more_facts_than_there_is_room_for_is_not_given_again),
        test(a_ref_that_changed_in_place_is_read_again),
        test(a_ref_is_recalled_until_this_process_writes_it),
        test(a_pointer_is_recalled_until_a_look_finds_it_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
