/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: a walk returns all that is below a directory once, a directory after what is
 * in it, whatever other processes do there meanwhile; it follows no symlink, goes no
 * deeper than it was told to, and leaves no descriptor open.
 */
#include "test.h"

#include <base/directory.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct directory_fixture {
    char *dir;
    int root;
    unsigned descriptors; /* that were open before */
};

static unsigned count_descriptors(void)
{
    DIR *stream = opendir("/proc/self/fd");
    unsigned count = 0;

    while (stream && readdir(stream))
        count++;
    hc_auto_closedir(&stream);
    return count;
}

static int directory_fixture_setup(void **state)
{
    struct directory_fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->dir = temp_dir_make();
    f->root = hc_directory_open(AT_FDCWD, f->dir);
    assert_true(f->root >= 0);
    f->descriptors = count_descriptors();
    *state = f;
    return 0;
}

static int directory_fixture_teardown(void **state)
{
    struct directory_fixture *f = *state;
    unsigned left = count_descriptors() - f->descriptors;

    (void)close(f->root);
    temp_dir_remove(f->dir);
    free(f);
    return left == 0 ? 0 : -1;
}

/* All paths of a walk, sorted by none, each with a space behind it. */
static void walk_all(struct hc_directory_walk *walk, char *found, size_t size)
{
    size_t used = 0;

    found[0] = '\0';
    while (hc_directory_walk_next(walk)) {
        assert_string_equal(walk->name, strrchr(walk->path, '/')
                                            ? strrchr(walk->path, '/') + 1
                                            : walk->path);
        used += (size_t)hc_format(found + used, size - used, "%s ", walk->path);
    }
    hc_directory_walk_end(walk);
}

static void assert_walk(struct directory_fixture *f, unsigned depth_max,
                        const char *found)
{
    struct hc_directory_walk walk = hc_directory_walk(f->root, ".", depth_max);
    char paths[256];

    walk_all(&walk, paths, sizeof paths);
    assert_string_equal(paths, found);
}

static void an_empty_or_absent_directory_has_no_entries(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk absent = hc_directory_walk(f->root, "absent", 1);

    assert_walk(f, 0, "");
    assert_walk(f, HC_DEPTH_MAX, "");
    assert_false(hc_directory_walk_next(&absent));
    assert_false(absent.is_incomplete);
    assert_int_equal(absent.errnum, ENOENT);
    hc_directory_walk_end(&absent);
}

static void a_directory_comes_after_what_is_in_it(void **state)
{
    struct directory_fixture *f = *state;

    temp_dir_write(f->dir, "a/b/c", "");

    assert_walk(f, HC_DEPTH_MAX, "a/b/c a/b a ");
}

static void a_flat_walk_enters_no_directory(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk;

    temp_dir_write(f->dir, "a/b/c", "");

    assert_walk(f, 0, "a ");
    walk = hc_directory_walk(f->root, ".", 0);
    while (hc_directory_walk_next(&walk))
        assert_int_equal(walk.type, S_IFDIR);
    assert_false(walk.is_incomplete);
    hc_directory_walk_end(&walk);
}

static void a_walk_that_meets_its_depth_says_that_it_is_incomplete(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk;
    char paths[64];

    temp_dir_write(f->dir, "a/b/c", "");
    walk = hc_directory_walk(f->root, ".", 1);
    walk_all(&walk, paths, sizeof paths);

    assert_string_equal(paths, "a/b a ");
    assert_true(walk.is_incomplete);
    assert_int_equal(walk.errnum, 0);
}

static void a_path_too_deep_is_left_alone(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk;
    char deep[2 * (HC_DEPTH_MAX + 20) + 1] = "";

    for (size_t i = 0; i < HC_DEPTH_MAX + 20; i++)
        memcpy(deep + 2 * i, i + 1 < HC_DEPTH_MAX + 20 ? "d/" : "f\0", 3);
    temp_dir_write(f->dir, deep, "");

    assert_int_equal(hc_directory_remove_older(f->root, ".", INT64_MAX), 0);
    walk = hc_directory_walk(f->root, ".", UINT_MAX);
    while (hc_directory_walk_next(&walk))
        assert_int_equal(walk.type, S_IFDIR);
    assert_true(walk.is_incomplete);
    hc_directory_walk_end(&walk);
    assert_true(temp_dir_has(f->dir, deep));
}

static void a_symlink_is_an_entry_and_not_followed(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk;

    assert_int_equal(symlinkat(".", f->root, "loop"), 0);
    assert_walk(f, HC_DEPTH_MAX, "loop ");

    walk = hc_directory_walk(f->root, "loop", HC_DEPTH_MAX);
    assert_false(hc_directory_walk_next(&walk));
    assert_true(walk.is_incomplete);
    assert_true(walk.errnum != 0);
    hc_directory_walk_end(&walk);
}

static void a_directory_that_was_swapped_for_a_symlink_is_not_entered(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk;
    char kept[2] = "";

    temp_dir_write(f->dir, "in/a/1", "");
    temp_dir_write(f->dir, "in/b/1", "");
    temp_dir_write(f->dir, "outside/1", "");
    walk = hc_directory_walk(f->root, "in", HC_DEPTH_MAX);
    assert_true(hc_directory_walk_next(&walk)); /* a/1 or b/1 */
    kept[0] = walk.path[0] == 'a' ? 'b' : 'a';
    {
        int in = hc_directory_open(f->root, "in");

        assert_int_equal(renameat(in, kept, f->root, "moved"), 0);
        assert_int_equal(symlinkat("../outside", in, kept), 0);
        (void)close(in);
    }
    while (hc_directory_walk_next(&walk))
        assert_true(strncmp(walk.path, kept, 1) != 0 || strcmp(walk.path, kept) == 0);
    hc_directory_walk_end(&walk);
}

static void entries_can_be_removed_during_the_walk(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk;
    char path[32];

    for (int i = 0; i < 3000; i++) {
        assert_true(hc_format(path, sizeof path, "%d/%d", i % 7, i) > 0);
        temp_dir_write(f->dir, path, "");
    }
    walk = hc_directory_walk(f->root, ".", HC_DEPTH_MAX);
    while (hc_directory_walk_next(&walk))
        assert_int_equal(unlinkat(walk.dir, walk.name,
                                  S_ISDIR(walk.type) ? AT_REMOVEDIR : 0),
                         0);
    hc_directory_walk_end(&walk);

    assert_walk(f, 0, "");
}

static void a_walk_ends_early_without_a_descriptor_left(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk;

    temp_dir_write(f->dir, "a/b/c", "");
    walk = hc_directory_walk(f->root, ".", HC_DEPTH_MAX);

    assert_true(hc_directory_walk_next(&walk));
    assert_true(count_descriptors() > f->descriptors);
    hc_directory_walk_end(&walk);
}

static bool accepts_links(const struct hc_directory_walk *walk)
{
    return S_ISLNK(walk->type);
}

static void entries_that_are_not_accepted_are_passed_over(void **state)
{
    struct directory_fixture *f = *state;
    struct hc_directory_walk walk = hc_directory_walk(f->root, ".", HC_DEPTH_MAX);
    char paths[64];

    temp_dir_write(f->dir, "a/b", "");
    assert_int_equal(symlinkat("b", f->root, "a/link"), 0);
    walk.accepts = accepts_links;
    walk_all(&walk, paths, sizeof paths);

    assert_string_equal(paths, "a/link ");
}

/* ---- a filesystem that does not tell types ----------------------------------------- */

static int looks_fail_by; /* errno of each look at "b"; 0: types are told */

struct dirent *__real_readdir(DIR *stream);
struct dirent *__wrap_readdir(DIR *stream);
int __real_fstatat(int dir, const char *path, struct stat *status, int flags);
int __wrap_fstatat(int dir, const char *path, struct stat *status, int flags);

struct dirent *__wrap_readdir(DIR *stream)
{
    struct dirent *entry = __real_readdir(stream);

    if (entry && looks_fail_by)
        entry->d_type = DT_UNKNOWN;
    return entry;
}

int __wrap_fstatat(int dir, const char *path, struct stat *status, int flags)
{
    if (looks_fail_by && strcmp(path, "b") == 0) {
        errno = looks_fail_by;
        return -1;
    }
    return __real_fstatat(dir, path, status, flags);
}

static struct hc_directory_walk walk_blindly(const struct directory_fixture *f,
                                             int errnum)
{
    struct hc_directory_walk walk = hc_directory_walk(f->root, ".", HC_DEPTH_MAX);
    char paths[64];

    looks_fail_by = errnum;
    walk_all(&walk, paths, sizeof paths);
    looks_fail_by = 0;
    assert_string_equal(paths, "a ");
    return walk;
}

static void an_entry_that_cannot_be_looked_at_makes_the_walk_incomplete(void **state)
{
    const struct directory_fixture *f = *state;
    struct hc_directory_walk walk;

    temp_dir_write(f->dir, "a", "");
    temp_dir_write(f->dir, "b", "");
    walk = walk_blindly(f, EIO);
    assert_true(walk.is_incomplete);
    assert_int_equal(walk.errnum, EIO);
    walk = walk_blindly(f, ENOENT);
    assert_false(walk.is_incomplete);
}

#define WITH_DIRECTORY(test)                                                             \
    cmocka_unit_test_setup_teardown(test, directory_fixture_setup,                       \
                                    directory_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_DIRECTORY(an_empty_or_absent_directory_has_no_entries),
        WITH_DIRECTORY(a_directory_comes_after_what_is_in_it),
        WITH_DIRECTORY(a_flat_walk_enters_no_directory),
        WITH_DIRECTORY(a_walk_that_meets_its_depth_says_that_it_is_incomplete),
        WITH_DIRECTORY(a_path_too_deep_is_left_alone),
        WITH_DIRECTORY(a_symlink_is_an_entry_and_not_followed),
        WITH_DIRECTORY(a_directory_that_was_swapped_for_a_symlink_is_not_entered),
        WITH_DIRECTORY(entries_can_be_removed_during_the_walk),
        WITH_DIRECTORY(a_walk_ends_early_without_a_descriptor_left),
        WITH_DIRECTORY(entries_that_are_not_accepted_are_passed_over),
        WITH_DIRECTORY(an_entry_that_cannot_be_looked_at_makes_the_walk_incomplete),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
