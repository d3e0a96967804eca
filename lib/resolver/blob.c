/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob that a resolution fetches: its bytes, then the pointer to it, and the failure of
 * either in terms of the file that was asked for.
 */
#include "resolution.h"

#include <base/size.h>
#include <cache/fetched_totals.h>
#include <cache/pointer.h>

#include <string.h>

/* Failures of the Hub name the file already; others name a path, a blob or nothing. */
static int blob_explain_failure(const struct hc_resolution *resolution, const char *path,
                                struct hc_error *err)
{
    const char *type = hc_repo_type_name(resolution->repo.type);
    const char *id = resolution->repo.id;

    (void)hc_fail_about_file(err, path);
    switch (err->reason) {
    case HC_CANCELLED:
    case HC_DEADLINE_EXCEEDED:
        return -1;
    case HC_NO_SPACE:
    case HC_CACHE_READ_ONLY:
    case HC_CACHE_IO:
        return hc_context(err, "cannot keep '%.120s' of %s '%s' at '%.80s' in '%.80s'",
                          path, type, id, resolution->revision,
                          hc_cache_root(resolution->resolver->cache));
    case HC_CHECKSUM_MISMATCH:
        return hc_context(
            err,
            "'%.120s' of %s '%s' at '%.80s' came with wrong bytes, also when "
            "fetched again; check the endpoint, and the proxies and mirrors "
            "in between, then resolve it again",
            path, type, id, resolution->revision);
    default:
        return strstr(err->message, path)
                   ? -1
                   : hc_context(err, "'%.120s' of %s '%s' at '%.80s'", path, type, id,
                                resolution->revision);
    }
}

/* Where there are no symlinks, another caller that fetched the same blob may have moved
 * it away: to the very place of this file, or to another one. */
static bool blob_is_in_place(const struct hc_resolution *resolution,
                             const struct hc_blob_request *request)
{
    struct hc_pointer pointer;
    struct hc_error unused;

    return hc_pointer_find(resolution->resolver->cache, &resolution->repo,
                           request->file.revision, request->file.path, &pointer,
                           &unused) == 1 &&
           hc_blob_size_matches(request->size, pointer.size);
}

/*
 * Bytes, then pointer. hc_pointer_link() says 1 when the blob has vanished in between:
 * then either it has moved to where the pointer would be, or it is fetched again.
 */
static int blob_fetch(const struct hc_resolution *resolution,
                      const struct hc_blob_request *request,
                      const struct hc_hub_credentials *credentials,
                      struct hc_blob_result *result, struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    unsigned retries = 0;
    int linked;

    do {
        linked =
            hc_transfers_fetch(resolver->transfers, request, credentials, result, err) < 0
                ? -1
                : hc_pointer_link(resolver->cache, &request->file, request->blob.etag,
                                  result->is_fetched, err);
        retries += result->retries;
    } while (linked == 1 && !blob_is_in_place(resolution, request));
    result->retries = retries;
    if (linked >= 0)
        return 0;
    return blob_explain_failure(resolution, request->file.path, err);
}

int hc_resolution_fetch_blob(const struct hc_resolution *resolution,
                             const struct hc_blob_request *request,
                             const struct hc_hub_credentials *credentials,
                             struct hc_blob_result *result, struct hc_error *err)
{
    HC_AUTO(hc_fetched_reservation) *reservation = NULL;

    if (hc_resolution_reserve_blob(resolution, request, &reservation, err) < 0)
        return blob_explain_failure(resolution, request->file.path, err);
    return blob_fetch(resolution, request, credentials, result, err);
}

/* The listing has no usable hash of the file: a HEAD tells its etag, and its size. */
static int entry_ask_etag(const struct hc_resolution *resolution,
                          const struct hc_blob_request *request,
                          const struct hc_hub_credentials *credentials,
                          struct hc_metadata *metadata, struct hc_error *err)
{
    if (hc_hub_head(resolution->resolver->hub, &request->file, credentials, metadata,
                    err) < 0)
        return -1;
    if (metadata->size == HC_SIZE_UNKNOWN)
        metadata->size = request->size;
    return 0;
}

/* The metadata, which is large, is on the stack of a download thread. */
int hc_resolution_fetch_entry(const struct hc_resolution *resolution,
                              const struct hc_entry *entry,
                              const struct hc_hub_credentials *credentials,
                              struct hc_blob_result *result, struct hc_error *err)
{
    struct hc_metadata metadata;
    struct hc_blob_request request = {
        .blob = {.folder = resolution->repo.folder, .etag = hc_entry_etag(entry)},
        .file = {&resolution->repo, resolution->commit, entry->path},
        .size = hc_entry_size(entry),
        .is_forced = resolution->options->force_download,
        .identity = resolution->options->identity,
        .rule = hc_resolution_rule_name(resolution, entry->path, hc_entry_size(entry)),
    };

    if (!request.blob.etag[0]) {
        if (entry_ask_etag(resolution, &request, credentials, &metadata, err) < 0)
            return -1;
        request.blob.etag = metadata.etag;
        request.size = metadata.size;
    }
    return blob_fetch(resolution, &request, credentials, result, err);
}
