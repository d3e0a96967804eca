/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What looks at the volume found: which commit a ref has, which blob a pointer leads to.
 * A look is a few system calls, and each takes 1 µs on a local disk, and 0.3 to 1 ms on
 * a volume that many machines share. The memory saves them in two ways:
 *
 *     hc_memo_find    one stat(2) shows that a file is in the state in which it was read:
 *                     it need not be read again
 *     hc_memo_recall  no system call at all, as long as the last look is recent: an
 *                     answer may be so much older than the volume, and no more
 *
 * How long "recent" is follows from what a look costs. If the median look takes a tenth
 * of a millisecond or more, it is the interval (hc_memo_set_interval); the first caller
 * in its second half is told to have the fact confirmed by another look, away from the
 * caller, so that what is asked for often stays in memory. On a quicker volume it is 64
 * times what the look takes: for a file less than the way to a client and back.
 *
 * What this process itself writes or removes it forgets at once; a look that began before
 * stores nothing. Losing an entry costs a look. Entries and bytes are bounded: a new one
 * replaces the one of its few slots that was looked at longest ago. Callable from any
 * thread.
 */
#ifndef HC_CACHE_MEMO_H
#define HC_CACHE_MEMO_H

#include <base/auto.h>
#include <base/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

struct hc_memo;

enum {
    HC_MEMO_SLOTS = 128 * 1024,
    HC_MEMO_BYTES = 48 * 1024 * 1024, /* of all entries together */
    HC_MEMO_TEXT_MAX = 255,           /* bytes */
    HC_MEMO_PATH_MAX = 1023,          /* bytes; a longer path is not remembered */

    /* The median look at a file takes so long on a slow volume. */
    HC_MEMO_SLOW_NS = 100 * 1000,

    /* A look that took so long makes the volume slow, too, until so many looks in a row
     * have taken a millisecond at most. It does not make an answer older. */
    HC_MEMO_HANG_NS = 10 * 1000 * 1000,
    HC_MEMO_HANG_LOOKS = 16,

    /* On a quick one, an entry is recalled for the time that so many looks take. */
    HC_MEMO_QUICK_LOOKS = 64,

    /*
     * A change in the same tick of the file system's clock as the last one cannot be
     * seen. The state of a file that changed so recently proves nothing (git's index has
     * the same rule).
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

/* A look at a path, from before its first system call on. */
struct hc_memo_look {
    const char *path; /* borrowed */
    uint64_t hash;
    int64_t began_ns;
    uint32_t version; /* changes when this process writes to the path */
};

/* How long a fact may be recalled: until then, or until this process writes to its
 * path. */
struct hc_memo_term {
    int64_t until_ns; /* of the monotonic clock; 0: not at all */
    const _Atomic uint32_t *version;
    uint32_t seen; /* the version */
};

/* What a look found, or found earlier. */
struct hc_memo_fact {
    uint64_t size; /* bytes of the file */
    int64_t mtime_ms;
    struct hc_memo_term term; /* of hc_memo_find and hc_memo_recall */
    bool is_direct;           /* the caller's, kept with the text */
    bool is_due; /* from hc_memo_recall: the caller is to have it confirmed */
    char text[HC_MEMO_TEXT_MAX + 1];
};

/* With an interval of 0: nothing is recalled. */
struct hc_memo *hc_memo_new(struct hc_error *err);
void hc_memo_free(struct hc_memo *memo);
HC_DEFINE_AUTO(hc_memo, hc_memo_free)

void hc_memo_set_interval(struct hc_memo *memo, int64_t interval_ms);

struct hc_memo_look hc_memo_begin_look(const struct hc_memo *memo, const char *path);

/* True, and the fact, when it was stored in the state that `status` shows; the look then
 * counts as the last one. */
bool hc_memo_find(struct hc_memo *memo, const struct hc_memo_look *look,
                  const struct stat *status, struct hc_memo_fact *fact);

/* Remembers the fact's `text` and `is_direct`, with size and mtime of `status`. */
void hc_memo_store(struct hc_memo *memo, const struct hc_memo_look *look,
                   const struct stat *status, const struct hc_memo_fact *fact);

/* Remembers a text that `files` looks at files prove, and that is in no file itself. */
void hc_memo_store_proved(struct hc_memo *memo, const struct hc_memo_look *look,
                          unsigned files, const char *text);

/* True, and the fact, when the last look at `path` is recent. */
bool hc_memo_recall(struct hc_memo *memo, const char *path, struct hc_memo_fact *fact);

/* A look found nothing at its path. */
void hc_memo_store_absent(struct hc_memo *memo, const struct hc_memo_look *look);

/* Until this process writes to the path of the look. */
struct hc_memo_term hc_memo_look_term(const struct hc_memo *memo,
                                      const struct hc_memo_look *look);

/* For a path that this process has written to or removed. */
void hc_memo_forget(struct hc_memo *memo, const char *path);

/* Whether a thread that must not wait should leave looks to others: the median of the
 * last looks is slow, or one of them took very long. */
bool hc_memo_is_slow(const struct hc_memo *memo);

/* Whether looks are worth many threads: one that took very long does not count. */
bool hc_memo_median_is_slow(const struct hc_memo *memo);

void hc_memo_count(struct hc_memo *memo, size_t *entries, size_t *bytes);

/*
 * How long an answer that follows from several facts may be given again without a look at
 * any of them. Zero-initialized: not at all; nor with more facts than it has room for.
 */
enum { HC_REUSE_TERMS = 5 };

struct hc_reuse {
    unsigned count;
    struct hc_memo_term terms[HC_REUSE_TERMS];
};

/* `reuse` may be NULL. */
void hc_reuse_add(struct hc_reuse *reuse, const struct hc_memo_term *term);

/* The answer itself is valid until then. `reuse` may be NULL. */
void hc_reuse_limit(struct hc_reuse *reuse, int64_t until_ns);

bool hc_reuse_is_valid(const struct hc_reuse *reuse, int64_t now_ns);

#endif
