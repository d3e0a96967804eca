/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fault.h. With --wrap=f the linker sends calls of f to __wrap_f, and those of
 * __real_f to f.
 */
#include "fault.h"

#include "fault_log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    atomic_int kind;
    atomic_uint nth;
    atomic_uint calls;
    atomic_int errnum;
    _Atomic(const char *) hit;
    _Atomic(const char *) lacking;
} fault;

void fault_arm(enum fault_kind kind, unsigned nth, int errnum)
{
    atomic_store(&fault.hit, NULL);
    atomic_store(&fault.calls, 0);
    atomic_store(&fault.errnum, errnum);
    atomic_store(&fault.nth, nth);
    atomic_store(&fault.kind, (int)kind);
}

void fault_refuse(const char *call, int errnum)
{
    atomic_store(&fault.lacking, call);
    fault_arm(FAULT_UNSUPPORTED, 1, errnum);
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

enum { ANY, NEEDS_ROOM };

static bool fault_is_due(const char *name, int kind, int needs)
{
    unsigned nth = atomic_load(&fault.nth);
    unsigned call;

    if (kind == FAULT_UNSUPPORTED)
        return strcmp(name, atomic_load(&fault.lacking)) == 0;
    if (kind == FAULT_NONE || (kind == FAULT_FULL && needs != NEEDS_ROOM))
        return false;
    call = atomic_fetch_add(&fault.calls, 1) + 1;
    return kind == FAULT_FULL ? call >= nth : call == nth;
}

/* True when this call is the one: errno is set. */
static bool fault_applies(const char *call, int needs)
{
    int kind = atomic_load(&fault.kind);

    if (!fault_is_due(call, kind, needs))
        return false;
    atomic_store(&fault.hit, call);
    if (kind == FAULT_EXIT)
        (void)kill(getpid(), SIGKILL);
    errno = atomic_load(&fault.errnum);
    return true;
}

/* One row a call: its result and name, what it needs, its parameters, its arguments, and
 * how it is written down. */
#define FAULT_CALL(type, name, needs, parameters, arguments, record)                     \
    type __real_##name parameters;                                                       \
    type __wrap_##name parameters;                                                       \
    type __wrap_##name parameters                                                        \
    {                                                                                    \
        if (fault_applies(#name, needs))                                                 \
            return -1;                                                                   \
        record;                                                                          \
        return __real_##name arguments;                                                  \
    }

FAULT_CALL(ssize_t, write, NEEDS_ROOM, (int fd, const void *bytes, size_t count),
           (fd, bytes, count), fault_log_file("write", fd))
FAULT_CALL(ssize_t, pwrite, NEEDS_ROOM,
           (int fd, const void *bytes, size_t count, off_t at), (fd, bytes, count, at),
           fault_log_file("pwrite", fd))
FAULT_CALL(ssize_t, pread, ANY, (int fd, void *bytes, size_t count, off_t at),
           (fd, bytes, count, at), (void)0)
FAULT_CALL(ssize_t, copy_file_range, NEEDS_ROOM,
           (int from, off_t *from_at, int to, off_t *to_at, size_t count, unsigned flags),
           (from, from_at, to, to_at, count, flags), fault_log_file("write", to))
FAULT_CALL(int, fsync, ANY, (int fd), (fd), fault_log_file("fsync", fd))
FAULT_CALL(int, ftruncate, ANY, (int fd, off_t size), (fd, size),
           fault_log_file("ftruncate", fd))
FAULT_CALL(int, renameat, ANY,
           (int from_dir, const char *from, int to_dir, const char *to),
           (from_dir, from, to_dir, to),
           fault_log_names("renameat", from_dir, from, to_dir, to))
FAULT_CALL(int, symlinkat, NEEDS_ROOM, (const char *target, int dir, const char *path),
           (target, dir, path), fault_log_name("symlinkat", dir, path))
FAULT_CALL(int, linkat, NEEDS_ROOM,
           (int from_dir, const char *from, int to_dir, const char *to, int flags),
           (from_dir, from, to_dir, to, flags),
           fault_log_names("linkat", from_dir, from, to_dir, to))
FAULT_CALL(int, flock, ANY, (int fd, int operation), (fd, operation), (void)0)

/* Whether there was a directory before is known only afterwards. */
int __real_mkdirat(int dir, const char *path, mode_t mode);
int __wrap_mkdirat(int dir, const char *path, mode_t mode);

int __wrap_mkdirat(int dir, const char *path, mode_t mode)
{
    int result =
        fault_applies("mkdirat", NEEDS_ROOM) ? -1 : __real_mkdirat(dir, path, mode);
    int errnum = errno;

    if (result == 0)
        fault_log_name("mkdirat", dir, path);
    errno = errnum;
    return result;
}

int __real_openat(int dir, const char *path, int flags, ...);
int __wrap_openat(int dir, const char *path, int flags, ...);

int __wrap_openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    if (!(flags & O_CREAT))
        return fault_applies("openat", ANY) ? -1 : __real_openat(dir, path, flags);
    va_start(args, flags);
    mode = va_arg(args, mode_t);
    va_end(args);
    if (fault_applies("openat", NEEDS_ROOM))
        return -1;
    fault_log_name("create", dir, path);
    return __real_openat(dir, path, flags, mode);
}
