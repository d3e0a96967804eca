/* SPDX-License-Identifier: Apache-2.0 */
#include "etag_set.h"

#include <base/hash.h>

#include <string.h>

static uint64_t etag_hash(const char *etag)
{
    return hc_hash_bytes(HC_HASH_START, etag, strlen(etag));
}

static int compare_hashes(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

int hc_etag_set_add(struct hc_etag_set *set, const char *etag, struct hc_error *err)
{
    if (set->count == set->room) {
        size_t room = set->room ? 2 * set->room : 64;
        uint64_t *grown = reallocarray(set->hashes, room, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        set->hashes = grown;
        set->room = room;
    }
    set->hashes[set->count++] = etag_hash(etag);
    return 0;
}

void hc_etag_set_finish(struct hc_etag_set *set)
{
    if (set->count > 0)
        qsort(set->hashes, set->count, sizeof *set->hashes, compare_hashes);
}

bool hc_etag_set_has(const struct hc_etag_set *set, const char *etag)
{
    uint64_t hash = etag_hash(etag);

    return set->count > 0 &&
           bsearch(&hash, set->hashes, set->count, sizeof hash, compare_hashes) != NULL;
}

void hc_etag_set_clear(struct hc_etag_set *set)
{
    free(set->hashes);
    *set = (struct hc_etag_set){0};
}
