/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A verification with repairs: what it finds corrupt or missing is resolved again, by the
 * commit and path of each pointer, as any caller could do. So a repair has the same
 * policy, credentials and locks as every other fetch.
 */
#include "resolver.h"

#include <hubcache/verification.h>

#include <maintenance/scrub.h>
#include <maintenance/verification.h>
#include <policy/policy.h>

#include <string.h>

struct verify_run {
    struct hc_resolver *resolver;
    const struct hc_verify_request *request;
    struct hc_cancellation *cancellation;
    struct hc_verify_result *result;
};

/* A file of the cache by the path of its pointer. */
struct pointed_file {
    struct hc_repo repo;
    char commit[HC_COMMIT_SIZE];
    const char *path; /* borrowed */
};

/* "<folder>/snapshots/<commit>/<path>". */
static bool pointed_file_parse(struct pointed_file *file, const char *pointer)
{
    const char *end = hc_cache_parse_snapshot_path(pointer, &file->repo);

    if (!end)
        return false;
    (void)hc_format(file->commit, sizeof file->commit, "%.40s", end);
    file->path = end + HC_COMMIT_SIZE;
    return hc_commit_is_valid(file->commit) && end[HC_COMMIT_SIZE - 1] == '/';
}

/* A file that is still there could not be moved away: it would be the answer. */
static int verify_fetch(const struct verify_run *run, const struct pointed_file *file,
                        struct hc_error *err)
{
    const struct hc_file_request request = {
        .repo = {file->repo.id, file->repo.type, file->commit},
        .filename = file->path,
        .options = run->request->options,
    };
    struct hc_pointer pointer;
    struct hc_file fetched;
    int found = hc_pointer_find(run->resolver->cache, &file->repo, file->commit,
                                file->path, &pointer, err);

    if (found != 0)
        return found < 0 ? -1 : hc_fail(err, HC_CACHE_IO, "the file is still there");
    if (hc_resolve_file(run->resolver, &request, run->cancellation, &fetched, err) < 0)
        return -1;
    hc_file_clear(&fetched);
    return 0;
}

/* One of the files is enough: they have their bytes in common. */
static int verify_fetch_over(void *ctx, const struct hc_finding *finding,
                             struct hc_error *err)
{
    const struct verify_run *run = ctx;
    struct hc_file_request request = {.options = run->request->options};
    struct pointed_file file;
    struct hc_file fetched;

    if (!pointed_file_parse(&file, finding->pointers[0]))
        return hc_fail(err, HC_CACHE_IO, "its path is unsafe");
    request.repo = (struct hc_target){file.repo.id, file.repo.type, file.commit};
    request.filename = file.path;
    request.options.force_download = true;
    if (hc_resolve_file(run->resolver, &request, run->cancellation, &fetched, err) < 0)
        return -1;
    hc_file_clear(&fetched);
    return 0;
}

/* How many files could not be fetched; `failure` is of the last of them. */
static size_t verify_repair(const struct verify_run *run,
                            const struct hc_finding *finding, struct hc_error *failure)
{
    size_t failed = 0;

    for (size_t i = 0; i < finding->pointer_count; i++) {
        struct pointed_file file;

        if (pointed_file_parse(&file, finding->pointers[i]) &&
            verify_fetch(run, &file, failure) == 0)
            run->result->repaired++;
        else
            failed++;
    }
    run->result->not_repaired += failed;
    return failed;
}

static bool finding_is_repairable(const struct hc_finding *finding)
{
    return finding->pointer_count > 0 && !finding->is_repaired &&
           (finding->kind == HC_CORRUPT_BLOB || finding->kind == HC_DANGLING_POINTER);
}

static int verify_found(void *ctx, struct hc_finding *finding, struct hc_error *err)
{
    const struct verify_run *run = ctx;
    const struct hc_verify_request *request = run->request;
    struct hc_error failure = {.message = "its path is unsafe"};
    char action[PATH_MAX + sizeof failure.message];
    const char *and = finding->action[0] ? "; " : "";

    if (request->repair && !request->dry_run && finding_is_repairable(finding)) {
        if (verify_repair(run, finding, &failure) > 0)
            (void)hc_format(action, sizeof action, "%s%snot fetched again: %s",
                            finding->action, and, failure.message);
        else
            (void)hc_format(action, sizeof action, "%s%sfetched again",
                            finding->action, and);
        finding->action = action;
    }
    if (request->found)
        request->found(request->ctx, finding);
    return hc_cancellation_check(run->cancellation, err);
}

/* Of the whole cache only a caller that may change all of it. */
static int verify_authorize(const struct verify_run *run, struct hc_error *err)
{
    const struct hc_verify_request *request = run->request;
    struct hc_policy *policy = &run->resolver->policy;
    const struct hc_identity *identity = request->options.identity;
    struct hc_repo repo;

    if (request->selector_count == 0)
        return hc_policy_may_administer(policy, identity, NULL, err);
    for (size_t i = 0; i < request->selector_count; i++) {
        const struct hc_target *target = &request->selectors[i].repo;

        if (hc_repo_init(&repo, target->type, target->id, err) < 0 ||
            hc_policy_may_administer(policy, identity, &repo, err) < 0)
            return -1;
    }
    return 0;
}

int hc_resolver_verify(struct hc_resolver *resolver,
                       const struct hc_verify_request *request,
                       struct hc_cancellation *cancellation,
                       struct hc_verify_result *result, struct hc_error *err)
{
    struct verify_run run = {resolver, request, cancellation, result};
    const struct hc_verification verification = {
        .cache = resolver->cache,
        .request = request,
        .found = verify_found,
        .fetch_over = request->repair ? verify_fetch_over : NULL,
        .ctx = &run,
        .cancellation = cancellation,
    };

    *result = (struct hc_verify_result){0};
    if (verify_authorize(&run, err) < 0)
        return -1;
    return hc_verification_run(&verification, result, err);
}

int hc_resolver_scrub(struct hc_resolver *resolver,
                      const struct hc_scrub_request *request,
                      struct hc_cancellation *cancellation,
                      struct hc_verify_result *result, struct hc_error *err)
{
    const struct hc_verify_request verify = {
        .repair = !hc_resolver_is_offline(resolver),
        .bytes_per_second = request->bytes_per_second,
        .found = request->found,
        .progress = request->progress,
        .ctx = request->ctx,
        .options = {.is_background = true},
    };
    struct verify_run run = {resolver, &verify, cancellation, result};
    const struct hc_scrub scrub = {
        .cache = resolver->cache,
        .request = &verify,
        .lock = &resolver->scrub_lock,
        .interval_ms = request->interval_ms,
        .found = verify_found,
        .fetch_over = verify.repair ? verify_fetch_over : NULL,
        .ctx = &run,
        .result = result,
        .cancellation = cancellation,
    };

    *result = (struct hc_verify_result){0};
    return hc_scrub_run(&scrub, err);
}

int hc_resolver_scrub_state(const struct hc_resolver *resolver,
                            struct hc_scrub_state *state)
{
    return hc_scrub_state_read(resolver->cache, state);
}
