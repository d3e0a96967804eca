/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .no_exist/<commit>/<path>: an empty file that remembers that a commit has no such file.
 */
#ifndef HC_CACHE_NO_EXIST_H
#define HC_CACHE_NO_EXIST_H

#include "cache.h"

/* 1 when marked, 0 when not. */
int hc_no_exist_find(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *commit, const char *path, struct hc_error *err);

/* Marks. Failure is of no interest: it costs one request next time. */
void hc_no_exist_mark(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit, const char *path);

#endif
