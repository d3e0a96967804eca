/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that makes a volume hang: while the FIFO that HANGING_VOLUME
 * names exists, a stat or readlink of a file of a repo waits until another process opens
 * the FIFO for writing.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VISIBLE __attribute__((visibility("default")))

static void wait_while_hanging(const char *path)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change
    const char *fifo = getenv("HANGING_VOLUME");
    int fd;

    if (!fifo || !strstr(path, "--"))
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
    wait_while_hanging(path);
    return real(dir, path, target, size);
}

// NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name)
VISIBLE int fstatat(int dir, const char *path, struct stat *status, int flags)
{
    static int (*real)(int, const char *, struct stat *, int);

    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fstatat");
    wait_while_hanging(path);
    return real(dir, path, status, flags);
}
