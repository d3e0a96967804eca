/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a snapshot selects, by the reference client's patterns (§4): Python's
 * fnmatch.fnmatchcase, so "*" and "?" match "/" too, "**" is just "*", "[seq]" and
 * "[!seq]" are sets, there are no escapes; "\" counts as "/" on both sides; a pattern
 * that ends in "/" has "*" appended.
 *
 * The patterns of a request are compiled once, into a filter. Most files are decided by
 * what a pattern begins and ends with; the rest takes time linear in the path but for a
 * long run of "?", sets and repeated characters between two "*", which is quadratic at
 * worst. A filter belongs to one thread.
 */
#ifndef HC_POLICY_PATTERNS_H
#define HC_POLICY_PATTERNS_H

#include <base/auto.h>
#include <base/cancellation.h>

#include <stdbool.h>
#include <stddef.h>

struct hc_filter;

struct hc_patterns {
    const char *const *allow; /* none: every file */
    size_t allow_count;
    const char *const *ignore; /* wins over allow */
    size_t ignore_count;
};

/* INVALID_PATTERN (field "allow_patterns" or "ignore_patterns"): too many, too long, not
 * UTF-8. */
int hc_patterns_check(const struct hc_patterns *patterns, struct hc_error *err);

/* `patterns` passed hc_patterns_check and are not kept. `call` ends the matching early;
 * NULL: nothing does. NULL when memory is short. */
struct hc_filter *hc_filter_new(const struct hc_patterns *patterns,
                                struct hc_cancellation *cancellation,
                                struct hc_error *err);
void hc_filter_free(struct hc_filter *filter);
HC_DEFINE_AUTO(hc_filter, hc_filter_free)

/* INVALID_PATTERN when so many files times its patterns are more than HC_MATCHES_MAX. */
int hc_filter_check(const struct hc_filter *filter, size_t files, struct hc_error *err);

/* 1 selected, 0 not; -1 as hc_cancellation_check when the call is over, which is looked
 * at now and then. */
int hc_filter_select(struct hc_filter *filter, const char *path, struct hc_error *err);

#endif
