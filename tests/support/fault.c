/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fault.h. With --wrap=f the linker sends calls of f to __wrap_f, and those of
 * __real_f to f.
 */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    atomic_int kind;
    atomic_uint nth;
    atomic_uint calls;
    atomic_int errnum;
    _Atomic(const char *) hit;
} fault;

void fault_arm(enum fault_kind kind, unsigned nth, int errnum)
{
    atomic_store(&fault.hit, NULL);
    atomic_store(&fault.calls, 0);
    atomic_store(&fault.errnum, errnum);
    atomic_store(&fault.nth, nth);
    atomic_store(&fault.kind, (int)kind);
}

void fault_disarm(void)
{
    atomic_store(&fault.kind, FAULT_NONE);
}

unsigned fault_calls(void)
{
    return atomic_load(&fault.calls);
}

const char *fault_hit(void)
{
    return atomic_load(&fault.hit);
}

/* True when this call is the one: errno is set. */
static bool strikes(const char *call)
{
    if (atomic_load(&fault.kind) == FAULT_NONE ||
        atomic_fetch_add(&fault.calls, 1) + 1 != atomic_load(&fault.nth))
        return false;
    atomic_store(&fault.hit, call);
    if (atomic_load(&fault.kind) == FAULT_EXIT)
        (void)kill(getpid(), SIGKILL);
    errno = atomic_load(&fault.errnum);
    return true;
}

/* One row a call: its result, its name, its parameters, its arguments. */
#define FAULT_CALL(type, name, parameters, arguments)                                    \
    type __real_##name parameters;                                                       \
    type __wrap_##name parameters;                                                       \
    type __wrap_##name parameters                                                        \
    {                                                                                    \
        return strikes(#name) ? -1 : __real_##name arguments;                            \
    }

FAULT_CALL(ssize_t, write, (int fd, const void *bytes, size_t count), (fd, bytes, count))
FAULT_CALL(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at),
           (fd, bytes, count, at))
FAULT_CALL(int, fsync, (int fd), (fd))
FAULT_CALL(int, ftruncate, (int fd, off_t size), (fd, size))
FAULT_CALL(int, renameat, (int from_dir, const char *from, int to_dir, const char *to),
           (from_dir, from, to_dir, to))
FAULT_CALL(int, symlinkat, (const char *target, int dir, const char *path),
           (target, dir, path))
FAULT_CALL(int, linkat,
           (int from_dir, const char *from, int to_dir, const char *to, int flags),
           (from_dir, from, to_dir, to, flags))
FAULT_CALL(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
FAULT_CALL(int, flock, (int fd, int operation), (fd, operation))

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);

int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    if (!(flags & O_CREAT))
        return strikes("openat") ? -1 : __real_openat(dir, path, flags);
    va_start(args, flags);
    mode = va_arg(args, mode_t);
    va_end(args);
    return strikes("openat") ? -1 : __real_openat(dir, path, flags, mode);
}
