/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of the Hub. For any input, the paths of a tree that is accepted are unique, and
 * each is safe or marked as unsafe; hashes are valid or absent; a commit is a valid one.
 */
#include "fuzz.h"

#include <base/text.h>
#include <hub/listing.h>

static void check_tree(const struct hc_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        const struct hc_entry *entry = &tree->entries[i];
        const char *etag = hc_entry_etag(entry);

        fuzz_require(entry->is_safe == hc_filename_is_safe(entry->path));
        fuzz_require(!etag[0] || hc_text_is_hex(etag, 40) || hc_text_is_hex(etag, 64));
        fuzz_require(i == 0 || strcmp(tree->entries[i - 1].path, entry->path) < 0);
        fuzz_require(!hc_tree_has_directory(tree, entry->path));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_VALUE(hc_listing) listing = {0};
    HC_AUTO(hc_tree) *siblings = NULL;
    struct hc_revision revision;
    struct hc_error err;

    if (hc_listing_init(&listing, &err) == 0 &&
        hc_listing_parse((const char *)data, size, &listing, &err) == 0 &&
        hc_listing_finish(&listing, &err) == 0)
        check_tree(listing.files);
    if (hc_listing_parse_revision((const char *)data, size, &revision, &siblings, &err) ==
        0)
        fuzz_require(hc_commit_is_valid(revision.commit));
    return 0;
}
