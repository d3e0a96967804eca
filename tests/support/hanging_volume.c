/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that makes a volume hang: while the FIFO that HANGING_VOLUME
 * names exists, a stat or readlink of a file of a repo waits until another process opens
 * the FIFO for writing; likewise HANGING_PROBE, when the cache's id is opened.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

static void wait_while_hanging(const char *path, const char *part, const char *variable)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change
    const char *fifo = getenv(variable);
    int fd;

    if (!fifo || !strstr(path, part))
        return;
    fd = open(fifo, O_RDONLY | O_CLOEXEC); /* waits for a writer */
    if (fd >= 0)
        (void)close(fd);
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
VISIBLE ssize_t readlinkat(int dir, const char *path, char *target, size_t size)
{
    static ssize_t (*real)(int, const char *, char *, size_t);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "readlinkat");
    wait_while_hanging(path, "--", "HANGING_VOLUME");
    return real(dir, path, target, size);
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
VISIBLE int fstatat(int dir, const char *path, struct stat *status, int flags)
{
    static int (*real)(int, const char *, struct stat *, int);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fstatat");
    wait_while_hanging(path, "--", "HANGING_VOLUME");
    return real(dir, path, status, flags);
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
VISIBLE int openat(int dir, const char *path, int flags, ...)
{
    static int (*real)(int, const char *, int, ...);
    va_list args;
    mode_t mode;

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "openat");
    va_start(args, flags);
    mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    wait_while_hanging(path, "/cache-id", "HANGING_PROBE");
    return real(dir, path, flags, mode);
}
