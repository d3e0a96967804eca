/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the client answers with paths on this machine's mount, and only if the mount
 * is the server's volume; no answer leads out of the mount.
 */
#include "test.h"

#include "client/message.h"

#include <stdlib.h>
#include <string.h>

static int mount_setup(void **state)
{
    *state = temp_dir_make();
    return 0;
}

static int mount_teardown(void **state)
{
    temp_dir_remove(*state);
    return 0;
}

static struct hc_mount mount_at(const char *dir)
{
    return (struct hc_mount){.dir = dir, .server = "cache.example:50051"};
}

static void assert_mounted_path(const char *dir, const char *cache_path,
                                const char *expected)
{
    struct hc_mount mount = mount_at(dir);
    struct hc_error err = {0};
    char *path = hc_mount_path(&mount, "/srv/cache/server-side", cache_path, &err);

    assert_non_null(path);
    assert_string_equal(path, expected);
    free(path);
}

static void assert_no_mounted_path(const char *dir, const char *cache_path)
{
    struct hc_mount mount = mount_at(dir);
    struct hc_error err = {0};

    assert_null(hc_mount_path(&mount, "/srv/cache/server-side", cache_path, &err));
    assert_int_equal(err.reason, HC_INTERNAL);
    assert_non_null(strstr(err.message, cache_path));
}

static int check_mount(const char *dir, const char *cache_id, struct hc_error *err)
{
    struct hc_mount mount = mount_at(dir);

    return hc_mount_check(&mount, cache_id, err);
}

static void a_cache_path_is_joined_to_the_mount(void **state)
{
    (void)state;
    assert_mounted_path("/models", "models--a--b/snapshots/c/f",
                        "/models/models--a--b/snapshots/c/f");
    assert_mounted_path("/models//", "x", "/models/x");
    assert_mounted_path("/", "x", "/x");
    assert_mounted_path("/models", "a..b/.hidden/...", "/models/a..b/.hidden/...");
}

static void without_a_mount_the_servers_path_is_answered(void **state)
{
    (void)state;
    assert_mounted_path(NULL, "models--a--b/snapshots/c/f", "/srv/cache/server-side");
}

static void a_local_directorys_file_keeps_the_servers_path(void **state)
{
    (void)state;
    assert_mounted_path("/models", "", "/srv/cache/server-side");
}

static void a_cache_path_that_leaves_the_mount_is_refused(void **state)
{
    (void)state;
    assert_no_mounted_path("/models", "/etc/passwd");
    assert_no_mounted_path("/models", "..");
    assert_no_mounted_path("/models", "../x");
    assert_no_mounted_path("/models", "a/../../x");
    assert_no_mounted_path("/models", "a/..");
    assert_no_mounted_path("/models", "a//b");
    assert_no_mounted_path("/models", "./a");
    assert_no_mounted_path("/models", "a/");
    assert_no_mounted_path(NULL, "../x"); /* callers may join it to a mount */
}

static void the_servers_volume_is_known_by_its_id(void **state)
{
    struct hc_error err = {0};

    temp_dir_write(*state, ".hubcache/cache-id", "8d9f\n");
    assert_int_equal(check_mount(*state, "8d9f", &err), 0);
}

static void another_volume_is_refused_and_both_are_named(void **state)
{
    struct hc_error err = {0};

    temp_dir_write(*state, ".hubcache/cache-id", "ours");
    assert_int_equal(check_mount(*state, "theirs", &err), -1);
    assert_int_equal(err.reason, HC_CACHE_MISMATCH);
    assert_non_null(strstr(err.message, "'ours'"));
    assert_non_null(strstr(err.message, "'theirs'"));
    assert_non_null(strstr(err.message, *state));
    assert_non_null(strstr(err.message, "cache.example:50051"));
    assert_non_null(strstr(err.message, "--mount"));
}

static void a_directory_without_an_id_is_refused(void **state)
{
    struct hc_error err = {0};

    assert_int_equal(check_mount(*state, "theirs", &err), -1);
    assert_int_equal(err.reason, HC_CACHE_MISMATCH);
    assert_non_null(strstr(err.message, "cache-id"));
}

static void an_id_is_compared_whole(void **state)
{
    struct hc_error err = {0};

    temp_dir_write(*state, ".hubcache/cache-id", "8d9f-more");
    assert_int_equal(check_mount(*state, "8d9f", &err), -1);
    assert_int_equal(err.reason, HC_CACHE_MISMATCH);
}

static void another_volume_mounted_later_is_noticed(void **state)
{
    struct hc_error err = {0};

    temp_dir_write(*state, ".hubcache/cache-id", "old");
    assert_int_equal(check_mount(*state, "old", &err), 0);
    temp_dir_write(*state, ".hubcache/cache-id", "new");
    assert_int_equal(check_mount(*state, "old", &err), -1);
}

static void a_server_without_an_id_is_not_compared(void **state)
{
    struct hc_error err = {0};

    assert_int_equal(check_mount(*state, "", &err), 0);
    assert_int_equal(check_mount(NULL, "theirs", &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_path_is_joined_to_the_mount),
        cmocka_unit_test(without_a_mount_the_servers_path_is_answered),
        cmocka_unit_test(a_local_directorys_file_keeps_the_servers_path),
        cmocka_unit_test(a_cache_path_that_leaves_the_mount_is_refused),
        cmocka_unit_test_setup_teardown(the_servers_volume_is_known_by_its_id,
                                        mount_setup, mount_teardown),
        cmocka_unit_test_setup_teardown(another_volume_is_refused_and_both_are_named,
                                        mount_setup, mount_teardown),
        cmocka_unit_test_setup_teardown(a_directory_without_an_id_is_refused, mount_setup,
                                        mount_teardown),
        cmocka_unit_test_setup_teardown(an_id_is_compared_whole, mount_setup,
                                        mount_teardown),
        cmocka_unit_test_setup_teardown(another_volume_mounted_later_is_noticed,
                                        mount_setup, mount_teardown),
        cmocka_unit_test_setup_teardown(a_server_without_an_id_is_not_compared,
                                        mount_setup, mount_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
