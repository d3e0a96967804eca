/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With --wrap=f the linker sends calls of f to __wrap_f, and those of __real_f to f. The
 * kernel knows the path of a descriptor: /proc/self/fd.
 */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    FILE *lines; /* NULL: calls are not recorded */
    char *text;
    size_t size;
} record = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void fd_path(char path[PATH_MAX], int fd)
{
    char entry[64];
    ssize_t length;

    (void)snprintf(entry, sizeof entry, "/proc/self/fd/%d", fd);
    length = readlink(entry, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = '\0';
}

static void record_print_name(int dir, const char *path)
{
    char parent[PATH_MAX] = "";

    if (path[0] != '/' && dir != AT_FDCWD)
        fd_path(parent, dir);
    (void)fprintf(record.lines, " %s%s%s", parent, parent[0] ? "/" : "", path);
}

static bool record_begin(const char *call)
{
    (void)pthread_mutex_lock(&record.lock);
    if (record.lines)
        (void)fprintf(record.lines, "%s", call);
    return record.lines != NULL;
}

static void record_end(bool is_on)
{
    if (is_on)
        (void)fputc('\n', record.lines);
    (void)pthread_mutex_unlock(&record.lock);
}

/* Records a call on an open file. */
static void fault_log_file(const char *call, int fd)
{
    bool is_on = record_begin(call);
    char path[PATH_MAX];

    if (is_on) {
        fd_path(path, fd);
        record_print_name(AT_FDCWD, path);
    }
    record_end(is_on);
}

/* Records a call on `path`, which is relative to the directory `dir`. */
static void fault_log_name(const char *call, int dir, const char *path)
{
    bool is_on = record_begin(call);

    if (is_on)
        record_print_name(dir, path);
    record_end(is_on);
}

/* Records a call that gives an existing file another name. */
static void fault_log_names(const char *call, int from_dir, const char *from, int to_dir,
                            const char *to)
{
    bool is_on = record_begin(call);

    if (is_on) {
        record_print_name(from_dir, from);
        record_print_name(to_dir, to);
    }
    record_end(is_on);
}

void fault_record(void)
{
    (void)pthread_mutex_lock(&record.lock);
    record.lines = open_memstream(&record.text, &record.size);
    (void)pthread_mutex_unlock(&record.lock);
}

char *fault_recorded(void)
{
    char *text;

    (void)pthread_mutex_lock(&record.lock);
    (void)fclose(record.lines);
    record.lines = NULL;
    text = record.text;
    (void)pthread_mutex_unlock(&record.lock);
    return text;
}

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

/* Counts a call; true when it gets the fault, and then errno is set. */
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

bool fault_is_taken(const char *call)
{
    return fault_applies(call, ANY);
}

/*
 * One row for each call: its result and name, what it needs, its parameters, its
 * arguments, and how it is recorded.
 */
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

/* Recorded afterwards, since only then is it known whether it made a directory. */
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
