/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scans the cache for what its repos take (<hubcache/usage.h>), again and again, and
 * keeps the result of the last scan. It has a thread of its own, which a volume that
 * hangs stops; readers then see the last result.
 */
#ifndef HC_SERVER_USAGE_SCANNER_H
#define HC_SERVER_USAGE_SCANNER_H

#include <base/auto.h>

#include <hubcache/resolver.h>
#include <hubcache/usage.h>

HC_DEFINE_AUTO_VALUE(hc_usage, hc_usage_clear)

struct hc_usage_scanner;

/*
 * Scans at once, and then `every_ms` after the end of each scan, or later, so that it
 * scans for a tenth of the time at most. `resolver` is borrowed until close.
 */
struct hc_usage_scanner *hc_usage_scanner_open(struct hc_resolver *resolver,
                                               int64_t every_ms, struct hc_error *err);

/* Ends a scan that is under way, and waits for it. */
void hc_usage_scanner_close(struct hc_usage_scanner *scanner);
HC_DEFINE_AUTO(hc_usage_scanner, hc_usage_scanner_close)

/*
 * Copies the result of the last scan, of `repos_max` repos at most; the caller clears it.
 * 0: no scan has ended yet. -1: memory is short.
 */
int hc_usage_scanner_read(struct hc_usage_scanner *scanner, size_t repos_max,
                          struct hc_usage *usage, struct hc_error *err);

typedef void (*hc_fetched_usage_fn)(void *ctx, const struct hc_fetched_usage *usage);

/* Calls `fn`, which must not block, with what the last scan has found that callers have
 * had fetched; before the end of the first one, not at all. */
void hc_usage_scanner_read_fetched(struct hc_usage_scanner *scanner,
                                   hc_fetched_usage_fn fn, void *ctx);

#endif
