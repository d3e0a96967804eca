/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a file that is read ahead is in the page cache afterwards, whole, whatever
 * its size; what was there is not counted as read; a stop ends it; and what would fill
 * more than half of the memory is left, the largest first.
 */
#include "page_cache.h"
#include "test.h"

#include <base/auto.h>
#include <base/read_ahead.h>

#include <fcntl.h>
#include <string.h>

enum { PAGE = 4096 };

static const uint64_t CHUNK = UINT64_C(8) * 1024 * 1024;

static const atomic_bool never = false;

struct fixture {
    char *dir, *path;
    bool drops_pages; /* the file system has pages that can be dropped */
};

static int setup(void **state)
{
    static struct fixture f;

    f.dir = temp_dir_make();
    f.path = temp_dir_path(f.dir, "blob");
    temp_dir_write(f.dir, "blob", "probe");
    page_cache_drop(f.path);
    f.drops_pages = page_cache_resident(f.path) == 0;
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    free(f->path);
    temp_dir_remove(f->dir);
    return 0;
}

/* Of `size` bytes, none of which is in the page cache. */
static int cold_file_open(const struct fixture *f, uint64_t size)
{
    HC_AUTO_FREE char *bytes = malloc(PAGE);
    int fd = open(f->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_non_null(bytes);
    memset(bytes, 'x', PAGE);
    assert_true(fd >= 0);
    for (uint64_t at = 0; at < size; at += PAGE) {
        size_t count = size - at < PAGE ? (size_t)(size - at) : PAGE;

        assert_int_equal(pwrite(fd, bytes, count, (off_t)at), count);
    }
    page_cache_drop(f->path);
    return fd;
}

static uint64_t whole_pages(uint64_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

static void a_file_of_any_size_is_resident_afterwards(void **state)
{
    const struct fixture *f = *state;
    const uint64_t sizes[] = {0,         1,         PAGE - 1,      PAGE,
                              PAGE + 1,  CHUNK - 1, CHUNK,         CHUNK + 1,
                              2 * CHUNK, 20000003,  3 * CHUNK + 17};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        HC_AUTO_CLOSE int fd = cold_file_open(f, sizes[i]);

        if (f->drops_pages) {
            assert_int_equal(page_cache_resident(f->path), 0);
            assert_int_equal(hc_read_ahead(fd, &never), sizes[i]);
        }
        assert_int_equal(page_cache_resident(f->path), whole_pages(sizes[i]));
    }
}

static void what_is_resident_is_not_read_again(void **state)
{
    const struct fixture *f = *state;
    HC_AUTO_CLOSE int fd = cold_file_open(f, 3 * CHUNK);
    char byte;

    (void)hc_read_ahead(fd, &never);
    assert_int_equal(hc_read_ahead(fd, &never), 0);
    if (!f->drops_pages)
        skip();
    assert_int_equal(posix_fadvise(fd, (off_t)CHUNK, (off_t)CHUNK, POSIX_FADV_DONTNEED),
                     0);
    assert_int_equal(hc_read_ahead(fd, &never), CHUNK);
    assert_int_equal(pread(fd, &byte, 1, 0), 1);
}

static void a_stop_ends_it(void **state)
{
    const struct fixture *f = *state;
    const atomic_bool stop = true;
    HC_AUTO_CLOSE int fd = cold_file_open(f, 2 * CHUNK);

    assert_int_equal(hc_read_ahead(fd, &stop), 0);
    if (f->drops_pages)
        assert_int_equal(page_cache_resident(f->path), 0);
}

static void a_file_that_is_none_is_left(void **state)
{
    HC_AUTO_CLOSE int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_int_equal(hc_read_ahead(fd, &never), 0);
    assert_int_equal(hc_read_ahead(-1, &never), 0);
}

static void what_does_not_fit_is_left_largest_first(void **state)
{
    struct hc_read_ahead_file files[] = {{"b", 50}, {"huge", 1000}, {"a", 50}, {"s", 1}};
    struct hc_read_ahead_file same[4];
    static const struct {
        uint64_t memory;
        size_t chosen;
    } cases[] = {{0, 0},   {1, 0},   {2, 1},    {101, 1},  {102, 2},
                 {201, 2}, {202, 3}, {2201, 3}, {2202, 4}, {UINT64_MAX, 4}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(same, files, sizeof files);
        assert_int_equal(hc_read_ahead_choose(same, 4, cases[i].memory), cases[i].chosen);
        assert_string_equal(same[0].path, "s");
        assert_string_equal(same[1].path, "a");
        assert_string_equal(same[2].path, "b");
        assert_string_equal(same[3].path, "huge");
    }
    assert_int_equal(hc_read_ahead_choose(NULL, 0, 100), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_of_any_size_is_resident_afterwards),
        TEST(what_is_resident_is_not_read_again),
        TEST(a_stop_ends_it),
        TEST(a_file_that_is_none_is_left),
        TEST(what_does_not_fit_is_left_largest_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
