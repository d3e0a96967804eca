/* SPDX-License-Identifier: Apache-2.0 */
/*
 * .hubcache/pins/<repo folder>/<commit>: a pin, because of which nothing removes the
 * revision. Its text is JSON: the reason, the caller that pinned it, and since when. The
 * file itself is the pin, whatever its text is. Callable from any thread.
 */
#ifndef HC_CACHE_PIN_H
#define HC_CACHE_PIN_H

#include "cache.h"

#include <stdint.h>

enum { HC_PIN_TEXT_MAX = 200 /* bytes of a reason, or of a caller */ };

struct hc_pin {
    char reason[HC_PIN_TEXT_MAX + 1];
    char caller[HC_PIN_TEXT_MAX + 1]; /* as the log names it; "" for an anonymous one */
    int64_t since_ms;                 /* since the epoch; 0: unknown */
};

/* 1: pinned, and the pin, with "" and 0 for what its text does not say; 0; -1. */
int hc_pin_find(const struct hc_cache *cache, const struct hc_repo *repo,
                const char *commit, struct hc_pin *pin, struct hc_error *err);

/* Pins the revision, or replaces its pin. A text that is too long is cut. */
int hc_pin_set(const struct hc_cache *cache, const struct hc_repo *repo,
               const char *commit, const struct hc_pin *pin, struct hc_error *err);

/* 1: it was pinned; 0: it was not. */
int hc_pin_clear(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_error *err);

#endif
