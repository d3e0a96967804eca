/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of the Hub: whatever comes, a tree that is accepted has safe paths only, and a
 * commit is one.
 */
#include "fuzz.h"

#include <base/text.h>
#include <hub/listing.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct hc_revision revision;
    struct hc_error err;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&err);

    if (tree && hc_listing_parse((const char *)data, size, tree, &err) == 0) {
        for (size_t i = 0; i < tree->count; i++) {
            const char *etag = hc_entry_etag(&tree->entries[i]);

            must(hc_filename_is_safe(tree->entries[i].path));
            must(hc_text_is_hex(etag, 40) || hc_text_is_hex(etag, 64));
        }
        hc_tree_sort(tree);
    }
    if (hc_listing_revision((const char *)data, size, &revision, &err) == 0)
        must(hc_commit_is_valid(revision.commit));
    return 0;
}
