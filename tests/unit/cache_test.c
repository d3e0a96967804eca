/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: opening a cache resolves its root once, gives the volume one id that all its
 * processes agree on, and works on a read-only volume.
 */
#include "blob_id.h"
#include "cache_fixture.h"

#include <base/text.h>

#include <pthread.h>
#include <string.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { OPENERS = 8 };

struct opener {
    const char *dir;
    pthread_barrier_t *barrier;
    char id[64];
};

static void a_new_volume_gets_a_random_uuid(void **state)
{
    struct fixture *f = *state;
    const char *id = hc_cache_id(f->cache);

    assert_int_equal(strlen(id), 36);
    assert_int_equal(id[14], '4');
    assert_non_null(strchr("89ab", id[19]));
    assert_file_content(f, ".hubcache/cache-id", id);
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/tmp"), 0);
}

static void the_id_never_changes(void **state)
{
    struct fixture *f = *state;
    char id[64];

    assert_true(hc_format(id, sizeof id, "%s", hc_cache_id(f->cache)) > 0);
    reopen_cache(f, false);
    assert_string_equal(hc_cache_id(f->cache), id);
}

static void an_id_with_a_line_end_is_read_and_a_damaged_one_replaced(void **state)
{
    struct fixture *f = *state;

    temp_dir_write(f->dir, ".hubcache/cache-id",
                   "00000000-0000-4000-8000-000000000000\n");
    reopen_cache(f, false);
    assert_string_equal(hc_cache_id(f->cache), "00000000-0000-4000-8000-000000000000");
    temp_dir_write(f->dir, ".hubcache/cache-id", "");
    reopen_cache(f, false);
    assert_int_equal(strlen(hc_cache_id(f->cache)), 36);
    assert_file_content(f, ".hubcache/cache-id", hc_cache_id(f->cache));
}

static void *opener_open_cache(void *argument)
{
    struct opener *opener = argument;
    struct hc_error err;
    struct hc_cache *cache;

    (void)pthread_barrier_wait(opener->barrier);
    cache = hc_cache_open(opener->dir, false, &err);
    (void)hc_format(opener->id, sizeof opener->id, "%s", cache ? hc_cache_id(cache) : "");
    hc_cache_close(cache);
    return NULL;
}

static void concurrent_openers_of_a_new_volume_agree_on_its_id(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *dir = temp_dir_path(f->dir, "new/volume");
    struct opener openers[OPENERS];
    pthread_t threads[OPENERS];
    pthread_barrier_t barrier;

    assert_int_equal(pthread_barrier_init(&barrier, NULL, OPENERS), 0);
    for (int i = 0; i < OPENERS; i++) {
        openers[i] = (struct opener){.dir = dir, .barrier = &barrier};
        assert_int_equal(pthread_create(&threads[i], NULL, opener_open_cache,
                                        &openers[i]),
                         0);
    }
    for (int i = 0; i < OPENERS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < OPENERS; i++) {
        assert_int_equal(strlen(openers[i].id), 36);
        assert_string_equal(openers[i].id, openers[0].id);
    }
    (void)pthread_barrier_destroy(&barrier);
}

static void the_root_is_resolved_through_symlinks(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *link = temp_dir_path(f->dir, "link");
    HC_AUTO_FREE char *real = NULL;
    HC_AUTO_FREE char *target = temp_dir_path(f->dir, "target");
    HC_AUTO(hc_cache) *cache = NULL;

    temp_dir_write(f->dir, "target/file", "");
    assert_int_equal(symlink("target", link), 0);
    cache = hc_cache_open(link, true, &f->err);
    assert_non_null(cache);
    real = realpath(target, NULL);
    assert_string_equal(hc_cache_root(cache), real);
    assert_true(hc_cache_has_no_symlinks(cache));
}

static void a_read_only_volume_that_was_never_written_to_has_no_id(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *dir = temp_dir_path(f->dir, "mount");
    HC_AUTO(hc_cache) *cache = NULL;

    temp_dir_write(f->dir, "mount/file", "");
    make_cache_read_only(f);
    cache = hc_cache_open(dir, false, &f->err);
    make_cache_writable(f);
    assert_non_null(cache);
    assert_string_equal(hc_cache_id(cache), "");
}

static void a_read_only_volume_keeps_its_id(void **state)
{
    struct fixture *f = *state;
    HC_AUTO(hc_cache) *cache = NULL;

    make_cache_read_only(f);
    cache = hc_cache_open(f->dir, false, &f->err);
    make_cache_writable(f);
    assert_non_null(cache);
    assert_string_equal(hc_cache_id(cache), hc_cache_id(f->cache));
}

static void a_file_is_no_cache_directory(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *file = temp_dir_path(f->dir, "file");

    temp_dir_write(f->dir, "file", "");
    assert_null(hc_cache_open(file, false, &f->err));
    assert_int_equal(f->err.reason, HC_CACHE_IO);
    assert_non_null(strstr(f->err.message, file));
}

static void paths_are_those_of_the_layout(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];

    assert_int_equal(hc_cache_snapshot_path(path, &f->repo, COMMIT, NULL, &f->err), 0);
    assert_string_equal(path, "models--org--name/snapshots/" COMMIT);
    assert_int_equal(hc_cache_snapshot_path(path, &f->repo, COMMIT, "a/b", &f->err), 0);
    assert_string_equal(path, "models--org--name/snapshots/" COMMIT "/a/b");
    assert_int_equal(hc_cache_blob_path(path, BLOB_OF(f, HELLO_GIT), &f->err), 0);
    assert_string_equal(path, "models--org--name/blobs/" HELLO_GIT);
}

static void an_unsafe_etag_has_no_path(void **state)
{
    struct fixture *f = *state;
    char path[PATH_MAX];

    assert_int_equal(hc_cache_blob_path(path, BLOB_OF(f, "../../evil"), &f->err), -1);
    assert_int_equal(f->err.reason, HC_BAD_HUB_REPLY);
}

static void the_tag_is_the_one_of_the_reference_and_written_once(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *tag = NULL;

    hc_cache_write_tag(f->cache);
    tag = temp_dir_read(f->dir, "CACHEDIR.TAG");
    assert_non_null(tag);
    assert_int_equal(strlen(tag), 191);
    assert_true(
        hc_text_starts(tag, "Signature: 8a477f597d28d172789f06886806bc55\n# This"));
    temp_dir_write(f->dir, "CACHEDIR.TAG", "mine");
    hc_cache_write_tag(f->cache);
    assert_file_content(f, "CACHEDIR.TAG", "mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(a_new_volume_gets_a_random_uuid),
        WITH_CACHE(the_id_never_changes),
        WITH_CACHE(an_id_with_a_line_end_is_read_and_a_damaged_one_replaced),
        WITH_CACHE(concurrent_openers_of_a_new_volume_agree_on_its_id),
        WITH_CACHE(the_root_is_resolved_through_symlinks),
        WITH_CACHE(a_read_only_volume_that_was_never_written_to_has_no_id),
        WITH_CACHE(a_read_only_volume_keeps_its_id),
        WITH_CACHE(a_file_is_no_cache_directory),
        WITH_CACHE(paths_are_those_of_the_layout),
        WITH_CACHE(an_unsafe_etag_has_no_path),
        WITH_CACHE(the_tag_is_the_one_of_the_reference_and_written_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
