/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a small file or a symlink said when it was last read, so that a hit need not open
 * and read what a stat(2) shows to be unchanged: one system call instead of four. Losing
 * it costs a read and nothing else, and a file that any process changed is read again.
 *
 * A fixed number of slots; a path that hashes to a slot in use replaces what is there.
 * Callable from any thread.
 */
#ifndef HC_CACHE_MEMO_H
#define HC_CACHE_MEMO_H

#include <base/auto.h>
#include <base/error.h>

#include <stdbool.h>
#include <sys/stat.h>

struct hc_memo;

enum {
    HC_MEMO_SLOTS = 4096,
    HC_MEMO_TEXT_MAX = 255, /* bytes */

    /*
     * A change in the same tick of the file system's clock as the last one cannot be
     * seen. A file that changed so recently is not remembered (git's index has the same
     * rule).
     */
    HC_MEMO_MIN_AGE_S = 2
};

/* Which state of which file: a write changes the size or the time, a rename the inode. */
struct hc_file_state {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec time;
};

/* `time` is one of those in `status`. */
static inline struct hc_file_state hc_file_state_of(const struct stat *status,
                                                    const struct timespec *time)
{
    return (struct hc_file_state){status->st_dev, status->st_ino, status->st_size, *time};
}

static inline bool hc_file_state_equals(const struct hc_file_state *a,
                                        const struct hc_file_state *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->size == b->size &&
           a->time.tv_sec == b->time.tv_sec && a->time.tv_nsec == b->time.tv_nsec;
}

struct hc_memo *hc_memo_new(struct hc_error *err);
void hc_memo_free(struct hc_memo *memo);
HC_DEFINE_AUTO(hc_memo, hc_memo_free)

/* True, and `text`, when `path` was stored in the state that `status` shows. */
bool hc_memo_find(struct hc_memo *memo, const char *path, const struct stat *status,
                  char *text, size_t size);

/* Remembers, unless the file changed less than HC_MEMO_MIN_AGE_S before `now_s`. */
void hc_memo_store(struct hc_memo *memo, const char *path, const struct stat *status,
                   const char *text, time_t now_s);

#endif
