/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files a snapshot selects, by the reference client's patterns (§4): Python's
 * fnmatch.fnmatchcase, so "*" and "?" match "/" too, "**" is just "*", "[seq]" and
 * "[!seq]" are sets, there are no escapes; "\" counts as "/" on both sides; a pattern
 * that ends in "/" has "*" appended.
 *
 * The patterns of a request are compiled once, into a filter. Most files are decided by
 * the characters that a pattern begins and ends with. For the rest the time is linear in
 * the length of the path, except for a long run of "?", sets and repeated characters
 * between two "*", for which it is quadratic at worst. A filter belongs to one thread,
 * but for hc_filter_allows(), which any number of threads may call.
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

/* `patterns` passed hc_patterns_check and are not kept; `cancellation` is borrowed. NULL
 * when memory is short. */
struct hc_filter *hc_filter_new(const struct hc_patterns *patterns,
                                struct hc_cancellation *cancellation,
                                struct hc_error *err);
void hc_filter_free(struct hc_filter *filter);
HC_DEFINE_AUTO(hc_filter, hc_filter_free)

/* INVALID_PATTERN when `files` times the number of patterns exceeds HC_MATCHES_MAX. */
int hc_filter_check(const struct hc_filter *filter, size_t files, struct hc_error *err);

/* 1: `path` is selected; 0: it is not; -1 as hc_cancellation_check, which is called every
 * few milliseconds of matching. */
int hc_filter_select(struct hc_filter *filter, const char *path, struct hc_error *err);

enum { HC_FILTER_TEXT_MAX = 4096 };

/* Whether one of the patterns that allow matches; without one, none does. A text with a
 * "\\" and more than HC_FILTER_TEXT_MAX bytes is not matched. */
bool hc_filter_allows(const struct hc_filter *filter, const char *text);

#endif
