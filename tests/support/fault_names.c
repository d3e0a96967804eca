/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on names that removals make: for programs that link test_fault_names.
 */
#include "fault.h"

#include <stddef.h>
#include <sys/types.h>

int __real_unlinkat(int dir, const char *path, int flags);
int __wrap_unlinkat(int dir, const char *path, int flags);
ssize_t __real_readlinkat(int dir, const char *path, char *target, size_t size);
ssize_t __wrap_readlinkat(int dir, const char *path, char *target, size_t size);
int __real_renameat2(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags);
int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags);

int __wrap_unlinkat(int dir, const char *path, int flags)
{
    return fault_is_taken("unlinkat") ? -1 : __real_unlinkat(dir, path, flags);
}

ssize_t __wrap_readlinkat(int dir, const char *path, char *target, size_t size)
{
    return fault_is_taken("readlinkat") ? -1 : __real_readlinkat(dir, path, target, size);
}

int __wrap_renameat2(int from_dir, const char *from, int to_dir, const char *to,
                     unsigned flags)
{
    return fault_is_taken("renameat2")
               ? -1
               : __real_renameat2(from_dir, from, to_dir, to, flags);
}
