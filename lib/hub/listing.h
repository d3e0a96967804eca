/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's JSON: a page of a tree, and the commit of a revision. Parsing only;
 * everything here may be fed hostile bytes.
 */
#ifndef HC_HUB_LISTING_H
#define HC_HUB_LISTING_H

#include <cache/tree.h>

/* Adds the files of one page. BAD_HUB_REPLY when it is not such a page. */
int hc_listing_parse(const char *bytes, size_t count, struct hc_tree *tree,
                     struct hc_error *err);

/* The member "sha". BAD_HUB_REPLY when it is no commit. */
int hc_listing_commit(const char *bytes, size_t count, char commit[HC_COMMIT_SIZE],
                      struct hc_error *err);

#endif
