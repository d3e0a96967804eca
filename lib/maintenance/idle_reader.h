/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hashes files from their first to their last byte without being in the way of others: on
 * a thread of its own with idle priority for CPU (SCHED_IDLE) and disk (ioprio_set(2)),
 * at a byte rate, and so that the page cache afterwards has the pages that it had before:
 * a scrub does not drive out the models that are in use.
 *
 * Since the thread may get no CPU for long, it takes no lock that any thread waits for
 * but the one that has called hc_idle_reader_hash(). A reader belongs to one thread.
 */
#ifndef HC_MAINTENANCE_IDLE_READER_H
#define HC_MAINTENANCE_IDLE_READER_H

#include <base/auto.h>
#include <base/cancellation.h>
#include <base/hash.h>

#include <stdbool.h>
#include <stdint.h>

struct hc_idle_reader;

enum {
    HC_IDLE_CHUNK = 1024 * 1024, /* bytes of one read; fewer at a low rate */
    HC_IDLE_CHUNK_MIN = 64 * 1024,
    HC_IDLE_CHUNKS_PER_SECOND = 8, /* at a byte rate, at least */
    HC_IDLE_PROGRESS_MS = 100
};

/* Called with the bytes that have been read of the file, on the thread that has called
 * hc_idle_reader_hash(). */
typedef void (*hc_idle_progress_fn)(void *ctx, uint64_t bytes);

/* How it reads. `{0}`: as fast as the volume gives, and tells nothing. */
struct hc_idle_options {
    uint64_t bytes_per_second; /* 0: no limit. Of all files together */
    bool is_urgent; /* a caller waits: of the two priorities, only that of the disk */
    struct hc_cancellation *cancellation; /* Optional. Borrowed */
    hc_idle_progress_fn progress;         /* Optional. */
    void *ctx;
};

/* Starts the thread. NULL: INTERNAL. */
struct hc_idle_reader *hc_idle_reader_open(const struct hc_idle_options *options,
                                           struct hc_error *err);
void hc_idle_reader_close(struct hc_idle_reader *reader);
HC_DEFINE_AUTO(hc_idle_reader, hc_idle_reader_close)

/*
 * Hashes the first `size` bytes of the open file. 1: done; 0: the file could not be read
 * so far, and `errnum` says why, or is 0 when it has fewer bytes; -1: as the cancellation
 * says, or INTERNAL.
 */
int hc_idle_reader_hash(struct hc_idle_reader *reader, int fd, uint64_t size,
                        struct hc_digest *digest, int *errnum, struct hc_error *err);

#endif
