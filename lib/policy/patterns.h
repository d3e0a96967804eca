/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a snapshot selects, by the reference client's patterns (§4): Python's
 * fnmatch.fnmatchcase, so "*" and "?" match "/" too, "**" is just "*", "[seq]" and
 * "[!seq]" are sets, there are no escapes; "\" counts as "/" on both sides; a pattern
 * that ends in
 * "/" has "*" appended. Pure functions.
 */
#ifndef HC_POLICY_PATTERNS_H
#define HC_POLICY_PATTERNS_H

#include <hubcache/error.h>

#include <stdbool.h>
#include <stddef.h>

struct hc_patterns {
    const char *const *allow; /* none: every file */
    size_t allow_count;
    const char *const *ignore; /* wins over allow */
    size_t ignore_count;
};

/* INVALID_PATTERN (field "allow_patterns" or "ignore_patterns"): too many, too long, not
 * UTF-8. */
int hc_patterns_check(const struct hc_patterns *patterns, struct hc_error *err);

bool hc_patterns_select(const struct hc_patterns *patterns, const char *path);

/* One pattern, linear in the text for any pattern without "*", quadratic at worst. */
bool hc_pattern_matches(const char *pattern, const char *path);

#endif
