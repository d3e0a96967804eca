/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a walk of the cache returns every repo, blob, snapshot, ref and file that is
 * in it, and nothing that another program has put there under another name, nor anything
 * that a symlink leads to outside of it.
 */
#include "cache_fixture.h"

#include <cache/walk.h>

#include <base/text.h>

#include <string.h>
#include <sys/stat.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)
#define FOLDER "models--org--name/"

enum { MANY = 3000 };

/* How often `path` is returned; every other return adds one to `others`. */
struct walk_count {
    const char *path;
    unsigned found;
    unsigned others;
};

static void walk_count_all(struct hc_directory_walk walk, struct walk_count *count)
{
    while (hc_directory_walk_next(&walk)) {
        if (strcmp(walk.path, count->path) == 0)
            count->found++;
        else
            count->others++;
    }
    hc_directory_walk_end(&walk);
}

static void assert_only(struct hc_directory_walk walk, const char *path)
{
    struct walk_count count = {.path = path};

    walk_count_all(walk, &count);
    assert_int_equal(count.found, 1);
    assert_int_equal(count.others, 0);
}

static void assert_nothing(struct hc_directory_walk walk)
{
    struct walk_count count = {.path = ""};

    assert_false(walk.is_incomplete);
    walk_count_all(walk, &count);
    assert_int_equal(count.others, 0);
}

static void make_symlink(const struct fixture *f, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), path), 0);
}

static unsigned count_repos(const struct fixture *f, struct hc_repo *last)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(f->cache);
    unsigned count = 0;

    while (hc_walk_next_repo(&walk, last))
        count++;
    return count;
}

static void an_empty_cache_has_nothing(void **state)
{
    struct fixture *f = *state;
    struct hc_repo repo;

    assert_int_equal(count_repos(f, &repo), 0);
    assert_nothing(hc_walk_blobs(f->cache, &f->repo));
    assert_nothing(hc_walk_snapshots(f->cache, &f->repo));
    assert_nothing(hc_walk_refs(f->cache, &f->repo));
    assert_nothing(hc_walk_files(f->cache, &f->repo, COMMIT));
}

static void repos_are_found_and_nothing_beside_them(void **state)
{
    struct fixture *f = *state;
    struct hc_repo repo;

    temp_dir_write(f->dir, "datasets--org--set/refs/main", COMMIT);
    temp_dir_write(f->dir, "blobs/.huggingface-shared-blobs", "1\n");
    temp_dir_write(f->dir, ".locks/models--a--b/x.lock", "");
    temp_dir_write(f->dir, "models--", "a file");
    temp_dir_write(f->dir, "buckets--org--name/x", "");
    temp_dir_write(f->dir, "models--a--b--c/x", "");
    temp_dir_write(f->dir, "models--file", "a file");
    make_symlink(f, "datasets--org--set", "datasets--org--link");

    assert_int_equal(count_repos(f, &repo), 1);
    assert_int_equal(repo.type, HC_REPO_DATASET);
    assert_string_equal(repo.id, "org/set");
}

static void blobs_are_found_and_no_partial_files(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "blobs/" HELLO_GIT, "hello");
    temp_dir_write(f->dir, FOLDER "blobs/" HELLO_GIT ".01234567.incomplete", "he");
    temp_dir_write(f->dir, FOLDER "blobs/." HELLO_GIT ".01234567.shared", "");
    temp_dir_write(f->dir, FOLDER "blobs/directory/" HELLO_SHA256, "");
    temp_dir_write(f->dir, FOLDER "blobs/with space", "");

    assert_only(hc_walk_blobs(f->cache, &f->repo), HELLO_GIT);
}

static void a_blob_in_the_shared_store_is_found(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, "blobs/2c/" HELLO_SHA256, "hello");
    temp_dir_write(f->dir, FOLDER "blobs/x.incomplete", "");
    make_symlink(f, "../../blobs/2c/" HELLO_SHA256, FOLDER "blobs/" HELLO_SHA256);

    assert_only(hc_walk_blobs(f->cache, &f->repo), HELLO_SHA256);
}

static void snapshots_are_directories_named_by_a_commit(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "snapshots/" COMMIT "/a", "");
    temp_dir_write(f->dir, FOLDER "snapshots/" OTHER_COMMIT, "a file");
    temp_dir_write(f->dir, FOLDER "snapshots/notahash/a", "");
    make_symlink(f, COMMIT, FOLDER "snapshots/3333333333333333333333333333333333333333");

    assert_only(hc_walk_snapshots(f->cache, &f->repo), COMMIT);
}

static void refs_are_found_with_the_slashes_of_their_revisions(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "refs/refs/pr/1", COMMIT);
    temp_dir_write(f->dir, FOLDER "refs/" COMMIT, OTHER_COMMIT);
    make_symlink(f, "refs/pr/1", FOLDER "refs/main");

    assert_only(hc_walk_refs(f->cache, &f->repo), "refs/pr/1");
}

static void files_of_a_snapshot_are_pointers_and_plain_files(void **state)
{
    struct fixture *f = *state;
    struct walk_count count = {.path = "sub/pointer"};

    temp_dir_write(f->dir, FOLDER "snapshots/" COMMIT "/sub/plain", "hello");
    temp_dir_write(f->dir, FOLDER "snapshots/" COMMIT "/sub/C:x", "unsafe");
    make_symlink(f, "../../../blobs/" HELLO_GIT,
                 FOLDER "snapshots/" COMMIT "/sub/pointer");
    walk_count_all(hc_walk_files(f->cache, &f->repo, COMMIT), &count);

    assert_int_equal(count.found, 1);
    assert_int_equal(count.others, 1);
}

static void a_symlink_loop_in_a_snapshot_ends(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, FOLDER "snapshots/" COMMIT "/sub/C:x", "unsafe");
    make_symlink(f, "..", FOLDER "snapshots/" COMMIT "/sub/up");

    assert_only(hc_walk_files(f->cache, &f->repo, COMMIT), "sub/up");
}

static void no_symlink_on_the_way_is_followed(void **state)
{
    static const char *const ways[] = {"models--org--name", FOLDER "snapshots",
                                       FOLDER "snapshots/" COMMIT};

    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct fixture *f = *state;
        struct walk_count count = {.path = ""};
        char outside[64];

        temp_dir_write(f->dir, FOLDER "snapshots/" COMMIT "/a", "");
        assert_true(hc_format(outside, sizeof outside, "moved%zu", i) > 0);
        assert_int_equal(renameat(hc_cache_fd(f->cache), ways[i], hc_cache_fd(f->cache),
                                  outside),
                         0);
        {
            char *target = temp_dir_path(f->dir, outside);

            make_symlink(f, target, ways[i]);
            free(target);
        }
        walk_count_all(hc_walk_files(f->cache, &f->repo, COMMIT), &count);
        assert_int_equal(count.others, 0);
        assert_int_equal(unlinkat(hc_cache_fd(f->cache), ways[i], 0), 0);
    }
}

static void each_of_many_blobs_is_found_once(void **state)
{
    struct fixture *f = *state;
    char name[64], path[128];
    struct walk_count count = {.path = name};

    for (int i = 0; i < MANY; i++) {
        assert_true(hc_format(name, sizeof name, "%040x", i) > 0);
        assert_true(hc_format(path, sizeof path, FOLDER "blobs/%s", name) > 0);
        temp_dir_write(f->dir, path, "");
    }
    walk_count_all(hc_walk_blobs(f->cache, &f->repo), &count);

    assert_int_equal(count.found, 1);
    assert_int_equal(count.others, MANY - 1);
}

static void blobs_that_stay_are_found_while_others_go(void **state)
{
    struct fixture *f = *state;
    struct hc_directory_walk walk;
    char path[128];
    unsigned found = 0;

    for (int i = 0; i < MANY; i++) {
        assert_true(hc_format(path, sizeof path, FOLDER "blobs/%040x", i) > 0);
        temp_dir_write(f->dir, path, "");
    }
    walk = hc_walk_blobs(f->cache, &f->repo);
    for (int i = 0; hc_directory_walk_next(&walk); i++) {
        bool stays = strtol(walk.path + 36, NULL, 16) % 2 == 0;

        found += stays;
        assert_true(hc_format(path, sizeof path, FOLDER "blobs/%039dx", i) > 0);
        if (!stays)
            (void)unlinkat(walk.dir, walk.name, 0);
        else if (i < MANY)
            temp_dir_write(f->dir, path, ""); /* no hash: may be found or not */
    }
    hc_directory_walk_end(&walk);

    assert_true(found >= MANY / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(an_empty_cache_has_nothing),
        WITH_CACHE(repos_are_found_and_nothing_beside_them),
        WITH_CACHE(blobs_are_found_and_no_partial_files),
        WITH_CACHE(a_blob_in_the_shared_store_is_found),
        WITH_CACHE(snapshots_are_directories_named_by_a_commit),
        WITH_CACHE(refs_are_found_with_the_slashes_of_their_revisions),
        WITH_CACHE(files_of_a_snapshot_are_pointers_and_plain_files),
        WITH_CACHE(a_symlink_loop_in_a_snapshot_ends),
        WITH_CACHE(no_symlink_on_the_way_is_followed),
        WITH_CACHE(each_of_many_blobs_is_found_once),
        WITH_CACHE(blobs_that_stay_are_found_while_others_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
