/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files weigh is quickly added up, and mostly fits. Only when it does not, a
 * closer look tells what of it need not come: the same blob twice, what is there already,
 * what an earlier transfer left, what another repo has.
 */
#include "space_estimate.h"

#include <base/size.h>
#include <cache/blob.h>
#include <claim/claim.h>
#include <store/duplicate.h>

#include <string.h>

static int blob_compare_etags(const void *a, const void *b)
{
    return strcmp((*(const struct hc_missing_blob *const *)a)->etag,
                  (*(const struct hc_missing_blob *const *)b)->etag);
}

static uint64_t estimate_all_bytes(const struct hc_batch *batch)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < batch->count; i++) {
        struct hc_missing_blob *blob = &batch->blobs[i];

        blob->reserved_bytes = blob->size;
        bytes = hc_size_add(bytes, blob->reserved_bytes);
    }
    return bytes;
}

static uint64_t blob_missing_bytes(const struct hc_batch *batch,
                                   const struct hc_missing_blob *blob)
{
    const struct hc_cache *cache = batch->resolution->resolver->cache;
    const struct hc_blob_id id = {batch->resolution->repo.folder, blob->etag};
    struct hc_error unused;
    char twin[PATH_MAX];
    uint64_t size, left;

    if (batch->resolution->options->force_download || !blob->etag[0])
        return blob->size;
    if ((hc_blob_find(cache, &id, &size, &unused) == 1 && size == blob->size) ||
        hc_duplicate_find(cache, &id, blob->size, twin))
        return 0;
    left = hc_claim_arrived_bytes(cache, &id);
    return left < blob->size ? blob->size - left : 0;
}

/* `order` is room for as many jobs as there are. */
static uint64_t estimate_missing_bytes(const struct hc_batch *batch,
                                       struct hc_missing_blob **order)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < batch->count; i++)
        order[i] = &batch->blobs[i];
    qsort(order, batch->count, sizeof *order, blob_compare_etags);
    for (size_t i = 0; i < batch->count; i++) {
        bool is_same =
            i > 0 && order[i]->etag[0] && strcmp(order[i]->etag, order[i - 1]->etag) == 0;

        order[i]->reserved_bytes = is_same ? 0 : blob_missing_bytes(batch, order[i]);
        bytes = hc_size_add(bytes, order[i]->reserved_bytes);
    }
    return bytes;
}

int hc_space_estimate_reserve(const struct hc_batch *batch,
                              struct hc_reservation **reservation, struct hc_error *err)
{
    const struct hc_cache *cache = batch->resolution->resolver->cache;
    const struct hc_repo *repo = &batch->resolution->repo;
    HC_AUTO_FREE struct hc_missing_blob **order = NULL;

    if (hc_reservation_make(cache, repo, estimate_all_bytes(batch), reservation, err) ==
        0)
        return 0;
    if (err->reason != HC_NO_SPACE)
        return -1;
    order = calloc(batch->count, sizeof *order);
    if (!order)
        return hc_fail_memory(err);
    if (hc_reservation_make(cache, repo, estimate_missing_bytes(batch, order),
                            reservation, err) == 0)
        return 0;
    return hc_context(err, "%zu files of %s '%s'", batch->count,
                      hc_repo_type_name(repo->type), repo->id);
}
