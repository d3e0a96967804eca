/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blobs of a repo are being fetched just now, by any process or client: those with
 * a claim that is alive, and those with a partial file that no claim names and that was
 * written to within HC_FETCHING_YOUNG_MS, or whose blob is locked. The reference client
 * makes no claims. Callable from any thread, each with its own value.
 *
 *     HC_AUTO_VALUE(hc_fetching) fetching = {0};
 *
 *     if (hc_fetching_read(&fetching, cache, repo, hc_volume_now_ms(cache), err) < 0)
 *         return -1;
 *     if (hc_fetching_has(&fetching, etag)) …
 */
#ifndef HC_CLAIM_FETCHING_H
#define HC_CLAIM_FETCHING_H

#include <base/text.h>
#include <cache/cache.h>

#include <stdbool.h>
#include <stdint.h>

enum { HC_FETCHING_YOUNG_MS = 60 * 60 * 1000 };

struct hc_fetching {
    struct hc_strings etags;
    struct hc_strings partials; /* names of the partial files, as far as they exist */
    bool has_reservation;       /* for several blobs of the repo, that does not wait */
    bool has_foreign;           /* a partial file that no claim names */
};

/* -1 also when a directory cannot be read. `fetching` is cleared by the caller in every
 * case. */
int hc_fetching_read(struct hc_fetching *fetching, const struct hc_cache *cache,
                     const struct hc_repo *repo, int64_t now_ms, struct hc_error *err);
void hc_fetching_clear(struct hc_fetching *fetching);
HC_DEFINE_AUTO_VALUE(hc_fetching, hc_fetching_clear)

/* Whether anything of the repo is being fetched. */
bool hc_fetching_is_any(const struct hc_fetching *fetching);

bool hc_fetching_has(const struct hc_fetching *fetching, const char *etag);

/* The etag of the blob whose partial file has this name, of any client: "<etag>.<8
 * hex>.incomplete" or "<etag>.incomplete". False: it is none. */
bool hc_partial_parse(const char *name, char etag[HC_ETAG_MAX + 1]);

#endif
