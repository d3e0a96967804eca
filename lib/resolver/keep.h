/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The revisions that are kept, as resolutions see them; see <hubcache/keep.h>. Callable
 * from any thread.
 */
#ifndef HC_RESOLVER_KEEP_H
#define HC_RESOLVER_KEEP_H

#include <base/auto.h>
#include <hubcache/keep.h>
#include <repo/repo.h>

struct hc_keeps;

struct hc_keeps *hc_keeps_new(struct hc_error *err);
void hc_keeps_free(struct hc_keeps *keeps);
HC_DEFINE_AUTO(hc_keeps, hc_keeps_free)

/* True: the revision is kept, and `*left_ms` is how long its ref may still answer without
 * the Hub; 0: no longer. A lookup in memory. */
bool hc_keeps_find(struct hc_keeps *keeps, const struct hc_repo *repo,
                   const char *revision, int64_t *left_ms);

HC_DEFINE_AUTO(hc_keep, hc_keep_release)

#endif
