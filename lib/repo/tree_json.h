/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listing as JSON: written as Python's json.dump(…, indent=1) writes it, byte for byte.
 * The parser of a text is hc_tree_parse_json of tree.h.
 */
#ifndef HC_REPO_TREE_JSON_H
#define HC_REPO_TREE_JSON_H

#include "tree.h"

struct hc_json;

/* Writes it, piece by piece; ferror(3) tells whether all of it went. */
void hc_tree_write_json(const struct hc_tree *tree, FILE *out);

/* NULL when it is no valid listing. */
struct hc_tree *hc_tree_read_json(struct hc_json *json);

#endif
