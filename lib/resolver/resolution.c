/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The subject of a request, and the first half of resolving it: which commit does the
 * name mean, as far as the disk can tell.
 */
#include "hint.h"

#include <base/size.h>
#include <cache/blob.h>
#include <cache/ref.h>

#include <string.h>
#include <time.h>

int64_t hc_resolution_now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int hc_resolution_init(struct hc_resolution *resolution, struct hc_resolver *resolver,
                       const struct hc_target *target,
                       const struct hc_fetch_options *options, struct hc_error *err)
{
    bool has_revision = target->revision && target->revision[0] != '\0';

    resolution->resolver = resolver;
    resolution->options = options;
    resolution->revision = has_revision ? target->revision : "main";
    resolution->is_commit = hc_commit_is_valid(resolution->revision);
    resolution->may_ask_hub = hc_policy_may_ask_hub(&resolver->policy, options);
    if (hc_repo_init(&resolution->repo, target->type, target->id ? target->id : "", err) <
        0)
        return -1;
    if (hc_revision_check(resolution->revision, err) < 0)
        return -1;
    return hc_policy_check(&resolver->policy, options, err);
}

int hc_resolution_read_ref(const struct hc_resolution *resolution,
                           struct hc_local_ref *local_ref, struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    struct hc_ref ref;
    int found;

    *local_ref = (struct hc_local_ref){0};
    if (resolution->is_commit) {
        memcpy(local_ref->commit, resolution->revision, HC_COMMIT_SIZE);
        local_ref->is_usable = true;
        return 0;
    }
    found =
        hc_ref_find(resolver->cache, &resolution->repo, resolution->revision, &ref, err);
    if (found <= 0)
        return found;
    memcpy(local_ref->commit, ref.commit, HC_COMMIT_SIZE);
    local_ref->is_usable = !resolution->may_ask_hub ||
                           hc_policy_is_fresh(&resolver->policy, resolution->options,
                                              ref.heard_ms, hc_resolution_now_ms());
    return 0;
}

int hc_resolution_fail_not_cached(const struct hc_resolution *resolution,
                                  const char *path, struct hc_error *err)
{
    const char *type = hc_repo_type_name(resolution->repo.type);
    const char *id = resolution->repo.id;
    const char *why =
        resolution->options->local_files_only
            ? "the request says local_files_only"
            : "hubcache is offline (HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE or "
              "--offline)";
    char hint[HC_HINT_SIZE];

    hc_hint_not_cached(resolution, path, hint);
    if (!path)
        return hc_fail(err, HC_NOT_CACHED,
                       "no snapshot of %s '%s' at '%s' is in the cache%s, and the Hub is "
                       "not asked: %s. Resolve it once while online: hubcache snapshot "
                       "%s --repo-type %s --revision %s",
                       type, id, resolution->revision, hint, why, id, type,
                       resolution->revision);
    (void)hc_fail(err, HC_NOT_CACHED,
                  "'%s' of %s '%s' at '%s' is not in the cache%s, and the Hub is not "
                  "asked: %s. Resolve it once while online: hubcache file %s %s "
                  "--repo-type %s --revision %s",
                  path, type, id, resolution->revision, hint, why, id, path, type,
                  resolution->revision);
    return hc_fail_about_file(err, path);
}

/* Failures of the Hub name the file already; others name a path, a blob or nothing. */
static int explain_blob_failure(const struct hc_resolution *resolution, const char *path,
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

/* Where there are no symlinks, whoever else wanted the blob may have moved it away: to
 * the very place, or to another one. */
static bool pointer_is_there(const struct hc_resolver *resolver,
                             const struct hc_repo_file *place, uint64_t size)
{
    struct hc_pointer pointer;
    struct hc_error unused;

    return hc_pointer_find(resolver->cache, place->repo, place->revision, place->path,
                           &pointer, &unused) == 1 &&
           hc_blob_size_matches(size, pointer.size);
}

/* The listing has no usable hash of the file: the Hub is asked for it. `metadata` backs
 * what becomes of `request`. */
static int request_etag(const struct hc_resolution *resolution,
                        const struct hc_hub_credentials *credentials,
                        struct hc_blob_request *request, struct hc_metadata *metadata,
                        struct hc_error *err)
{
    if (hc_hub_head(resolution->resolver->hub, &request->file, credentials, metadata,
                    err) < 0)
        return -1;
    request->blob.etag = metadata->etag;
    if (metadata->size != HC_SIZE_UNKNOWN)
        request->size = metadata->size;
    return 0;
}

int hc_resolution_fetch_blob(const struct hc_resolution *resolution,
                             const struct hc_blob_request *request,
                             const struct hc_hub_credentials *credentials,
                             struct hc_blob_result *result, struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    struct hc_blob_request described = *request;
    struct hc_metadata metadata;
    unsigned retries = 0;
    int placed;

    *result = (struct hc_blob_result){0};
    if (!request->blob.etag[0] &&
        request_etag(resolution, credentials, &described, &metadata, err) < 0)
        return -1;
    do {
        placed = hc_transfers_fetch(resolver->transfers, &described, credentials, result,
                                    err) < 0
                     ? -1
                     : hc_pointer_link(resolver->cache, &described.file,
                                       described.blob.etag, result->is_fetched, err);
        retries += result->retries;
        result->retries = retries;
    } while (placed == 1 && !pointer_is_there(resolver, &described.file, described.size));
    if (placed >= 0)
        return 0;
    return explain_blob_failure(resolution, request->file.path, err);
}
