/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States of a job, and what moves it from one to the next:
 *
 *   none     → ready: hc_idle_reader_hash() describes a file
 *   ready    → none: the thread has read the file, or failed, or was told to stop
 *   closing  the thread ends
 *
 * A file is read in chunks. Before a chunk is read, mincore(2) tells which of its pages
 * are in the page cache; afterwards the others are dropped (POSIX_FADV_DONTNEED leaves
 * alone what another process has mapped). The next chunk is asked for before the current
 * one is hashed, so that disk and CPU work at the same time; the kernel itself reads
 * nothing ahead (POSIX_FADV_RANDOM), or it would read pages that no chunk accounts for.
 * mincore tells the truth to a process that owns the file or may write to it, and says
 * "cached" to others: then nothing is dropped.
 */
#include "idle_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

enum {
    PAGE_MIN = 4096,
    PAGES_MAX = HC_IDLE_CHUNK / PAGE_MIN,
    SLEEP_NS = 50 * 1000 * 1000 /* between two looks at `is_stopped` */
};

#define NS_PER_S INT64_C(1000000000)

/* A part of the file, and which of its pages were cached before it was read. */
struct chunk {
    uint64_t at;
    size_t size;
    unsigned char cached[PAGES_MAX];
};

enum job { JOB_NONE, JOB_READY, JOB_CLOSING };

struct hc_idle_reader {
    struct hc_idle_options options;
    size_t page_size, chunk_size;
    pthread_t thread;
    char *buffer;
    int64_t due_ns; /* when the next byte may be read */
    atomic_bool is_stopped;
    atomic_uint_least64_t bytes; /* that have been read of the file */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        enum job state;
    } shared;
    /* The job: the caller's while there is none, the thread's while it is ready. */
    int fd;
    uint64_t size;
    struct hc_digest *digest;
    int result; /* as of hc_idle_reader_hash() */
    int errnum;
    struct hc_error err;
};

/* ---- the page cache ---------------------------------------------------------------- */

/* `map` NULL: the file cannot be mapped, and counts as cached. */
static void chunk_begin(const struct hc_idle_reader *reader, char *map, uint64_t at,
                        struct chunk *chunk)
{
    uint64_t left = reader->size - at;

    chunk->at = at;
    chunk->size = left < reader->chunk_size ? (size_t)left : reader->chunk_size;
    if (chunk->size == 0)
        return;
    if (!map || mincore(map + at, chunk->size, chunk->cached) < 0)
        memset(chunk->cached, 1, sizeof chunk->cached);
    (void)posix_fadvise(reader->fd, (off_t)at, (off_t)chunk->size, POSIX_FADV_WILLNEED);
}

/* Drops each run of pages that were not cached. */
static void chunk_end(const struct hc_idle_reader *reader, const struct chunk *chunk)
{
    size_t pages = (chunk->size + reader->page_size - 1) / reader->page_size, first = 0;

    while (first < pages) {
        size_t end = first;

        while (end < pages && !(chunk->cached[end] & 1))
            end++;
        if (end > first)
            (void)posix_fadvise(reader->fd,
                                (off_t)(chunk->at + first * reader->page_size),
                                (off_t)((end - first) * reader->page_size),
                                POSIX_FADV_DONTNEED);
        first = end + 1;
    }
}

/* ---- the thread -------------------------------------------------------------------- */

/* No byte is saved up while nothing is read, so there is no burst afterwards. */
static void reader_keep_pace(struct hc_idle_reader *reader, size_t bytes)
{
    uint64_t rate = reader->options.bytes_per_second;
    int64_t now_ns = hc_monotonic_ns();

    if (rate == 0)
        return;
    if (reader->due_ns < now_ns)
        reader->due_ns = now_ns;
    reader->due_ns += (int64_t)((double)bytes / (double)rate * (double)NS_PER_S);
    while (now_ns < reader->due_ns && !atomic_load(&reader->is_stopped)) {
        int64_t left_ns = reader->due_ns - now_ns;
        const struct timespec pause = {.tv_nsec =
                                           left_ns < SLEEP_NS ? left_ns : SLEEP_NS};

        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        now_ns = hc_monotonic_ns();
    }
}

/* 1: read and hashed; else as hc_idle_reader_hash(). */
static int reader_hash_chunk(struct hc_idle_reader *reader, const struct chunk *chunk)
{
    size_t done = 0;

    while (done < chunk->size) {
        ssize_t count = pread(reader->fd, reader->buffer + done, chunk->size - done,
                              (off_t)(chunk->at + done));

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0) {
            reader->errnum = count < 0 ? errno : 0;
            return 0;
        }
        done += (size_t)count;
    }
    return hc_digest_update(reader->digest, reader->buffer, done, &reader->err) < 0 ? -1
                                                                                    : 1;
}

static int reader_hash_file(struct hc_idle_reader *reader, char *map)
{
    struct chunk chunks[2] = {{0}}, *chunk = &chunks[0], *next = &chunks[1];
    int result = 1;

    chunk_begin(reader, map, 0, chunk);
    while (result == 1 && chunk->size > 0 && !atomic_load(&reader->is_stopped)) {
        struct chunk *read = chunk;

        chunk_begin(reader, map, chunk->at + chunk->size, next);
        result = reader_hash_chunk(reader, chunk);
        chunk_end(reader, chunk);
        (void)atomic_fetch_add(&reader->bytes, chunk->size);
        reader_keep_pace(reader, chunk->size);
        chunk = next;
        next = read;
    }
    chunk_end(reader, chunk);
    return result;
}

static void reader_run_job(struct hc_idle_reader *reader)
{
    size_t size = reader->size <= SIZE_MAX ? (size_t)reader->size : 0;
    char *map =
        size > 0 ? mmap(NULL, size, PROT_READ, MAP_SHARED, reader->fd, 0) : MAP_FAILED;

    (void)posix_fadvise(reader->fd, 0, 0, POSIX_FADV_RANDOM);
    reader->result = reader_hash_file(reader, map == MAP_FAILED ? NULL : map);
    if (map != MAP_FAILED)
        (void)munmap(map, size);
}

/* A kernel or sandbox that refuses either leaves the thread as it is: it is in the way a
 * little more. */
static void thread_become_idle(bool is_urgent)
{
    const struct sched_param none = {0};

    (void)pthread_setschedparam(pthread_self(), is_urgent ? SCHED_BATCH : SCHED_IDLE,
                                &none);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                  IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

static void *reader_main(void *arg)
{
    struct hc_idle_reader *reader = arg;

    thread_become_idle(reader->options.is_urgent);
    (void)pthread_mutex_lock(&reader->shared.lock);
    while (reader->shared.state != JOB_CLOSING) {
        if (reader->shared.state == JOB_NONE) {
            (void)pthread_cond_wait(&reader->shared.changed, &reader->shared.lock);
            continue;
        }
        (void)pthread_mutex_unlock(&reader->shared.lock);
        reader_run_job(reader);
        (void)pthread_mutex_lock(&reader->shared.lock);
        reader->shared.state = JOB_NONE;
        (void)pthread_cond_broadcast(&reader->shared.changed);
    }
    (void)pthread_mutex_unlock(&reader->shared.lock);
    return NULL;
}

/* ---- the interface ----------------------------------------------------------------- */

static size_t chunk_size_at(uint64_t bytes_per_second)
{
    uint64_t size = bytes_per_second / HC_IDLE_CHUNKS_PER_SECOND;

    if (bytes_per_second == 0 || size > HC_IDLE_CHUNK)
        return HC_IDLE_CHUNK;
    size -= size % HC_IDLE_CHUNK_MIN; /* whole pages */
    return size < HC_IDLE_CHUNK_MIN ? HC_IDLE_CHUNK_MIN : (size_t)size;
}

struct hc_idle_reader *hc_idle_reader_open(const struct hc_idle_options *options,
                                           struct hc_error *err)
{
    struct hc_idle_reader *reader = calloc(1, sizeof *reader);
    int errnum;

    if (!reader) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    reader->options = *options;
    reader->page_size = (size_t)sysconf(_SC_PAGESIZE);
    reader->chunk_size = chunk_size_at(options->bytes_per_second);
    reader->buffer = malloc(reader->chunk_size);
    (void)pthread_mutex_init(&reader->shared.lock, NULL);
    hc_condition_init(&reader->shared.changed);
    errnum = reader->buffer ? pthread_create(&reader->thread, NULL, reader_main, reader)
                            : ENOMEM;
    if (errnum == 0)
        return reader;
    (void)hc_fail(err, HC_INTERNAL, "start the thread that verifies: %s",
                  strerrordesc_np(errnum));
    (void)pthread_cond_destroy(&reader->shared.changed);
    (void)pthread_mutex_destroy(&reader->shared.lock);
    free(reader->buffer);
    free(reader);
    return NULL;
}

static void reader_set_state(struct hc_idle_reader *reader, enum job state)
{
    HC_LOCKED(&reader->shared.lock);

    reader->shared.state = state;
    (void)pthread_cond_broadcast(&reader->shared.changed);
}

void hc_idle_reader_close(struct hc_idle_reader *reader)
{
    if (!reader)
        return;
    reader_set_state(reader, JOB_CLOSING);
    (void)pthread_join(reader->thread, NULL);
    (void)pthread_cond_destroy(&reader->shared.changed);
    (void)pthread_mutex_destroy(&reader->shared.lock);
    free(reader->buffer);
    free(reader);
}

/* Whether the job has ended, after a wait of HC_IDLE_PROGRESS_MS at most. */
static bool reader_wait(struct hc_idle_reader *reader)
{
    HC_LOCKED(&reader->shared.lock);

    if (reader->shared.state == JOB_READY)
        hc_condition_wait(&reader->shared.changed, &reader->shared.lock,
                          HC_IDLE_PROGRESS_MS);
    return reader->shared.state == JOB_NONE;
}

int hc_idle_reader_hash(struct hc_idle_reader *reader, int fd, uint64_t size,
                        struct hc_digest *digest, int *errnum, struct hc_error *err)
{
    const struct hc_idle_options *options = &reader->options;

    reader->fd = fd;
    reader->size = size;
    reader->digest = digest;
    reader->errnum = 0;
    atomic_store(&reader->bytes, 0);
    atomic_store(&reader->is_stopped, false);
    reader_set_state(reader, JOB_READY);
    while (!reader_wait(reader)) {
        if (hc_cancellation_is_set(options->cancellation))
            atomic_store(&reader->is_stopped, true);
        else if (options->progress)
            options->progress(options->ctx, atomic_load(&reader->bytes));
    }
    if (hc_cancellation_check(options->cancellation, err) < 0)
        return -1;
    if (atomic_load(&reader->is_stopped)) /* its deadline has been moved out since */
        return hc_fail(err, HC_CANCELLED, "the caller gave up");
    if (reader->result < 0)
        *err = reader->err;
    *errnum = reader->errnum;
    return reader->result;
}
