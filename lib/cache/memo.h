/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a small file or a link said when it was last read, so that a hit need not open and
 * read what a stat shows to be unchanged: one system call instead of four. Only that, a
 * memory: losing it costs nothing, and a file that changed (by whomever) is read again.
 *
 * A fixed number of places; who comes later to a place takes it. Callable from any thread.
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
    HC_MEMO_TEXT_MAX = 255,

    /*
     * A change in the same tick of the file system's clock as the last one cannot be seen.
     * What changed so recently is not remembered (git's index has the same rule).
     */
    HC_MEMO_MIN_AGE_S = 2
};

struct hc_memo *hc_memo_new(struct hc_error *err);
void hc_memo_free(struct hc_memo *memo);
HC_DEFINE_AUTO(hc_memo, hc_memo_free)

/* True, and `text`, when `path` was remembered in the state that `status` shows. */
bool hc_memo_find(struct hc_memo *memo, const char *path, const struct stat *status,
                  char *text, size_t size);

/* Remembers, unless the file changed less than HC_MEMO_MIN_AGE_S before `now_s`. */
void hc_memo_store(struct hc_memo *memo, const char *path, const struct stat *status,
                   const char *text, time_t now_s);

#endif
