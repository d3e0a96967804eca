/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own free() and realloc() take the place of libc's for all libraries
 * ("Replacing malloc" in glibc's manual), and call glibc's by their other names.
 */
#include "freed_memory.h"

#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#if defined __GLIBC__ && !defined HC_SANITIZED

/* glibc's, in <stdlib.h> under other names. */
void __libc_free(void *memory);
void *__libc_realloc(void *memory, size_t size);

static atomic_bool is_wiped;

void hc_freed_memory_wipe(void)
{
    if (!atomic_load_explicit(&is_wiped, memory_order_relaxed))
        atomic_store_explicit(&is_wiped, true, memory_order_relaxed);
}

static bool memory_is_wiped(void)
{
    return atomic_load_explicit(&is_wiped, memory_order_relaxed);
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): "__ptr" */
__attribute__((visibility("default"))) void free(void *memory)
{
    if (memory && memory_is_wiped())
        explicit_bzero(memory, malloc_usable_size(memory));
    __libc_free(memory); /* leaves errno as it is */
}

/* Does not leave a copy behind when the block moves, nor its end when it shrinks. */
/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
__attribute__((visibility("default"))) void *realloc(void *memory, size_t size)
{
    size_t old = malloc_usable_size(memory); /* 0 for NULL */
    void *moved;

    if (old == 0 || !memory_is_wiped())
        return __libc_realloc(memory, size);
    if (size <= old) {
        explicit_bzero((char *)memory + size, old - size);
        return __libc_realloc(memory, size);
    }
    moved = malloc(size);
    if (!moved)
        return NULL;
    memcpy(moved, memory, old);
    free(memory);
    return moved;
}

#else

void hc_freed_memory_wipe(void)
{
}

#endif
