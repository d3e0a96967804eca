/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of globs in a rule or a quota, compiled: of repos, revisions and files, and of
 * callers. After the compilation they do not change, so any number of threads matches.
 */
#ifndef HC_POLICY_GLOBS_H
#define HC_POLICY_GLOBS_H

#include "patterns.h"

#include <base/text.h>

#include <stdbool.h>

struct hc_identity;

enum {
    HC_GLOBS_MAX = 1000,   /* of one key of one rule */
    HC_GLOB_MAX = 512,     /* bytes */
    HC_SUBJECT_SIZE = 1024 /* of a text that is matched, with its end */
};

/* Globs as in hc_patterns. Zero: every text matches. */
struct hc_globs {
    struct hc_strings texts; /* as the file has them */
    struct hc_filter *filter;
};

/* After the texts are filled. The globs have passed hc_patterns_check(). */
int hc_globs_compile(struct hc_globs *globs, struct hc_error *err);
void hc_globs_clear(struct hc_globs *globs);

static inline bool hc_globs_match(const struct hc_globs *globs, const char *text)
{
    return !globs->filter || hc_filter_allows(globs->filter, text);
}

/*
 * Which callers. Zero: every one, also without identity. Each text of the file is one of
 *
 *     GLOB              on the name of the caller; a caller without identity has the name
 *                       "", which "*" matches
 *     anonymous         the callers without identity, and no other
 *     group:GLOB        on each of the caller's groups
 *     kind:KIND[:GLOB]  how the identity was proved: token, jwt, uid or certificate; and
 *                       the name
 */
struct hc_callers {
    struct hc_strings texts;
    struct hc_filter *names, *groups;
    struct hc_filter *kinds; /* of "<kind>:<name>" */
    bool has_anonymous;
};

/* As those of globs. */
int hc_callers_compile(struct hc_callers *callers, struct hc_error *err);
void hc_callers_clear(struct hc_callers *callers);

/* `identity` NULL: without one. */
bool hc_callers_match(const struct hc_callers *callers,
                      const struct hc_identity *identity);

#endif
