/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Read-ahead: a file's bytes are brought into the page cache of this machine, so that a
 * program that reads it next does not wait for the volume. What is there already is not
 * read again. Callable from any thread; the calling thread waits for the volume.
 */
#ifndef HC_BASE_READ_AHEAD_H
#define HC_BASE_READ_AHEAD_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* A file of a request for read-ahead. */
struct hc_read_ahead_file {
    const char *path; /* borrowed */
    uint64_t size;
};

/*
 * Which of the files fit into half of `memory` bytes (base/available_memory.h): sorts
 * them by size, so that the largest are left out first, and returns how many fit. What
 * is in the page cache already counts, so that equal requests choose equal files.
 */
size_t hc_read_ahead_choose(struct hc_read_ahead_file *files, size_t count,
                            uint64_t memory);

/* Reads the whole file ahead, unless `*stop` becomes true. Returns the bytes that were
 * not in the page cache before. A failure only ends it: the reader will meet it. */
uint64_t hc_read_ahead(int fd, const atomic_bool *stop);

#endif
