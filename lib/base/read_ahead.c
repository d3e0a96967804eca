/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file is read in chunks, two at a time: while the volume brings the next one, the
 * thread waits for the last byte of the one before. So the volume always has something to
 * do, a stop takes effect soon, and no more than two chunks are on their way.
 *
 * posix_fadvise(2) with POSIX_FADV_WILLNEED reads no more than the read-ahead size of the
 * device in one call, 128 KiB by default, and says nothing of the rest; so it is called
 * in such steps. Some filesystems ignore it, too. Each chunk is therefore looked at
 * afterwards, and what is missing is read.
 *
 * mincore(2) tells which pages are resident, but only of a file that the process owns or
 * may write to; of others it says that all are. Those are read without looking.
 */
#include "read_ahead.h"

#include "auto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { CHUNK = 8 * 1024 * 1024, STEP = 128 * 1024, PAGES_MAX = CHUNK / 4096 };

struct read_ahead {
    int fd;
    bool may_look;
    off_t size;
    long page_size;
};

static int file_compare(const void *one, const void *other)
{
    const struct hc_read_ahead_file *a = one, *b = other;

    if (a->size != b->size)
        return a->size < b->size ? -1 : 1;
    return strcmp(a->path, b->path);
}

size_t hc_read_ahead_choose(struct hc_read_ahead_file *files, size_t count,
                            uint64_t memory)
{
    uint64_t left = memory / 2;
    size_t chosen = 0;

    if (count > 0)
        qsort(files, count, sizeof *files, file_compare);
    while (chosen < count && files[chosen].size <= left)
        left -= files[chosen++].size;
    return chosen;
}

static size_t chunk_length(const struct read_ahead *self, off_t at)
{
    return self->size - at < CHUNK ? (size_t)(self->size - at) : CHUNK;
}

/* How many bytes of the chunk are not in the page cache, as far as can be told. */
static uint64_t chunk_missing(const struct read_ahead *self, off_t at)
{
    unsigned char pages[PAGES_MAX];
    size_t length = chunk_length(self, at), page = (size_t)self->page_size;
    uint64_t missing = 0;
    void *mapped;

    if (!self->may_look)
        return length;
    mapped = mmap(NULL, length, PROT_READ, MAP_SHARED, self->fd, at);
    if (mapped == MAP_FAILED)
        return length;
    if (mincore(mapped, length, pages) < 0)
        missing = length;
    else
        for (size_t i = 0; i * page < length; i++) {
            if (!(pages[i] & 1))
                missing += length - i * page < page ? length - i * page : page;
        }
    (void)munmap(mapped, length);
    return missing;
}

static void chunk_advise(const struct read_ahead *self, off_t at)
{
    off_t end = at + (off_t)chunk_length(self, at);

    for (; at < end; at += STEP)
        (void)posix_fadvise(self->fd, at, end - at < STEP ? end - at : STEP,
                            POSIX_FADV_WILLNEED);
}

/* Waits until the chunk is there. False: the file cannot be read to its end. */
static bool chunk_await(const struct read_ahead *self, off_t at)
{
    off_t end = at + (off_t)chunk_length(self, at);
    char buffer[STEP];

    if (pread(self->fd, buffer, 1, end - 1) != 1)
        return false;
    if (self->may_look && chunk_missing(self, at) == 0)
        return true;
    while (at < end) {
        ssize_t count = pread(self->fd, buffer, sizeof buffer, at);

        if (count == 0 || (count < 0 && errno != EINTR))
            return false;
        at += count > 0 ? count : 0;
    }
    return true;
}

/* May mincore() tell? */
static bool file_may_be_looked_at(int fd, const struct stat *status)
{
    char entry[64];

    (void)snprintf(entry, sizeof entry, "/proc/self/fd/%d", fd);
    return status->st_uid == geteuid() ||
           faccessat(AT_FDCWD, entry, W_OK, AT_EACCESS) == 0;
}

static uint64_t read_ahead_run(const struct read_ahead *self, const atomic_bool *stop)
{
    off_t awaited = -1; /* the chunk that is on its way */
    uint64_t missing = 0, total = 0;

    for (off_t at = 0; at < self->size && !atomic_load(stop); at += CHUNK) {
        uint64_t next = chunk_missing(self, at);

        if (next > 0)
            chunk_advise(self, at);
        if (awaited >= 0 && !chunk_await(self, awaited))
            return total;
        total += awaited >= 0 ? missing : 0;
        awaited = next > 0 ? at : -1;
        missing = next;
    }
    if (awaited < 0 || atomic_load(stop) || !chunk_await(self, awaited))
        return total;
    return total + missing;
}

uint64_t hc_read_ahead(int fd, const atomic_bool *stop)
{
    struct read_ahead self = {.fd = fd, .page_size = sysconf(_SC_PAGESIZE)};
    struct stat status;

    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode))
        return 0;
    self.size = status.st_size;
    self.may_look = file_may_be_looked_at(fd, &status);
    return read_ahead_run(&self, stop);
}
