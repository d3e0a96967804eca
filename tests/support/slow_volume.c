/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that makes a volume slow, as one is that many machines share:
 * each metadata operation at or below the directory SLOW_VOLUME takes SLOW_VOLUME_US
 * microseconds more (500 by default). Reading and writing bytes takes no longer.
 *
 * It also makes a volume hang: while the FIFO that HANGING_VOLUME names exists, a stat or
 * readlink of a path that contains HANGING_PART ("--" by default: a file of a repo) waits
 * until another process opens the FIFO for writing; likewise HANGING_PROBE, when the
 * cache's id is opened.
 *
 * It replaces functions of libc, so a program that is linked statically, or makes system
 * calls itself, is as quick as before.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

enum { DEFAULT_US = 500, ENTRIES_PER_OPERATION = 128, PATH_SIZE = 4096 };

// NOLINTBEGIN(concurrency-mt-unsafe): the environment does not change

/* ---- slow -------------------------------------------------------------------------- */

static bool path_is_below(const char *path, const char *directory)
{
    size_t length = strlen(directory);

    return strncmp(path, directory, length) == 0 &&
           (path[length] == '\0' || path[length] == '/');
}

static bool descriptor_is_below(int fd, const char *directory)
{
    char link[64], path[PATH_SIZE];
    long length;

    (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length < 0)
        return false;
    path[length] = '\0';
    return path_is_below(path, directory);
}

/* Keeps errno. */
static void volume_wait(void)
{
    const char *text = getenv("SLOW_VOLUME_US");
    long us = text ? strtol(text, NULL, 10) : DEFAULT_US;
    const struct timespec pause = {us / 1000000, us % 1000000 * 1000};
    static _Thread_local bool is_exact;
    int saved = errno;

    if (!is_exact)
        is_exact = prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL) == 0;
    (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    errno = saved;
}

static void slow_down(int dir, const char *path)
{
    const char *volume = getenv("SLOW_VOLUME");

    if (volume && (path[0] == '/' ? path_is_below(path, volume)
                                  : dir != AT_FDCWD && descriptor_is_below(dir, volume)))
        volume_wait();
}

/* ---- hanging ----------------------------------------------------------------------- */

static void wait_while_hanging(const char *path, const char *part, const char *variable)
{
    const char *fifo = getenv(variable);
    int fd;

    if (!fifo || !strstr(path, part))
        return;
    /* waits for a writer */
    fd = (int)syscall(SYS_openat, AT_FDCWD, fifo, O_RDONLY | O_CLOEXEC, 0);
    if (fd >= 0)
        (void)close(fd);
}

static void hang_at_file(const char *path)
{
    const char *part = getenv("HANGING_PART");

    wait_while_hanging(path, part ? part : "--", "HANGING_VOLUME");
}

// NOLINTEND(concurrency-mt-unsafe)

/* ---- the functions of libc --------------------------------------------------------- */

/* The function of libc behind the one that is being defined. */
#define REAL(name)                                                                       \
    __extension__({                                                                      \
        static __typeof__(&(name)) real_;                                                \
                                                                                         \
        if (!real_)                                                                      \
            *(void **)&real_ = dlsym(RTLD_NEXT, #name);                                  \
        real_;                                                                           \
    })

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)

VISIBLE ssize_t readlinkat(int dir, const char *path, char *target, size_t size)
{
    hang_at_file(path);
    slow_down(dir, path);
    return REAL(readlinkat)(dir, path, target, size);
}

VISIBLE int fstatat(int dir, const char *path, struct stat *status, int flags)
{
    hang_at_file(path);
    slow_down(dir, path);
    return REAL(fstatat)(dir, path, status, flags);
}

VISIBLE int stat(const char *path, struct stat *status)
{
    slow_down(AT_FDCWD, path);
    return REAL(stat)(path, status);
}

VISIBLE int lstat(const char *path, struct stat *status)
{
    slow_down(AT_FDCWD, path);
    return REAL(lstat)(path, status);
}

VISIBLE int access(const char *path, int mode)
{
    slow_down(AT_FDCWD, path);
    return REAL(access)(path, mode);
}

VISIBLE int faccessat(int dir, const char *path, int mode, int flags)
{
    slow_down(dir, path);
    return REAL(faccessat)(dir, path, mode, flags);
}

static mode_t mode_of(int flags, va_list args)
{
    return flags & O_CREAT ? va_arg(args, mode_t) : 0;
}

VISIBLE int open(const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    slow_down(AT_FDCWD, path);
    return REAL(open)(path, flags, mode);
}

VISIBLE int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    mode_t mode;

    va_start(args, flags);
    mode = mode_of(flags, args);
    va_end(args);
    wait_while_hanging(path, "/cache-id", "HANGING_PROBE");
    slow_down(dir, path);
    return REAL(openat)(dir, path, flags, mode);
}

/* Many names come in one operation. */
VISIBLE struct dirent *readdir(DIR *stream)
{
    static _Thread_local unsigned entries;

    if (entries++ % ENTRIES_PER_OPERATION == 0)
        slow_down(dirfd(stream), "");
    return REAL(readdir)(stream);
}

VISIBLE int mkdirat(int dir, const char *path, mode_t mode)
{
    slow_down(dir, path);
    return REAL(mkdirat)(dir, path, mode);
}

VISIBLE int renameat(int dir, const char *path, int other_dir, const char *other)
{
    slow_down(dir, path);
    return REAL(renameat)(dir, path, other_dir, other);
}

VISIBLE int linkat(int dir, const char *path, int other_dir, const char *other, int flags)
{
    slow_down(dir, path);
    return REAL(linkat)(dir, path, other_dir, other, flags);
}

VISIBLE int symlinkat(const char *target, int dir, const char *path)
{
    slow_down(dir, path);
    return REAL(symlinkat)(target, dir, path);
}

VISIBLE int unlinkat(int dir, const char *path, int flags)
{
    slow_down(dir, path);
    return REAL(unlinkat)(dir, path, flags);
}

VISIBLE int utimensat(int dir, const char *path, const struct timespec times[2],
                      int flags)
{
    slow_down(dir, path);
    return REAL(utimensat)(dir, path, times, flags);
}

// NOLINTEND(readability-inconsistent-declaration-parameter-name)
