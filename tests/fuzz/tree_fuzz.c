/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings of commits. A listing that is accepted has sorted paths, each safe or marked
 * as unsafe, and is the same after it was written and read again.
 */
#include "fuzz.h"

#include <base/json.h>
#include <repo/name.h>
#include <repo/tree.h>

static void check_entries(const struct hc_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        const struct hc_entry *entry = &tree->entries[i];

        fuzz_require(entry->is_safe == hc_filename_is_safe(entry->path));
        fuzz_require(!entry->has_etag || hc_etag_is_valid(hc_entry_etag(entry)));
        fuzz_require(i == 0 || strcmp(tree->entries[i - 1].path, entry->path) < 0);
        fuzz_require(hc_tree_find(tree, entry->path) == entry);
    }
}

static char *tree_format(const struct hc_tree *tree, size_t *size)
{
    char *json = NULL;
    FILE *out = open_memstream(&json, size);

    fuzz_require(out != NULL);
    hc_tree_write_json(tree, out);
    fuzz_require(fclose(out) == 0);
    return json;
}

static struct hc_tree *parse_listing(const char *json, size_t size)
{
    struct hc_json reader;

    hc_json_from_text(&reader, json, size);
    return hc_tree_read_json(&reader);
}

static void check_round_trip(const struct hc_tree *tree)
{
    size_t size = 0, again_size = 0;
    HC_AUTO_FREE char *json = tree_format(tree, &size);
    HC_AUTO(hc_tree) *copy = parse_listing(json, size);
    HC_AUTO_FREE char *again = copy ? tree_format(copy, &again_size) : NULL;

    fuzz_require(again && again_size == size && memcmp(again, json, size) == 0);
    fuzz_require(hc_tree_equals(tree, copy));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *json = fuzz_text(data, size);
    HC_AUTO(hc_tree) *tree = parse_listing(json, size);

    if (!tree)
        return 0;
    check_entries(tree);
    check_round_trip(tree);
    return 0;
}
