/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's JSON: a page of a tree, and what a revision means (spec/hub-wire.md). Parsing
 * only; everything here may be fed hostile bytes. For one thread at a time.
 */
#ifndef HC_HUB_LISTING_H
#define HC_HUB_LISTING_H

#include "hub.h"

/* The rows of all pages so far; each a tree of paths. */
struct hc_listing {
    struct hc_tree *files;
    struct hc_tree *directories; /* their paths */
    struct hc_tree *others;      /* paths of what is neither */
};

/* Clear it in every case. */
int hc_listing_init(struct hc_listing *listing, struct hc_error *err);
void hc_listing_clear(struct hc_listing *listing);
HC_DEFINE_AUTO_VALUE(hc_listing, hc_listing_clear)

/* Adds the rows of one page. BAD_HUB_REPLY when one of them cannot be understood. */
int hc_listing_parse(const char *bytes, size_t count, struct hc_listing *listing,
                     struct hc_error *err);

/* Once all pages are there: `files` is the commit's tree, or BAD_HUB_REPLY when the rows
 * contradict each other, or show that some are not there. */
int hc_listing_finish(struct hc_listing *listing, struct hc_error *err);

/*
 * "sha", "private" and "gated", and the names in "siblings": of all files, sorted (the
 * caller frees), or NULL when they are not told. BAD_HUB_REPLY when "sha" is no commit.
 */
int hc_listing_parse_revision(const char *bytes, size_t count,
                              struct hc_revision *revision, struct hc_tree **siblings,
                              struct hc_error *err);

#endif
