/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .no_exist/<commit>/<path>: an empty file, the marker, says that a commit has no such
 * file (§1.3). Callable from any thread.
 *
 * The callers of the service choose the names, so that markers are bounded: at most
 * HC_NO_EXIST_MAX names below a commit, none in a directory that neither the snapshot nor
 * .no_exist has, and the sweep removes those older than HC_NO_EXIST_MAX_AGE_MS.
 */
#ifndef HC_CACHE_NO_EXIST_H
#define HC_CACHE_NO_EXIST_H

#include "cache.h"

#include <stdint.h>

enum { HC_NO_EXIST_MAX = 1000 /* files and directories */ };

#define HC_NO_EXIST_MAX_AGE_MS (INT64_C(30) * 24 * 3600 * 1000)

/* 1 when the file is marked, 0 when it is not. */
int hc_no_exist_find(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *commit, const char *path, struct hc_error *err);

/* Marks, within these bounds. A marker that cannot be made, or may not, costs one request
 * to the Hub next time; no caller needs to know. */
void hc_no_exist_mark(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, const char *path);

/* Removes markers that are too old at `now_ms`, and directories without any. Returns the
 * number of markers that were removed. */
unsigned hc_no_exist_sweep(const struct hc_cache *cache, int64_t now_ms);

#endif
