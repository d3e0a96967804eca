/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a resolution fetches, held against its caller's quota. A blob that is on the
 * volume is not fetched, whatever pointers lead to it; one of unknown size needs room for
 * a byte at least.
 */
#include "resolution.h"

#include <base/size.h>
#include <cache/pointer.h>
#include <maintenance/quota.h>
#include <store/duplicate.h>

static bool resolution_has_quota(const struct hc_resolution *resolution)
{
    const struct hc_rules *rules = resolution->decision.rules;

    return rules && rules->quota_count > 0 &&
           hc_rules_find_quota(rules, resolution->options->identity);
}

/* False: its bytes are on the volume. */
static bool want_init(const struct hc_resolution *resolution,
                      const struct hc_fetched_want *wanted, struct hc_fetched_want *want)
{
    const struct hc_blob_id blob = {resolution->repo.folder, wanted->etag};
    struct hc_error unused;
    uint64_t size;

    *want = *wanted;
    if (want->bytes == HC_SIZE_UNKNOWN)
        want->bytes = 1;
    return resolution->options->force_download ||
           hc_blob_find(resolution->resolver->cache, &blob, &size, &unused) != 1 ||
           !hc_blob_size_matches(wanted->bytes, size);
}

/* Leaves out blobs that another repo has, whose bytes are not fetched. Returns how many
 * are left. The search looks at every repo: it is made only when room is short. */
static size_t wants_remove_duplicates(const struct hc_resolution *resolution,
                                      struct hc_fetched_want *wants, size_t count)
{
    char duplicate[PATH_MAX];
    size_t left = 0;

    for (size_t i = 0; i < count; i++) {
        const struct hc_blob_id blob = {resolution->repo.folder, wants[i].etag};

        if (!hc_duplicate_find(resolution->resolver->cache, &blob, wants[i].bytes,
                               duplicate))
            wants[left++] = wants[i];
    }
    return left;
}

static int resolution_reserve(const struct hc_resolution *resolution,
                              struct hc_fetched_want *wants, size_t count,
                              struct hc_fetched_reservation **reservation,
                              struct hc_error *err)
{
    const struct hc_cache *cache = resolution->resolver->cache;
    const struct hc_rules *rules = resolution->decision.rules;
    struct hc_fetched_request request = {.folder = resolution->repo.folder,
                                         .identity = resolution->options->identity,
                                         .wants = wants,
                                         .count = count};

    if (hc_quota_reserve(cache, rules, &request, resolution->cancellation, reservation,
                         err) == 0)
        return 0;
    if (err->reason == HC_NO_SPACE && !resolution->options->force_download) {
        request.count = wants_remove_duplicates(resolution, wants, count);
        if (request.count < count &&
            hc_quota_reserve(cache, rules, &request, resolution->cancellation,
                             reservation, err) == 0)
            return 0;
    }
    if (resolution->path)
        return -1;
    return hc_context(err, "%zu files of %s '%s'", count,
                      hc_repo_type_name(resolution->repo.type), resolution->repo.id);
}

int hc_resolution_reserve_blob(const struct hc_resolution *resolution,
                               const struct hc_blob_request *request,
                               struct hc_fetched_reservation **reservation,
                               struct hc_error *err)
{
    const struct hc_fetched_want wanted = {request->blob.etag, request->size};
    struct hc_fetched_want want;

    *reservation = NULL;
    if (!resolution_has_quota(resolution) || !want_init(resolution, &wanted, &want))
        return 0;
    return resolution_reserve(resolution, &want, 1, reservation, err);
}

int hc_resolution_reserve_entries(const struct hc_resolution *resolution,
                                  const struct hc_entry *const *entries, size_t count,
                                  struct hc_fetched_reservation **reservation,
                                  struct hc_error *err)
{
    HC_AUTO_FREE struct hc_fetched_want *wants = NULL;
    size_t wanted_count = 0;

    *reservation = NULL;
    if (!resolution_has_quota(resolution))
        return 0;
    wants = calloc(count, sizeof *wants);
    if (!wants)
        return hc_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        const char *etag = hc_entry_etag(entries[i]);
        const struct hc_fetched_want wanted = {etag[0] ? etag : entries[i]->path,
                                               hc_entry_size(entries[i])};

        wanted_count += want_init(resolution, &wanted, &wants[wanted_count]);
    }
    return resolution_reserve(resolution, wants, wanted_count, reservation, err);
}
