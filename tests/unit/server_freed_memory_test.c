/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: memory that is freed, or left by realloc(3), has nothing of what was in
 * it, and what is kept is unchanged. The kernel shows what is at an address that the
 * program may not read any more.
 */
#include <test.h>

#include <base/auto.h>
#include <server/freed_memory.h>

#include <fcntl.h>
#include <stdint.h>
#include <string.h>

enum { LINKS_SIZE = 32 /* glibc's own, at the beginning of a free block */ };

static void fill(char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        memory[i] = (char)('a' + i % 26);
}

static void assert_filled(const char *memory, size_t size)
{
    for (size_t i = 0; i < size; i++)
        assert_int_equal(memory[i], 'a' + i % 26);
}

static bool address_has_letters(uintptr_t address, size_t size)
{
    HC_AUTO_CLOSE int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    char now[512];

    assert_true(size <= sizeof now);
    assert_int_equal(pread(fd, now, size, (off_t)address), size);
    for (size_t i = 0; i < size; i++) {
        if (now[i] >= 'a' && now[i] <= 'z')
            return true;
    }
    return false;
}

/* Of blocks that stay within the heap: larger ones go back to the kernel. */
static void freed_memory_is_overwritten(void **state)
{
    static const size_t sizes[] = {48, 200, 511};

    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *memory = malloc(sizes[i]);
        uintptr_t address = (uintptr_t)memory;

        assert_non_null(memory);
        fill(memory, sizes[i]);
        assert_true(address_has_letters(address, sizes[i]));
        free(memory);
        assert_false(address_has_letters(address + LINKS_SIZE, sizes[i] - LINKS_SIZE));
    }
    free(NULL);
}

static void a_block_that_moves_leaves_nothing(void **state)
{
    char *memory = malloc(300);
    uintptr_t address = (uintptr_t)memory;
    char *moved;

    (void)state;
    assert_non_null(memory);
    fill(memory, 300);
    moved = realloc(memory, 100000);
    assert_non_null(moved);
    assert_filled(moved, 300);
    assert_false(address_has_letters(address + LINKS_SIZE, 300 - LINKS_SIZE));
    free(moved);
}

static void a_block_that_shrinks_keeps_its_beginning_alone(void **state)
{
    char *memory = malloc(400);
    uintptr_t address = (uintptr_t)memory;

    (void)state;
    assert_non_null(memory);
    fill(memory, 400);
    memory = realloc(memory, 50);
    assert_filled(memory, 50);
    assert_int_equal((uintptr_t)memory, address);
    /* Behind what glibc writes at the beginning of the free block. */
    assert_false(address_has_letters(address + 128, 250));
    free(memory);
}

static void a_block_of_nothing_grows(void **state)
{
    char *memory = realloc(NULL, 40);

    (void)state;
    assert_non_null(memory);
    fill(memory, 40);
    for (size_t size = 41; size < 4000; size += 97) {
        memory = realloc(memory, size);
        assert_non_null(memory);
        assert_filled(memory, 40);
    }
    free(memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(freed_memory_is_overwritten),
        cmocka_unit_test(a_block_that_moves_leaves_nothing),
        cmocka_unit_test(a_block_that_shrinks_keeps_its_beginning_alone),
        cmocka_unit_test(a_block_of_nothing_grows),
    };

    hc_freed_memory_wipe();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
