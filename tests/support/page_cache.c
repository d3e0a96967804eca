/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel drops clean pages only, so they are written first.
 */
#include "page_cache.h"

#include <base/auto.h>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

static int file_open_or_abort(const char *path, off_t *size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0) {
        perror(path);
        abort();
    }
    *size = status.st_size;
    return fd;
}

void page_cache_drop(const char *path)
{
    off_t size;
    HC_AUTO_CLOSE int fd = file_open_or_abort(path, &size);

    if (fsync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        abort();
}

uint64_t page_cache_resident(const char *path)
{
    off_t size;
    HC_AUTO_CLOSE int fd = file_open_or_abort(path, &size);
    size_t page = (size_t)sysconf(_SC_PAGESIZE), length = (size_t)size;
    size_t count = (length + page - 1) / page;
    HC_AUTO_FREE unsigned char *pages = malloc(count + 1);
    uint64_t resident = 0;
    void *mapped;

    if (size == 0)
        return 0;
    mapped = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, 0);
    if (!pages || mapped == MAP_FAILED || mincore(mapped, length, pages) < 0)
        abort();
    for (size_t i = 0; i < count; i++)
        resident += pages[i] & 1 ? page : 0;
    (void)munmap(mapped, length);
    return resident;
}
