/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the cache has instead of something that it does not have: the repo in another
 * casing, or the file at another revision. Looks at a bounded number of names, and only
 * after a failure.
 */
#ifndef HC_RESOLVER_HINT_H
#define HC_RESOLVER_HINT_H

#include "resolver.h"

enum { HC_HINT_SIZE = 192 };

/* " (…)" to be put into a sentence, "" when there is nothing to say; `path` may be NULL,
 * for a snapshot. */
void hc_hint_not_cached(const struct hc_resolution *resolution, const char *path,
                        char hint[HC_HINT_SIZE]);

#endif
