/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refs/<revision> of a resolution: whether what it says can be used without the Hub, and
 * whether it may name another commit from now on.
 */
#include "resolution.h"

#include "keep.h"

#include <base/cancellation.h>
#include <cache/ref.h>

#include <string.h>

enum { NS_PER_MS = 1000 * 1000 };

/* How long the ref may answer because the revision is kept: 0, it may not. */
static int64_t resolution_kept_left_ms(const struct hc_resolution *resolution)
{
    int64_t left_ms;

    if (resolution->refuses_older || resolution->has_own_staleness ||
        !hc_keeps_find(resolution->resolver->keeps, &resolution->repo,
                       resolution->revision, &left_ms))
        return 0;
    return left_ms;
}

/* An answer by this ref may be given again while the ref is known and fresh. */
static void resolution_reuse_ref(const struct hc_resolution *resolution,
                                 const struct hc_ref *ref)
{
    struct hc_reuse *reuse = resolution->options->reuse;
    int64_t left_ms;

    hc_reuse_add(reuse, &ref->term);
    if (!reuse || !resolution->may_ask_hub)
        return;
    left_ms = hc_policy_fresh_left_ms(&resolution->resolver->policy, resolution->options,
                                      ref->confirmed_ms, hc_epoch_ms());
    if (left_ms == 0)
        left_ms = resolution_kept_left_ms(resolution);
    hc_reuse_limit(reuse, hc_monotonic_ns() + left_ms * NS_PER_MS);
}

int hc_resolution_read_ref(const struct hc_resolution *resolution,
                           char commit[HC_COMMIT_SIZE], struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    bool is_usable = true;
    struct hc_ref ref;
    int found;

    if (resolution->is_commit) {
        memcpy(commit, resolution->revision, HC_COMMIT_SIZE);
        return 1;
    }
    found = resolution->is_due && !resolution->looks_at_ref
                ? hc_ref_recall(resolver->cache, &resolution->repo, resolution->revision,
                                &ref, resolution->is_due)
                : hc_ref_find(resolver->cache, &resolution->repo, resolution->revision,
                              &ref, err);
    if (found < 0)
        return -1;
    if (found == 0)
        ref.commit[0] = '\0';
    else
        resolution_reuse_ref(resolution, &ref);
    if (resolution->uses_old_ref)
        memcpy(ref.commit, resolution->ref_commit, HC_COMMIT_SIZE);
    else
        is_usable =
            found == 1 && (!resolution->may_ask_hub ||
                           hc_policy_is_fresh(&resolver->policy, resolution->options,
                                              ref.confirmed_ms, hc_epoch_ms()) ||
                           resolution_kept_left_ms(resolution) > 0);
    /* On a volume that cannot be written to, the ref still names the lost commit. */
    if (resolution->is_ref_lost && strcmp(ref.commit, resolution->ref_commit) == 0)
        is_usable = false;
    memcpy(commit, ref.commit, HC_COMMIT_SIZE);
    return is_usable;
}

/* If the ref has moved since this resolution began, what moved it is as new as this. */
bool hc_resolution_may_move_ref(const struct hc_resolution *resolution,
                                const char *commit)
{
    const struct hc_resolver *resolver = resolution->resolver;
    struct hc_error unused;
    struct hc_ref ref;
    int64_t left_ms;

    if (resolution->is_commit ||
        !hc_keeps_find(resolver->keeps, &resolution->repo, resolution->revision,
                       &left_ms) ||
        hc_ref_find(resolver->cache, &resolution->repo, resolution->revision, &ref,
                    &unused) != 1 ||
        strcmp(ref.commit, commit) == 0)
        return true;
    return resolution->is_whole &&
           (resolution->decision.is_common ||
            hc_decision_allows_all(&resolution->decision)) &&
           strcmp(ref.commit, resolution->ref_commit) == 0;
}

int hc_resolution_write_ref(const struct hc_resolution *resolution, struct hc_error *err)
{
    if (resolution->is_stale ||
        !hc_resolution_may_move_ref(resolution, resolution->commit))
        return 0;
    return hc_ref_update(resolution->resolver->cache, &resolution->repo,
                         resolution->revision, resolution->commit, err);
}
