/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's JSON: a page of a tree, and what a revision means. Parsing only;
 * everything here may be fed hostile bytes.
 */
#ifndef HC_HUB_LISTING_H
#define HC_HUB_LISTING_H

#include "hub.h"

/* Adds the files of one page. BAD_HUB_REPLY when it is not such a page. */
int hc_listing_parse(const char *bytes, size_t count, struct hc_tree *tree,
                     struct hc_error *err);

/* "sha", "private" and "gated". BAD_HUB_REPLY when "sha" is no commit. */
int hc_listing_revision(const char *bytes, size_t count, struct hc_revision *revision,
                        struct hc_error *err);

#endif
