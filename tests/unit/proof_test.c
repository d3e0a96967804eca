/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a proof outlives the process that wrote it, and never says that a file is
 * whole that is not there, whatever other clients add, replace and remove meanwhile. What
 * is damaged, or states other facts, is no proof.
 */
#include "cache_fixture.h"
#include "random.h"

#include <cache/proof.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 60, DIRECTORIES = 5, ROUNDS = 400, OLD_S = 3 * 3600 };

#define SNAPSHOT "models--org--name/snapshots/" COMMIT
#define BLOBS "models--org--name/blobs"
#define PROOF ".hubcache/proofs/models--org--name/" COMMIT

struct snapshot {
    struct fixture *f;
    struct hc_tree *tree;
    struct hc_workers *workers;
    struct hc_repo_file place;
};

/* ---- the snapshot ------------------------------------------------------------------ */

static void format_name(char name[64], unsigned number)
{
    static const char *const folders[DIRECTORIES] = {"", "a/", "a/b/", "a-b/", "z/"};

    (void)snprintf(name, 64, "%sfile-%02u", folders[number % DIRECTORIES], number);
}

static void format_etag(char etag[41], unsigned number)
{
    (void)snprintf(etag, 41, "%040x", number + 1);
}

static const char *pointer_of(unsigned number)
{
    static char path[PATH_MAX];
    char name[64];

    format_name(name, number);
    (void)snprintf(path, sizeof path, SNAPSHOT "/%s", name);
    return path;
}

static const char *blob_of(unsigned number)
{
    static char path[PATH_MAX];
    char etag[41];

    format_etag(etag, number);
    (void)snprintf(path, sizeof path, BLOBS "/%s", etag);
    return path;
}

static void add_pointer(const struct snapshot *s, unsigned number)
{
    HC_AUTO_FREE char *path = temp_dir_path(s->f->dir, pointer_of(number));
    char target[128] = "", etag[41], name[64];

    format_etag(etag, number);
    format_name(name, number);
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/'))
        (void)strcat(target, "../");
    (void)snprintf(target + strlen(target), 64, "../../blobs/%s", etag);
    (void)unlink(path);
    temp_dir_write(s->f->dir, pointer_of(number), ""); /* with its directories */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink(target, path), 0);
}

static void add_blob(const struct snapshot *s, unsigned number)
{
    temp_dir_write(s->f->dir, blob_of(number), "bytes");
}

static void remove_path(const struct snapshot *s, const char *path)
{
    (void)unlinkat(hc_cache_fd(s->f->cache), path, 0);
}

static struct hc_tree *make_tree(unsigned files, struct hc_error *err)
{
    struct hc_tree *tree = hc_tree_new(err);

    assert_non_null(tree);
    for (unsigned i = 0; i < files; i++) {
        char name[64], etag[41];

        format_name(name, i);
        format_etag(etag, i);
        assert_int_equal(hc_tree_add(tree,
                                     &(const struct hc_entry){.path = name,
                                                              .blob_id = etag,
                                                              .size = 5},
                                     err),
                         0);
    }
    assert_int_equal(hc_tree_finish(tree, err), 0);
    return tree;
}

static int make_snapshot(void **state)
{
    struct snapshot *s = calloc(1, sizeof *s);
    void *fixture;

    assert_non_null(s);
    assert_int_equal(make_cache(&fixture), 0);
    s->f = fixture;
    s->tree = make_tree(FILES, &s->f->err);
    s->workers = hc_workers_open(4, 100, &s->f->err);
    assert_non_null(s->workers);
    s->place = (struct hc_repo_file){&s->f->repo, COMMIT, NULL};
    for (unsigned i = 0; i < FILES; i++) {
        add_blob(s, i);
        add_pointer(s, i);
    }
    *state = s;
    return 0;
}

static int remove_snapshot(void **state)
{
    struct snapshot *s = *state;
    void *fixture = s->f;

    hc_tree_free(s->tree);
    hc_workers_close(s->workers);
    assert_int_equal(remove_cache(&fixture), 0);
    free(s);
    return 0;
}

/* ---- looks and proofs -------------------------------------------------------------- */

static struct hc_proof *open_proof(const struct snapshot *s)
{
    return hc_proof_open(s->f->cache, &s->place, s->tree,
                         &(const struct hc_parallel){.workers = s->workers});
}

static bool entry_is_whole(const struct snapshot *s, size_t entry)
{
    struct stat status;
    char path[PATH_MAX];

    (void)snprintf(path, sizeof path, SNAPSHOT "/%s", s->tree->entries[entry].path);
    return fstatat(hc_cache_fd(s->f->cache), path, &status, 0) == 0 &&
           status.st_size == 5;
}

static int64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Later changes get another time stamp: what the two seconds are there for. */
static void await_tick(const struct snapshot *s)
{
    HC_AUTO_FREE char *path = temp_dir_path(s->f->dir, "tick");
    struct stat before, after;

    temp_dir_write(s->f->dir, "tick", "");
    assert_int_equal(stat(path, &before), 0);
    do {
        temp_dir_write(s->f->dir, "tick", "");
        assert_int_equal(stat(path, &after), 0);
    } while (before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
             before.st_mtim.tv_nsec == after.st_mtim.tv_nsec);
}

/* Looks at what the proof does not say, and saves it `later_ms` from now. */
static void look_and_save(const struct snapshot *s, struct hc_proof *proof,
                          int64_t later_ms)
{
    for (size_t i = 0; i < s->tree->count; i++) {
        if (!hc_proof_has(proof, i))
            hc_proof_set(proof, i, entry_is_whole(s, i));
    }
    if (hc_proof_is_changed(proof))
        hc_proof_save(proof, now_ms() + later_ms);
}

static void prove(const struct snapshot *s)
{
    HC_AUTO(hc_proof) *proof = NULL;

    await_tick(s);
    proof = open_proof(s);
    assert_non_null(proof);
    look_and_save(s, proof, HC_PROOF_MIN_AGE_MS + 1000);
}

/* What a new process takes from the volume; none of it may be wrong. */
static size_t count_proved(const struct snapshot *s)
{
    HC_AUTO(hc_proof) *proof = open_proof(s);
    size_t count = 0;

    for (size_t i = 0; proof && i < s->tree->count; i++) {
        if (!hc_proof_has(proof, i))
            continue;
        count++;
        if (!entry_is_whole(s, i))
            fail_msg("%s is proved and not there", s->tree->entries[i].path);
    }
    return count;
}

static void a_proof_outlives_the_process(void **state)
{
    struct snapshot *s = *state;

    assert_int_equal(count_proved(s), 0);
    prove(s);
    assert_int_equal(count_proved(s), FILES);
    reopen_cache(s->f, false);
    assert_int_equal(count_proved(s), FILES);
}

static void a_proof_of_a_part_says_nothing_of_the_rest(void **state)
{
    struct snapshot *s = *state;

    remove_path(s, pointer_of(7));
    remove_path(s, blob_of(8));
    prove(s);
    assert_int_equal(count_proved(s), FILES - 2);
    add_pointer(s, 7);
    assert_int_equal(count_proved(s), 0);
    prove(s);
    assert_int_equal(count_proved(s), FILES - 1);
}

static void what_another_client_changes_ends_the_proof(void **state)
{
    struct snapshot *s = *state;

    prove(s);
    remove_path(s, pointer_of(11)); /* a/ */
    assert_int_equal(count_proved(s), 0);
    add_pointer(s, 11);
    prove(s);
    remove_path(s, blob_of(11));
    assert_int_equal(count_proved(s), 0);
    add_blob(s, 11);
    prove(s);
    assert_int_equal(count_proved(s), FILES);
    assert_int_equal(renameat(hc_cache_fd(s->f->cache), SNAPSHOT "/z",
                              hc_cache_fd(s->f->cache), SNAPSHOT "/y"),
                     0);
    assert_int_equal(count_proved(s), 0);
}

static void a_proof_of_another_listing_is_none(void **state)
{
    struct snapshot *s = *state;

    prove(s);
    hc_tree_free(s->tree);
    s->tree = make_tree(FILES - 1, &s->f->err);
    assert_int_equal(count_proved(s), 0);
    s->place.revision = OTHER_COMMIT;
    assert_int_equal(count_proved(s), 0);
}

static void soon_after_a_change_no_proof_is_written(void **state)
{
    struct snapshot *s = *state;
    struct hc_proof *proof = open_proof(s);

    look_and_save(s, proof, 0);
    hc_proof_close(proof);
    assert_false(temp_dir_has(s->f->dir, PROOF));
    proof = open_proof(s);
    look_and_save(s, proof, -(int64_t)OLD_S * 1000); /* the directories are newer */
    hc_proof_close(proof);
    assert_false(temp_dir_has(s->f->dir, PROOF));
}

static void damage_to_the_file_leaves_no_proof(void **state)
{
    struct snapshot *s = *state;
    HC_AUTO_FREE char *path = temp_dir_path(s->f->dir, PROOF);
    HC_AUTO_FREE char *text = NULL;
    struct random_source random;
    size_t size;

    random_begin(&random, "damage");
    prove(s);
    text = temp_dir_read(s->f->dir, PROOF);
    assert_non_null(text);
    size = strlen(text);
    for (int i = 0; i < 500; i++) {
        size_t at = random_between(&random, 0, size - 2);
        char was = text[at];

        text[at] = (char)random_between(&random, 0, 255);
        temp_dir_write(s->f->dir, PROOF, text); /* a NUL cuts it short */
        if (text[at] != was)
            assert_int_equal(count_proved(s), 0);
        text[at] = was;
    }
    temp_dir_write(s->f->dir, PROOF, text);
    assert_int_equal(count_proved(s), FILES);
    assert_int_equal(truncate(path, (off_t)size * 1000), 0);
    assert_int_equal(count_proved(s), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(count_proved(s), 0);
    prove(s); /* and it is replaced */
    assert_int_equal(count_proved(s), FILES);
}

static void blobs_that_repos_share_are_not_proved(void **state)
{
    struct snapshot *s = *state;
    HC_AUTO_FREE char *path = temp_dir_path(s->f->dir, blob_of(3));

    temp_dir_write(s->f->dir, "blobs/ab/payload", "bytes");
    remove_path(s, blob_of(3));
    assert_int_equal(symlink("../../blobs/ab/payload", path), 0);
    prove(s);
    assert_false(temp_dir_has(s->f->dir, PROOF));
}

static void a_symlink_in_the_place_of_a_directory_is_not_proved(void **state)
{
    struct snapshot *s = *state;
    HC_AUTO_FREE char *path = temp_dir_path(s->f->dir, SNAPSHOT "/z");
    HC_AUTO_FREE char *elsewhere = temp_dir_path(s->f->dir, SNAPSHOT "/y");

    assert_int_equal(rename(path, elsewhere), 0);
    assert_int_equal(symlink("y", path), 0);
    assert_null(open_proof(s));
}

static void a_snapshot_of_very_many_directories_is_not_proved(void **state)
{
    struct snapshot *s = *state;
    char name[64];

    hc_tree_free(s->tree);
    s->tree = hc_tree_new(&s->f->err);
    for (unsigned i = 0; i <= HC_PROOF_DIRECTORIES_MAX; i++) {
        (void)snprintf(name, sizeof name, "%u/file", i);
        assert_int_equal(hc_tree_add_path(s->tree, name, &s->f->err), 0);
    }
    assert_int_equal(hc_tree_finish(s->tree, &s->f->err), 0);
    assert_null(open_proof(s));
}

/* They may name a directory anywhere. */
static void unsafe_names_of_a_listing_are_not_looked_at(void **state)
{
    struct snapshot *s = *state;

    hc_tree_free(s->tree);
    s->tree = hc_tree_new(&s->f->err);
    assert_int_equal(hc_tree_add_path(s->tree, "../../../../x", &s->f->err), 0);
    assert_int_equal(hc_tree_finish(s->tree, &s->f->err), 0);
    assert_null(open_proof(s));
}

static void one_caller_is_told_that_a_proof_is_old(void **state)
{
    struct snapshot *s = *state;
    struct hc_proof *proof;

    prove(s);
    proof = open_proof(s);
    assert_false(hc_proof_is_old(proof));
    hc_proof_close(proof);
    age_file(s->f, PROOF, OLD_S);
    for (int i = 0; i < 2; i++) {
        proof = open_proof(s);
        assert_int_equal(hc_proof_is_old(proof), i == 0);
        hc_proof_close(proof);
    }
    assert_int_equal(count_proved(s), FILES);
}

static void proofs_of_a_month_ago_are_swept(void **state)
{
    struct snapshot *s = *state;

    prove(s);
    hc_proof_sweep(s->f->cache, now_ms());
    assert_true(temp_dir_has(s->f->dir, PROOF));
    hc_proof_sweep(s->f->cache, now_ms() + INT64_C(31) * 24 * 3600 * 1000);
    assert_false(temp_dir_has(s->f->dir, PROOF));
}

/* ---- at random --------------------------------------------------------------------- */

static void replace_pointer(const struct snapshot *s, unsigned number, unsigned blob)
{
    HC_AUTO_FREE char *path = temp_dir_path(s->f->dir, pointer_of(number));
    char target[64], etag[41];

    format_etag(etag, blob);
    (void)snprintf(target, sizeof target, "../../blobs/%s", etag);
    (void)unlink(path);
    (void)symlink(target, path); /* right in the topmost directory only */
}

/* What another client does: false: nothing. */
static bool change_at_random(const struct snapshot *s, struct random_source *random)
{
    unsigned number = (unsigned)random_between(random, 0, FILES - 1);

    switch (random_between(random, 0, 9)) {
    case 0:
        remove_path(s, pointer_of(number));
        return true;
    case 1:
        add_pointer(s, number);
        return true;
    case 2:
        remove_path(s, blob_of(number));
        return true;
    case 3:
        add_blob(s, number);
        return true;
    case 4:
        replace_pointer(s, number, (number + 1) % FILES);
        return true;
    case 5:
        (void)renameat(hc_cache_fd(s->f->cache), SNAPSHOT "/a/b",
                       hc_cache_fd(s->f->cache), SNAPSHOT "/a/c");
        return true;
    default:
        return false;
    }
}

static void at_random_nothing_is_proved_that_is_not_there(void **state)
{
    struct snapshot *s = *state;
    struct random_source random;
    size_t proved = 0;

    random_begin(&random, "other clients");
    for (int i = 0; i < ROUNDS; i++) {
        for (uint64_t n = random_between(&random, 0, 3); n > 0; n--)
            (void)change_at_random(s, &random);
        proved += count_proved(s);
        if (random_between(&random, 0, 1))
            prove(s);
    }
    assert_true(proved > 0);
}

#define test(name) cmocka_unit_test_setup_teardown(name, make_snapshot, remove_snapshot)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_proof_outlives_the_process),
        test(a_proof_of_a_part_says_nothing_of_the_rest),
        test(what_another_client_changes_ends_the_proof),
        test(a_proof_of_another_listing_is_none),
        test(soon_after_a_change_no_proof_is_written),
        test(damage_to_the_file_leaves_no_proof),
        test(blobs_that_repos_share_are_not_proved),
        test(a_symlink_in_the_place_of_a_directory_is_not_proved),
        test(a_snapshot_of_very_many_directories_is_not_proved),
        test(unsafe_names_of_a_listing_are_not_looked_at),
        test(one_caller_is_told_that_a_proof_is_old),
        test(proofs_of_a_month_ago_are_swept),
        test(at_random_nothing_is_proved_that_is_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
