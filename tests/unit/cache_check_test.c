/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a check of the volume fails while its path leads elsewhere or nowhere, or
 * while it refuses to be read, and succeeds again afterwards. A volume that is read-only
 * or was emptied is fine. A volume that was mounted again is the cache from then on. A
 * lack of the process itself is told apart.
 */
#include "cache_fixture.h"
#include "fault.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define ANOTHER_ID "00000000-0000-4000-8000-000000000000"

/* The cache is "volume" in the directory of the fixture. */
static int make_volume(void **state)
{
    struct fixture *f;
    HC_AUTO_FREE char *dir = NULL;

    (void)make_cache(state);
    f = *state;
    dir = temp_dir_path(f->dir, "volume");
    hc_cache_close(f->cache);
    f->cache = hc_cache_open(dir, false, &f->err);
    assert_non_null(f->cache);
    return 0;
}

static void move_volume(const struct fixture *f, const char *from, const char *to)
{
    HC_AUTO_FREE char *source = temp_dir_path(f->dir, from);
    HC_AUTO_FREE char *target = temp_dir_path(f->dir, to);

    assert_int_equal(rename(source, target), 0);
}

static void assert_usable(struct fixture *f)
{
    assert_int_equal(hc_cache_check(f->cache, &f->err), 0);
}

static void assert_unusable(struct fixture *f, enum hc_reason reason, const char *text)
{
    f->err = (struct hc_error){.reason = HC_OK};
    assert_int_equal(hc_cache_check(f->cache, &f->err), -1);
    assert_int_equal(f->err.reason, reason);
    assert_non_null(strstr(f->err.message, text));
}

static void a_volume_that_is_gone_is_unusable_until_it_is_back(void **state)
{
    struct fixture *f = *state;

    assert_usable(f);
    move_volume(f, "volume", "elsewhere");
    assert_unusable(f, HC_CACHE_IO, "/volume': No such file or directory");
    temp_dir_write(f->dir, "volume", "");
    assert_unusable(f, HC_CACHE_IO, "/volume': Not a directory");
    move_volume(f, "volume", "file");
    move_volume(f, "elsewhere", "volume");
    assert_usable(f);
}

static void another_directory_is_unusable(void **state)
{
    struct fixture *f = *state;

    move_volume(f, "volume", "elsewhere");
    temp_dir_write(f->dir, "volume/file", "");
    assert_unusable(f, HC_CACHE_IO, "no cache-id");
    temp_dir_write(f->dir, "volume/.hubcache/cache-id", "no id");
    assert_unusable(f, HC_CACHE_IO, "no cache-id");
    temp_dir_write(f->dir, "volume/.hubcache/cache-id", ANOTHER_ID);
    assert_unusable(f, HC_CACHE_IO, "another cache-id");
}

static void a_volume_that_was_mounted_again_is_the_cache_from_then_on(void **state)
{
    struct fixture *f = *state;

    move_volume(f, "volume", "elsewhere");
    temp_dir_write(f->dir, "volume/.hubcache/cache-id", hc_cache_id(f->cache));
    assert_usable(f);
    assert_int_equal(hc_cache_publish(f->cache, "new", "text", 4, &f->err), 0);
    assert_file_content(f, "volume/new", "text");
    assert_false(temp_dir_has(f->dir, "elsewhere/new"));
    assert_usable(f);
}

static void a_volume_that_was_emptied_or_is_read_only_is_usable(void **state)
{
    struct fixture *f = *state;
    HC_AUTO_FREE char *id = temp_dir_path(f->dir, "volume/.hubcache/cache-id");

    make_cache_read_only(f);
    assert_usable(f);
    make_cache_writable(f);
    temp_dir_write(f->dir, "volume/.hubcache/cache-id", ANOTHER_ID);
    assert_usable(f); /* it is the same directory */
    assert_int_equal(unlink(id), 0);
    assert_usable(f);
}

static void
a_volume_that_fails_is_unusable_and_a_lack_of_the_process_is_not_that(void **state)
{
    static const int of_the_volume[] = {EIO,       ESTALE,    ENOTCONN, EHOSTDOWN,
                                        ETIMEDOUT, EREMOTEIO, ESHUTDOWN};
    static const int of_the_process[] = {EMFILE, ENFILE, ENOMEM};
    struct fixture *f = *state;

    for (size_t i = 0; i < sizeof of_the_volume / sizeof *of_the_volume; i++) {
        fault_refuse("openat", of_the_volume[i]);
        assert_unusable(f, HC_CACHE_IO, strerrordesc_np(of_the_volume[i]));
    }
    for (size_t i = 0; i < sizeof of_the_process / sizeof *of_the_process; i++) {
        fault_refuse("openat", of_the_process[i]);
        assert_unusable(f, HC_INTERNAL, strerrordesc_np(of_the_process[i]));
    }
    fault_refuse("openat", EACCES);
    assert_unusable(f, HC_CACHE_READ_ONLY, "Permission denied");
    fault_disarm();
    assert_usable(f);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_volume, remove_cache)
    const struct CMUnitTest tests[] = {
        TEST(a_volume_that_is_gone_is_unusable_until_it_is_back),
        TEST(another_directory_is_unusable),
        TEST(a_volume_that_was_mounted_again_is_the_cache_from_then_on),
        TEST(a_volume_that_was_emptied_or_is_read_only_is_usable),
        TEST(a_volume_that_fails_is_unusable_and_a_lack_of_the_process_is_not_that),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
