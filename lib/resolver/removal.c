/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removals that a caller asks for. What it selects is looked up as a whole first, so that
 * a request with a wrong name in it removes nothing; then the repos are treated one after
 * the other.
 */
#include "resolver.h"

#include <hubcache/maintenance.h>

#include <cache/pin.h>
#include <cache/ref.h>
#include <cache/walk.h>
#include <claim/claim_record.h>
#include <maintenance/prune.h>
#include <policy/patterns.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static const char selected[] = "selected";

/* Whatever an atime says, also one of a clock that is ahead. */
#define FUTURE_MS (INT64_C(1000) * 366 * 24 * 3600 * 1000)

/* ---- what is selected -------------------------------------------------------------- */

/* 0 and the repo, if it is in the cache and the caller may administer it. */
static int target_find_repo(struct hc_resolver *resolver, const struct hc_target *target,
                            const struct hc_fetch_options *options, struct hc_repo *repo,
                            struct hc_error *err)
{
    if (hc_repo_init(repo, target->type, target->id, err) < 0)
        return -1;
    return hc_policy_may_administer(&resolver->policy, options->identity, repo, err);
}

static int repo_fail_absent(const struct hc_repo *repo, const char *revision,
                            struct hc_error *err)
{
    if (!revision)
        return hc_fail(err, HC_NOT_CACHED, "%s '%s' is not in the cache",
                       hc_repo_type_name(repo->type), repo->id);
    return hc_fail(err, HC_NOT_CACHED, "%s '%s' has no revision '%.100s' in the cache",
                   hc_repo_type_name(repo->type), repo->id, revision);
}

static bool path_is_directory(const struct hc_cache *cache, const char *path)
{
    struct stat status;

    hc_directory_refresh(hc_cache_fd(cache), path);
    return fstatat(hc_cache_fd(cache), path, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(status.st_mode);
}

/* The commit of a revision whose snapshot is there; NOT_CACHED. */
static int revision_find_snapshot(const struct hc_cache *cache,
                                  const struct hc_repo *repo, const char *revision,
                                  char commit[HC_COMMIT_SIZE], struct hc_error *err)
{
    int found = hc_ref_find_commit(cache, repo, revision, commit, err);
    char path[PATH_MAX];

    if (found < 0 ||
        (found == 1 && hc_cache_snapshot_path(path, repo, commit, NULL, err) < 0))
        return -1;
    return found == 1 && path_is_directory(cache, path)
               ? 0
               : repo_fail_absent(repo, revision, err);
}

/* A selector, looked up. */
struct selection {
    struct hc_repo repo;
    char commit[HC_COMMIT_SIZE]; /* "": every revision */
};

static int selection_find(struct hc_resolver *resolver,
                          const struct hc_removal_selector *selector,
                          const struct hc_fetch_options *options,
                          struct selection *selection, struct hc_error *err)
{
    const struct hc_patterns patterns = {.allow = selector->patterns,
                                         .allow_count = selector->pattern_count};
    const char *revision = selector->repo.revision;

    *selection = (struct selection){0};
    if (hc_patterns_check(&patterns, err) < 0 ||
        target_find_repo(resolver, &selector->repo, options, &selection->repo, err) < 0)
        return -1;
    if (!path_is_directory(resolver->cache, selection->repo.folder))
        return repo_fail_absent(&selection->repo, NULL, err);
    if (!revision || !*revision)
        return 0;
    return revision_find_snapshot(resolver->cache, &selection->repo, revision,
                                  selection->commit, err);
}

/* ---- deletion ---------------------------------------------------------------------- */

static int selection_take(struct hc_removal *removal,
                          const struct hc_removal_selector *selector,
                          const struct selection *selection,
                          struct hc_cancellation *cancellation, struct hc_error *err)
{
    const struct hc_patterns patterns = {.allow = selector->patterns,
                                         .allow_count = selector->pattern_count};
    const char *commit = selection->commit;
    HC_AUTO(hc_filter) *filter = NULL;
    struct hc_removal_request request = {.repo = &selection->repo,
                                         .commits = *commit ? &commit : NULL,
                                         .commit_count = *commit ? 1 : 0,
                                         .detail = selected};

    if (hc_cancellation_check(cancellation, err) < 0)
        return -1;
    if (selector->pattern_count > 0) {
        filter = hc_filter_new(&patterns, cancellation, err);
        if (!filter)
            return -1;
        request.filter = filter;
    }
    return hc_removal_take(removal, &request, err);
}

static int delete_selections(const struct hc_delete_request *request,
                             const struct selection *selections,
                             struct hc_removal *removal,
                             struct hc_cancellation *cancellation, struct hc_error *err)
{
    for (size_t i = 0; i < request->selector_count; i++) {
        if (selection_take(removal, &request->selectors[i], &selections[i], cancellation,
                           err) < 0)
            return -1;
    }
    return 0;
}

int hc_resolver_delete(struct hc_resolver *resolver,
                       const struct hc_delete_request *request,
                       struct hc_cancellation *cancellation,
                       struct hc_removal_result *result, struct hc_error *err)
{
    const struct hc_removal_options options = {.rules = &resolver->hold_rules,
                                               .is_dry_run = request->dry_run};
    HC_AUTO_FREE struct selection *selections = NULL;
    HC_AUTO(hc_removal) *removal = NULL;
    int deleted;

    *result = (struct hc_removal_result){0};
    if (request->selector_count == 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "selectors", "nothing is selected");
    selections = calloc(request->selector_count, sizeof *selections);
    if (!selections)
        return hc_fail_memory(err);
    for (size_t i = 0; i < request->selector_count; i++) {
        if (selection_find(resolver, &request->selectors[i], &request->options,
                           &selections[i], err) < 0)
            return -1;
    }
    removal = hc_removal_new(resolver->cache, &options, result, err);
    if (!removal)
        return -1;
    deleted = delete_selections(request, selections, removal, cancellation, err);
    if (!request->dry_run) {
        atomic_fetch_add(&resolver->deleted_files, result->removed_files);
        atomic_fetch_add(&resolver->deleted_bytes, result->freed_bytes);
    }
    return deleted;
}

void hc_resolver_count_removed(struct hc_resolver *resolver,
                               struct hc_removal_counts *counts)
{
    *counts = (struct hc_removal_counts){
        .deleted_files = atomic_load(&resolver->deleted_files),
        .deleted_bytes = atomic_load(&resolver->deleted_bytes),
        .pruned_files = atomic_load(&resolver->pruned_files),
        .pruned_bytes = atomic_load(&resolver->pruned_bytes),
    };
}

/* ---- pruning ----------------------------------------------------------------------- */

/* The last denial is the failure when no repo is allowed. A repo that the caller may not
 * see is passed over as if it were not there. */
static int prune_repos(struct hc_resolver *resolver,
                       const struct hc_prune_request *request,
                       const struct hc_prune *prune, struct hc_filter *filter,
                       struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(resolver->cache);
    const struct hc_identity *identity = request->options.identity;
    struct hc_policy *policy = &resolver->policy;
    struct hc_error denied, refusal;
    struct hc_repo repo;
    size_t allowed = 0;

    while (hc_walk_next_repo(&walk, &repo)) {
        int chosen =
            hc_repo_has_type(&repo, request->repo_types, request->repo_type_count)
                ? hc_filter_select(filter, repo.id, err)
                : 0;

        if (chosen < 0)
            return -1;
        if (chosen == 0)
            continue;
        if (hc_policy_may_administer(policy, identity, &repo, &refusal) == 0) {
            if (hc_prune_repo(prune, &repo, err) < 0)
                return -1;
            allowed++;
        } else if (hc_policy_may_see(policy, identity, &repo)) {
            prune->result->repos_denied++;
            denied = refusal;
        }
    }
    if (allowed > 0 || prune->result->repos_denied == 0)
        return 0;
    *err = denied;
    return -1;
}

/* What belongs to no repo needs the right to administer every repo. */
static int prune_rest(struct hc_resolver *resolver,
                      const struct hc_prune_request *request,
                      const struct hc_prune *prune, struct hc_error *err)
{
    struct hc_error denied;

    if (request->repo_id_count > 0 || request->repo_type_count > 0 ||
        hc_policy_may_administer(&resolver->policy, request->options.identity, NULL,
                                 &denied) < 0)
        return 0;
    return hc_prune_cache(prune, err);
}

int hc_resolver_prune(struct hc_resolver *resolver,
                      const struct hc_prune_request *request,
                      struct hc_cancellation *cancellation,
                      struct hc_prune_result *result, struct hc_error *err)
{
    const struct hc_patterns patterns = {.allow = request->repo_ids,
                                         .allow_count = request->repo_id_count};
    const struct hc_removal_options options = {.rules = &resolver->hold_rules,
                                               .is_dry_run = request->dry_run};
    struct hc_prune prune = {.cache = resolver->cache,
                             .result = result,
                             .cancellation = cancellation,
                             .unused_for_ms = request->unused_for_ms,
                             .is_dry_run = request->dry_run};
    HC_AUTO(hc_removal) *removal = NULL;
    HC_AUTO(hc_filter) *filter = NULL;
    int pruned;

    *result = (struct hc_prune_result){0};
    if (hc_patterns_check(&patterns, err) < 0 ||
        hc_policy_may_administer_any(&resolver->policy, request->options.identity, err) <
            0)
        return -1;
    filter = hc_filter_new(&patterns, cancellation, err);
    removal = filter ? hc_removal_new(resolver->cache, &options, &result->revisions, err)
                     : NULL;
    if (!removal)
        return -1;
    prune.removal = removal;
    prune.now_ms = hc_volume_now_ms(resolver->cache);
    if (prune.unused_for_ms == 0)
        prune.unused_for_ms = HC_PRUNE_UNUSED_MS;
    if (prune.unused_for_ms < 0)
        prune.unused_for_ms = -FUTURE_MS;
    pruned = prune_repos(resolver, request, &prune, filter, err);
    if (pruned == 0)
        pruned = prune_rest(resolver, request, &prune, err);
    result->freed_bytes = result->revisions.freed_bytes + result->file_bytes;
    if (!request->dry_run) {
        atomic_fetch_add(&resolver->pruned_files,
                         result->revisions.removed_files + result->file_removed);
        atomic_fetch_add(&resolver->pruned_bytes, result->freed_bytes);
    }
    return pruned;
}

/* ---- pins -------------------------------------------------------------------------- */

static const char *pin_revision(const struct hc_pin_request *request)
{
    const char *revision = request->repo.revision;

    return revision && *revision ? revision : "main";
}

int hc_resolver_pin(struct hc_resolver *resolver, const struct hc_pin_request *request,
                    char commit[41], struct hc_error *err)
{
    const struct hc_identity *identity = request->options.identity;
    const char *reason = request->reason ? request->reason : "";
    struct hc_pin pin = {0};
    struct hc_error unused;
    struct hc_repo repo;

    if (strlen(reason) > HC_PIN_REASON_MAX || !hc_text_is_utf8(reason))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "reason",
                             "a reason has at most %d bytes of UTF-8", HC_PIN_REASON_MAX);
    if (target_find_repo(resolver, &request->repo, &request->options, &repo, err) < 0 ||
        revision_find_snapshot(resolver->cache, &repo, pin_revision(request), commit,
                               err) < 0)
        return -1;
    (void)hc_format(pin.reason, sizeof pin.reason, "%s", reason);
    if (identity && identity->name)
        (void)snprintf(pin.caller, sizeof pin.caller, "%s", identity->name);
    pin.since_ms = hc_volume_now_ms(resolver->cache);
    if (hc_pin_set(resolver->cache, &repo, commit, &pin, err) < 0)
        return -1;
    /* A removal looks for pins after it has barred the revision: it may be gone. */
    if (revision_find_snapshot(resolver->cache, &repo, commit, commit, err) == 0)
        return 0;
    (void)hc_pin_clear(resolver->cache, &repo, commit, &unused);
    return -1;
}

int hc_resolver_unpin(struct hc_resolver *resolver, const struct hc_pin_request *request,
                      char commit[41], struct hc_error *err)
{
    struct hc_repo repo;
    int found;

    if (target_find_repo(resolver, &request->repo, &request->options, &repo, err) < 0)
        return -1;
    found =
        hc_ref_find_commit(resolver->cache, &repo, pin_revision(request), commit, err);
    if (found <= 0)
        return found < 0 ? -1 : repo_fail_absent(&repo, pin_revision(request), err);
    return hc_pin_clear(resolver->cache, &repo, commit, err);
}
