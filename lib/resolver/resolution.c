/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the steps, and the rule for stale answers. resolution.h lists the steps
 * and what moves a resolution from one to the next. Nothing here is shared between
 * threads: whatever is, is behind the resolver's members.
 */
#include "resolution.h"

#include <base/cancellation.h>
#include <cache/ref.h>

#include <string.h>

/* ---- authorize, local, check, cached ----------------------------------------------- */

void hc_resolution_clear(struct hc_resolution *resolution)
{
    hc_decision_clear(&resolution->decision);
}

int hc_resolution_check(struct hc_resolution *resolution, struct hc_error *err)
{
    const struct hc_target *target = resolution->target;
    const struct hc_policy *policy = &resolution->resolver->policy;
    bool has_revision = target->revision && target->revision[0] != '\0';

    resolution->revision = has_revision ? target->revision : "main";
    resolution->is_commit = hc_commit_is_valid(resolution->revision);
    resolution->may_ask_hub = hc_policy_may_ask_hub(policy, resolution->options);
    if (resolution->answered) {
        resolution->revision = resolution->answered;
        resolution->is_commit = true;
        resolution->may_ask_hub = false;
    }
    if (hc_repo_init(&resolution->repo, target->type, target->id ? target->id : "", err) <
        0)
        return -1;
    if (hc_revision_check(resolution->revision, err) < 0)
        return -1;
    resolution->endpoint_rule = hc_resolution_find_endpoint_rule(resolution);
    return hc_policy_check(policy, resolution->options, err);
}

/* Steps add to it which facts the answer follows from. */
static void resolution_reset_reuse(const struct hc_resolution *resolution)
{
    if (resolution->options->reuse)
        *resolution->options->reuse = (struct hc_reuse){0};
}

/*
 * The hit path. force_download never hits. When the Hub must not be asked, the cache has
 * to answer whatever the age of the ref, and a kind is asked even without a commit,
 * because a request for several files may be allowed to miss all of them.
 */
static int resolution_find_cached(struct hc_resolution *resolution, struct hc_error *err)
{
    char commit[HC_COMMIT_SIZE];
    int found;

    if (resolution->options->force_download)
        return 0;
    found = hc_resolution_read_ref(resolution, commit, err);
    if (found < 0)
        return -1;
    if (found == 1 || !resolution->may_ask_hub)
        found = resolution->kind->find_cached(resolution, commit, err);
    if (found != 0 || resolution->may_ask_hub)
        return found;
    return hc_resolution_fail_not_cached(resolution, resolution->path, err);
}

/* From the check on, what needs no Hub, but for the question whether it gives the repo to
 * the caller: 1 answered, 0 the Hub has to be asked, -1. */
static int resolution_find_checked(struct hc_resolution *resolution, bool asks_hub,
                                   struct hc_error *err)
{
    int allowed;

    if (hc_resolution_check(resolution, err) < 0)
        return -1;
    allowed =
        hc_resolution_check_access(resolution,
                                   asks_hub ? HC_ACCESS_BY_HUB : HC_ACCESS_BY_VOLUME,
                                   err);
    return allowed == 1 ? resolution_find_cached(resolution, err) : allowed;
}

/* The same, with the steps before the check. */
static int resolution_find(struct hc_resolution *resolution, bool asks_hub,
                           struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(&resolution->resolver->policy);
    char directory[PATH_MAX];
    const char *local_id = NULL;

    resolution_reset_reuse(resolution);
    if (hc_resolution_replace_alias(resolution, rules, err) < 0)
        return -1;
    if (hc_local_find(resolution->resolver, resolution->target->id, directory))
        local_id = hc_local_id(resolution->resolver, directory);
    if (hc_resolution_authorize(resolution, hc_take(&rules), local_id, err) < 0)
        return local_id || !resolution->is_file_denied
                   ? -1
                   : hc_resolution_offer_alternative(resolution, asks_hub, err);
    if (local_id)
        return resolution->kind->find_local(resolution, directory, err);
    return resolution_find_checked(resolution, asks_hub, err);
}

/* The answer is there: its files are read ahead, if the caller wants that. */
static void resolution_warm(const struct hc_resolution *resolution)
{
    if (resolution->options->warm && !resolution->options->dry_run)
        resolution->kind->warm(resolution);
}

/*
 * The steps of resolution_find() and resolution_find_cached(), with three exceptions:
 * what is not remembered may still be on the volume, so nothing fails as not cached; a
 * denied file fails there, too, where an alternative to it is looked for; and which local
 * directories there are is not remembered, so a server that has local roots looks.
 */
int hc_resolution_recall(struct hc_resolution *resolution, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = NULL;
    char commit[HC_COMMIT_SIZE];
    int found;

    resolution_reset_reuse(resolution);
    if (resolution->resolver->settings.local_root_count > 0)
        return 0;
    rules = hc_policy_hold_rules(&resolution->resolver->policy);
    if (hc_resolution_replace_alias(resolution, rules, err) < 0)
        return -1;
    if (hc_resolution_authorize(resolution, hc_take(&rules), NULL, err) < 0)
        return resolution->is_file_denied ? 0 : -1;
    if (hc_resolution_check(resolution, err) < 0)
        return -1;
    found = hc_resolution_check_access(resolution, HC_ACCESS_BY_MEMORY, err);
    if (found < 1 || resolution->options->force_download)
        return found < 0 ? -1 : 0;
    found = hc_resolution_read_ref(resolution, commit, err);
    if (found == 1)
        found = resolution->kind->find_cached(resolution, commit, err);
    if (found == 1)
        resolution_warm(resolution);
    else
        resolution->kind->clear(resolution);
    return found;
}

int hc_resolution_suspect_listing(struct hc_resolution *resolution,
                                  const struct hc_error *err)
{
    if (err->reason == HC_CHECKSUM_MISMATCH || err->reason == HC_BAD_HUB_REPLY ||
        err->reason == HC_ENTRY_NOT_FOUND)
        resolution->is_listing_wrong = !resolution->options->force_download;
    return -1;
}

/* ---- describe ---------------------------------------------------------------------- */

/* True once, when the branch was rewritten: the ref that names the lost commit is
 * expired, for this resolution and for every later one. */
static bool resolution_expire_ref(struct hc_resolution *resolution,
                                  const struct hc_error *err)
{
    if (err->reason != HC_REVISION_NOT_FOUND || !resolution->asked_by_commit ||
        resolution->is_ref_lost || resolution->uses_old_ref)
        return false;
    resolution->is_ref_lost = true;
    hc_ref_expire(resolution->resolver->cache, &resolution->repo, resolution->revision);
    return true;
}

static int resolution_describe_now(struct hc_resolution *resolution, struct hc_error *err)
{
    int result = resolution->kind->describe(resolution, err);

    if (result < 0 && resolution_expire_ref(resolution, err))
        result = resolution->kind->describe(resolution, err);
    if (result < 0)
        hc_resolution_note_refusal(resolution, err);
    return result < 0 ? -1 : 0;
}

/* At the commit that the Hub named last, whose bytes a mirror may have. */
static int resolution_describe_old_ref(struct hc_resolution *resolution,
                                       struct hc_error *err)
{
    *resolution->stale_cause = *err;
    resolution->uses_old_ref = true;
    resolution->is_stale = true;
    if (resolution->kind->describe(resolution, err) == 0)
        return 0;
    resolution->uses_old_ref = false;
    resolution->is_stale = false;
    return -1;
}

/*
 * With something to fall back on the Hub is asked once, without retries: an older answer
 * now is worth more than a fresh one later. With nothing left, it is asked with retries.
 */
static int resolution_describe(struct hc_resolution *resolution, bool is_old,
                               bool has_older, struct hc_error *err)
{
    bool may_use_old_ref = is_old && !has_older && !resolution->refuses_older &&
                           hc_resolution_has_mirrors(resolution) &&
                           !hc_visibility_is_restricted(resolution->visibility) &&
                           !resolution->options->force_download;

    resolution->credentials.no_retry =
        resolution->asks_once || has_older || may_use_old_ref;
    if (resolution_describe_now(resolution, err) == 0)
        return 0;
    if (!may_use_old_ref || err->is_final ||
        (err->reason != HC_HUB_UNREACHABLE && err->reason != HC_HUB_RATE_LIMITED))
        return -1;
    resolution->credentials.no_retry = false;
    if (resolution_describe_old_ref(resolution, err) == 0)
        return 0;
    return resolution_describe_now(resolution, err);
}

/* Whether there is something else to fetch than what failed, as `err` says. */
static bool resolution_describe_again(struct hc_resolution *resolution,
                                      struct hc_error *err)
{
    const struct hc_error cause = *err;

    if (resolution_expire_ref(resolution, err))
        return resolution_describe_now(resolution, err) == 0;
    if (!resolution->is_listing_wrong || resolution->is_stale)
        return false;
    resolution->must_relist = true;
    if (resolution->kind->describe(resolution, err) == 0)
        return true;
    *err = cause;
    return false;
}

/* ---- fetch ------------------------------------------------------------------------- */

/* What was described; and once more, when a failure shows that it was described
 * wrongly. */
static int resolution_fetch(struct hc_resolution *resolution, struct hc_error *err)
{
    for (bool is_first = true;; is_first = false) {
        resolution->kind->clear(resolution);
        resolution->asked_by_commit = !resolution->is_commit;
        if (resolution->kind->fetch(resolution, err) == 0)
            return 0;
        if (!is_first)
            return -1;
        hc_resolution_note_refusal(resolution, err);
        if (!resolution_describe_again(resolution, err))
            return -1;
    }
}

/* ---- the Hub is asked -------------------------------------------------------------- */

/* The visibility and the ref in the cache; `*is_old`: a ref is there, and is not
 * fresh. */
static int resolution_read_cache(struct hc_resolution *resolution, bool *is_old,
                                 struct hc_error *err)
{
    int is_usable;

    *is_old = false;
    if (hc_resolution_has_mirrors(resolution))
        resolution->visibility = hc_visibility_find(resolution->resolver->cache,
                                                    &resolution->repo, hc_epoch_ms());
    resolution->credentials.hub_only =
        hc_visibility_is_restricted(resolution->visibility);
    if (resolution->is_commit)
        return 0;
    is_usable = hc_resolution_read_ref(resolution, resolution->ref_commit, err);
    if (is_usable < 0)
        return -1;
    *is_old = !is_usable && resolution->ref_commit[0];
    return 0;
}

/*
 * The one rule for stale answers. 0: described, and the bytes are still to be fetched; 1:
 * the Hub failed, policy lets the older answer take its place, and that is filled in; -1.
 * `token` is filled; the credentials point to it.
 */
static int resolution_describe_or_fall_back(struct hc_resolution *resolution,
                                            char token[HC_TOKEN_MAX + 1],
                                            struct hc_error *err)
{
    struct hc_resolver *resolver = resolution->resolver;
    const char *own_token = hc_resolution_own_token(resolution);
    struct hc_error ignored;
    bool is_old, has_older, is_own_token;

    if (resolution_read_cache(resolution, &is_old, err) < 0)
        return -1;
    has_older =
        is_old && !resolution->options->force_download && !resolution->refuses_older &&
        resolution->kind->find_cached(resolution, resolution->ref_commit, &ignored) == 1;
    if (hc_resolution_choose_token(resolution, token, err) == 0 &&
        resolution_describe(resolution, is_old, has_older, err) == 0)
        return 0;
    is_own_token = (own_token && own_token[0]) || resolver->access;
    if (!has_older || !hc_policy_may_fall_back(err, is_own_token))
        return -1;
    *resolution->stale_cause = *err;
    resolution->is_stale = true;
    return 1;
}

static void resolution_report_stale(const struct hc_resolution *resolution)
{
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_stale stale = {.repo_id = resolution->repo.id,
                                   .repo_type = resolution->repo.type,
                                   .revision = resolution->revision,
                                   .reason = resolution->stale_cause->reason,
                                   .message = resolution->stale_cause->message};

    if (resolver->stale_watcher)
        resolver->stale_watcher(resolver->stale_ctx, &stale);
}

/* The steps from describe on. The token and the cause are large, and a hit does not pay
 * for them: they live here, and not in the resolution. */
static int resolution_ask_hub(struct hc_resolution *resolution, struct hc_error *err)
{
    char token[HC_TOKEN_MAX + 1];
    struct hc_error stale_cause;
    int result;

    token[0] = '\0';
    resolution->credentials = (struct hc_hub_credentials){
        .token = token,
        .cancellation = resolution->cancellation,
        .key = resolution->options->caller,
        .is_background = resolution->options->is_background,
    };
    if (resolution->options->traceparent)
        (void)hc_format(resolution->credentials.traceparent,
                        sizeof resolution->credentials.traceparent, "%s",
                        resolution->options->traceparent);
    resolution->stale_cause = &stale_cause;
    resolution->kind->clear(resolution);
    result =
        hc_resolution_choose_endpoint(resolution, &resolution->credentials.endpoint, err);
    if (result == 0)
        result = resolution_describe_or_fall_back(resolution, token, err);
    if (result == 0) {
        resolution->credentials.no_retry = false;
        hc_resolution_ask_visibility(resolution);
        result = resolution_fetch(resolution, err);
    }
    explicit_bzero(token, sizeof token);
    if (result >= 0 && resolution->is_stale)
        resolution_report_stale(resolution);
    resolution->credentials.token = NULL;
    resolution->stale_cause = NULL;
    hc_tree_free(hc_take(&resolution->tree));
    return result < 0 ? -1 : 1;
}

int hc_resolution_continue(struct hc_resolution *resolution, bool asks_hub,
                           struct hc_error *err)
{
    int found = resolution_find_checked(resolution, asks_hub, err);

    return found == 0 && asks_hub ? resolution_ask_hub(resolution, err) : found;
}

/* A failure that is not about a file yet is about the one file that was asked for. */
int hc_resolution_run(struct hc_resolution *resolution, bool asks_hub,
                      struct hc_error *err)
{
    int found = resolution_find(resolution, asks_hub, err);

    if (found == 0 && asks_hub)
        found = resolution_ask_hub(resolution, err);
    if (found == 1) {
        resolution_warm(resolution);
        return 1;
    }
    resolution->kind->clear(resolution);
    if (found < 0 && resolution->path)
        return hc_fail_about_file(err, resolution->path);
    return found;
}
