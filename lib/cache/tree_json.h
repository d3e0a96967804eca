/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listing as JSON: written as Python's json.dump(…, indent=1) writes it, byte for byte.
 * The parser is hc_tree_parse of tree.h.
 */
#ifndef HC_CACHE_TREE_JSON_H
#define HC_CACHE_TREE_JSON_H

#include "tree.h"

/* The text and its size; the caller frees it. NULL when memory is short. */
char *hc_tree_format(const struct hc_tree *tree, size_t *size, struct hc_error *err);

#endif
