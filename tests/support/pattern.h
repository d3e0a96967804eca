/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pattern and one path, for the tests of patterns and for their fuzz target.
 */
#ifndef HC_SUPPORT_PATTERN_H
#define HC_SUPPORT_PATTERN_H

#include <base/error.h>
#include <hubcache/resolver.h>
#include <policy/patterns.h>

#include <string.h>

/* False also when the pattern is longer than a request may have. */
static inline bool pattern_selects(const char *pattern, const char *path)
{
    const struct hc_patterns patterns = {.allow = &pattern, .allow_count = 1};
    HC_AUTO(hc_filter) *filter = NULL;
    struct hc_error unused;

    if (strnlen(pattern, HC_PATTERN_MAX + 1) > HC_PATTERN_MAX)
        return false;
    filter = hc_filter_new(&patterns, NULL, &unused);
    return filter && hc_filter_select(filter, path, &unused) == 1;
}

#endif
