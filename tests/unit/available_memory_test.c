/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: the available memory is the machine's, or what the tightest limit of the
 * process's control group and those above it leaves. Pages of files count as available.
 */
#include "test.h"

#include <base/available_memory.h>

#include <stdio.h>

enum { MACHINE = 4096 * 1024 };

static int setup(void **state)
{
    *state = temp_dir_make();
    temp_dir_write(*state, "proc/meminfo",
                   "MemTotal: 9999 kB\nMemFree: 1 kB\nMemAvailable:    4096 kB\n");
    return 0;
}

static int teardown(void **state)
{
    temp_dir_remove(*state);
    return 0;
}

static void write_group(const char *dir, const char *group, const char *limit,
                        const char *used, const char *of_files)
{
    char path[256], text[256];

    (void)snprintf(path, sizeof path, "sys/fs/cgroup%s/memory.max", group);
    temp_dir_write(dir, path, limit);
    (void)snprintf(path, sizeof path, "sys/fs/cgroup%s/memory.current", group);
    temp_dir_write(dir, path, used);
    (void)snprintf(path, sizeof path, "sys/fs/cgroup%s/memory.stat", group);
    (void)snprintf(text, sizeof text, "anon 7\nfile %s\nfile_mapped 3\n", of_files);
    temp_dir_write(dir, path, text);
}

static void without_a_limit_it_is_the_machines(void **state)
{
    assert_int_equal(hc_available_memory(*state), MACHINE);
    temp_dir_write(*state, "proc/self/cgroup", "0::/a/b\n");
    assert_int_equal(hc_available_memory(*state), MACHINE);
    write_group(*state, "/a/b", "max\n", "100\n", "0");
    assert_int_equal(hc_available_memory(*state), MACHINE);
}

static void the_tightest_limit_counts(void **state)
{
    temp_dir_write(*state, "proc/self/cgroup", "1:name=x:/y\n0::/a/b\n");
    write_group(*state, "/a/b", "3000\n", "1000\n", "0");
    assert_int_equal(hc_available_memory(*state), 2000);
    write_group(*state, "/a", "1500\n", "1000\n", "0");
    assert_int_equal(hc_available_memory(*state), 500);
    write_group(*state, "", "1200\n", "1000\n", "0");
    assert_int_equal(hc_available_memory(*state), 200);
}

/* In a container the process's own group is the root. */
static void a_container_has_its_limit_at_the_root(void **state)
{
    temp_dir_write(*state, "proc/self/cgroup", "0::/\n");
    write_group(*state, "", "3000\n", "1000\n", "400");
    assert_int_equal(hc_available_memory(*state), 2400);
}

static void pages_of_files_are_available(void **state)
{
    temp_dir_write(*state, "proc/self/cgroup", "0::/a\n");
    write_group(*state, "/a", "3000\n", "3000\n", "2500");
    assert_int_equal(hc_available_memory(*state), 2500);
    write_group(*state, "/a", "3000\n", "100\n", "2500");
    assert_int_equal(hc_available_memory(*state), 3000);
    write_group(*state, "/a", "3000\n", "4000\n", "0");
    assert_int_equal(hc_available_memory(*state), 0);
}

static void nothing_is_available_where_nothing_says_so(void **state)
{
    temp_dir_write(*state, "proc/meminfo", "MemTotal: 9999 kB\n");
    assert_int_equal(hc_available_memory(*state), 0);
    temp_dir_write(*state, "proc/meminfo", "MemAvailable: much\n");
    assert_int_equal(hc_available_memory(*state), 0);
}

static void this_machine_has_some(void **state)
{
    (void)state;
    assert_true(hc_available_memory("") > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_a_limit_it_is_the_machines),
        TEST(the_tightest_limit_counts),
        TEST(a_container_has_its_limit_at_the_root),
        TEST(pages_of_files_are_available),
        TEST(nothing_is_available_where_nothing_says_so),
        TEST(this_machine_has_some),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
