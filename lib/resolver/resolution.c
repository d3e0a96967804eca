/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the steps, and the rule for stale answers. resolution.h lists the steps
 * and what moves a resolution from one to the next. Nothing here is shared between
 * threads: whatever is, is behind the resolver's members.
 */
#include "resolution.h"

#include "keep.h"

#include <base/cancellation.h>
#include <base/size.h>
#include <cache/ref.h>
#include <hub/access.h>

#include <string.h>

enum { NS_PER_MS = 1000 * 1000 };

/* ---- authorize, local, check, cached ----------------------------------------------- */

/* Whether the request names nothing that the alias does not stand for. */
static int alias_check_revision(const struct hc_named_revision *alias,
                                const struct hc_target *target, struct hc_error *err)
{
    const char *revision = target->revision;

    if (!revision || !revision[0] || strcmp(revision, "main") == 0 ||
        strcmp(revision, alias->revision) == 0)
        return 0;
    return hc_fail_field(err, HC_INVALID_REVISION, "revision",
                         "'%s' is an alias, which stands for one revision: leave the "
                         "revision out, or ask for '%s' itself",
                         alias->name, alias->repo_id);
}

/* An alias of another type than the request names is none. */
static int resolution_replace_alias(struct hc_resolution *resolution,
                                    const struct hc_rules *rules, struct hc_error *err)
{
    const struct hc_target *target = resolution->target;
    const struct hc_named_revision *alias =
        rules && target->id ? hc_rules_find_alias(rules, target->id) : NULL;

    if (!alias || (target->type != HC_REPO_DEFAULT && target->type != alias->type))
        return 0;
    if (alias_check_revision(alias, target, err) < 0)
        return -1;
    resolution->is_alias = true;
    resolution->meant = (struct hc_target){.id = alias->repo_id,
                                           .type = alias->type,
                                           .revision = alias->revision};
    resolution->target = &resolution->meant;
    return 0;
}

/* What was answered by these rules may be given again as long as they hold. */
static void resolution_reuse_rules(const struct hc_resolution *resolution)
{
    const struct hc_rules *rules = resolution->decision.rules;
    const struct hc_memo_term term = {.until_ns = INT64_MAX,
                                      .version = &resolution->resolver->policy.generation,
                                      .seen = rules ? rules->generation : 0};

    if (rules)
        hc_reuse_add(resolution->options->reuse, &term);
}

int hc_resolution_authorize_file(const struct hc_resolution *resolution, const char *path,
                                 uint64_t size, struct hc_error *err)
{
    const struct hc_verdict verdict =
        hc_decision_verdict(&resolution->decision, path, size);
    const struct hc_target *target = resolution->target;
    char what[512], shown[256];

    if (verdict.is_allowed)
        return 0;
    hc_text_excerpt(shown, sizeof shown, path);
    (void)hc_format(what, sizeof what, "'%s' of %s '%.200s' is", shown,
                    hc_repo_type_name(target->type ? target->type : HC_REPO_MODEL),
                    target->id);
    if (verdict.is_too_large)
        (void)hc_fail_too_large(err, verdict.rule, what, size);
    else
        (void)hc_fail_denied(err, verdict.rule, what);
    return hc_fail_about_file(err, path);
}

/*
 * May this caller have this? The only place where that is decided: hc_resolution_run()
 * comes here before it looks anywhere, for every kind, for local directories and for
 * hits. The target is as the request has it, not checked yet; of a local directory, its
 * name below the local root, because many ids lead to it. No I/O: a hit pays for this.
 * What the resolver looks at for itself is for no caller.
 */
static int resolution_authorize(struct hc_resolution *resolution, struct hc_rules *held,
                                const char *local_id, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = held;
    struct hc_target local = *resolution->target;
    const struct hc_policy_request request = {.target =
                                                  local_id ? &local : resolution->target,
                                              .options = resolution->options,
                                              .is_alias = resolution->is_alias};

    if (resolution->is_confirmation)
        return 0;
    local.id = local_id;
    if (hc_policy_authorize(hc_take(&rules), &request, &resolution->decision, err) < 0)
        return -1;
    resolution_reuse_rules(resolution);
    if (resolution->kind->authorize && resolution->kind->authorize(resolution, err) < 0) {
        resolution->is_file_denied = true;
        return -1;
    }
    resolution->has_own_staleness = resolution->options->has_max_staleness;
    resolution->granted = hc_policy_grant(&resolution->decision, resolution->options);
    resolution->options = &resolution->granted;
    return 0;
}

void hc_resolution_name_rule(const struct hc_resolution *resolution, const char *path,
                             char rule[HC_RULE_NAME_MAX + 1])
{
    const struct hc_decision *decision = &resolution->decision;

    rule[0] = '\0';
    if (decision->rules)
        (void)hc_format(rule, HC_RULE_NAME_MAX + 1, "%s",
                        hc_rule_name(
                            hc_decision_verdict(decision, path, HC_SIZE_UNKNOWN).rule));
}

/* The rule is of the decision, which holds it: a resolution that runs keeps its endpoint
 * when the policy changes. */
static const struct hc_rule *
resolution_find_endpoint_rule(const struct hc_resolution *resolution)
{
    const struct hc_rules *rules = resolution->decision.rules;
    const struct hc_repo *repo = &resolution->repo;
    const struct hc_rule *rule =
        rules ? hc_rules_find_endpoint(rules, repo->type, repo->id) : NULL;

    return rule && !hc_hub_has_endpoint(resolution->resolver->hub, rule->endpoint) ? rule
                                                                                   : NULL;
}

const char *hc_resolution_own_token(const struct hc_resolution *resolution)
{
    const struct hc_rule *rule = resolution->endpoint_rule;

    return rule && !rule->caller_token ? NULL : resolution->options->hub_token;
}

int hc_resolution_choose_endpoint(const struct hc_resolution *resolution,
                                  struct hc_endpoint **endpoint, struct hc_error *err)
{
    const struct hc_rule *rule = resolution->endpoint_rule;

    *endpoint = NULL;
    return rule ? hc_hub_find_endpoint(resolution->resolver->hub, rule->endpoint,
                                       endpoint, err)
                : 0;
}

/* The rule whose token_file is for the endpoint that is asked; NULL: none. */
static const struct hc_rule *
resolution_find_token_rule(const struct hc_resolution *resolution)
{
    const struct hc_rule *rule = resolution->decision.rule;

    if (resolution->endpoint_rule)
        return resolution->endpoint_rule;
    return rule && rule->endpoint &&
                   !hc_hub_has_endpoint(resolution->resolver->hub, rule->endpoint)
               ? NULL
               : rule;
}

int hc_resolution_choose_token(const struct hc_resolution *resolution,
                               char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    struct hc_resolver *resolver = resolution->resolver;
    static const struct hc_settings no_settings = {.no_implicit_token = true};
    const struct hc_rule *rule = resolution_find_token_rule(resolution);
    const char *own_token = hc_resolution_own_token(resolution);

    if (rule && rule->token_file && !(own_token && own_token[0]))
        return hc_token_read(rule->token_file, token, err);
    return hc_token_choose(resolution->endpoint_rule ? &no_settings : &resolver->settings,
                           own_token, &resolver->had_token_file, token, err);
}

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
    resolution->endpoint_rule = resolution_find_endpoint_rule(resolution);
    return hc_policy_check(policy, resolution->options, err);
}

/* Steps add to it which facts the answer follows from. */
static void resolution_reset_reuse(const struct hc_resolution *resolution)
{
    if (resolution->options->reuse)
        *resolution->options->reuse = (struct hc_reuse){0};
}

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

/* All that needs no Hub, but for the question whether it gives the repo to the caller: 1
 * answered, 0 the Hub has to be asked, -1. */
static int resolution_find(struct hc_resolution *resolution, bool asks_hub,
                           struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(&resolution->resolver->policy);
    char directory[PATH_MAX];
    const char *local_id = NULL;
    int allowed;

    resolution_reset_reuse(resolution);
    if (resolution_replace_alias(resolution, rules, err) < 0)
        return -1;
    if (hc_local_find(resolution->resolver, resolution->target->id, directory))
        local_id = hc_local_id(resolution->resolver, directory);
    if (resolution_authorize(resolution, hc_take(&rules), local_id, err) < 0)
        return local_id ? -1 : hc_resolution_offer_alternative(resolution, err);
    if (local_id)
        return resolution->kind->find_local(resolution, directory, err);
    if (hc_resolution_check(resolution, err) < 0)
        return -1;
    allowed =
        hc_resolution_check_access(resolution,
                                   asks_hub ? HC_ACCESS_BY_HUB : HC_ACCESS_BY_VOLUME,
                                   err);
    return allowed == 1 ? resolution_find_cached(resolution, err) : allowed;
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
    if (resolution_replace_alias(resolution, rules, err) < 0)
        return -1;
    if (resolution_authorize(resolution, hc_take(&rules), NULL, err) < 0)
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

/* ---- visibility: which repos mirrors are asked about ------------------------------- */

static bool resolution_has_mirrors(const struct hc_resolution *resolution)
{
    return resolution->resolver->settings.mirror_count > 0 && !resolution->endpoint_rule;
}

static bool resolution_has_token(const struct hc_resolution *resolution)
{
    return resolution->credentials.token && resolution->credentials.token[0];
}

static void resolution_record_visibility(struct hc_resolution *resolution,
                                         enum hc_visibility visibility)
{
    resolution->visibility = visibility;
    resolution->credentials.hub_only = hc_visibility_is_restricted(visibility);
    hc_resolution_note_access(resolution, visibility);
    if (resolution->endpoint_rule)
        return; /* the record is of the Hub's word */
    hc_visibility_update(resolution->resolver->cache, &resolution->repo, visibility,
                         hc_epoch_ms());
}

/*
 * A repo that is hidden from a caller is not public; a refused token says nothing about
 * the repo. Callers may name repos that do not exist: without mirrors, a refusal is only
 * recorded of a repo that was public.
 */
void hc_resolution_note_refusal(struct hc_resolution *resolution,
                                const struct hc_error *err)
{
    enum hc_visibility visibility =
        err->reason == HC_GATED_REPO ? HC_VISIBILITY_GATED : HC_VISIBILITY_PRIVATE;
    bool is_hidden =
        err->reason == HC_GATED_REPO || err->reason == HC_REPO_NOT_FOUND ||
        (err->reason == HC_HUB_UNAUTHORIZED && !resolution_has_token(resolution));

    if (is_hidden && (resolution_has_mirrors(resolution) ||
                      hc_visibility_find_last(resolution->resolver->cache,
                                              &resolution->repo) == HC_VISIBILITY_PUBLIC))
        resolution_record_visibility(resolution, visibility);
    hc_resolution_deny_access(resolution, err);
}

/* An answer to a token does not say whether the Hub would give the same without one, so
 * the Hub is asked about the repo, once a day. */
static void resolution_ask_visibility(struct hc_resolution *resolution)
{
    struct hc_hub_credentials credentials = resolution->credentials;
    struct hc_revision answer;
    struct hc_error failure;

    if (!resolution_has_mirrors(resolution) || resolution->is_stale ||
        !resolution_has_token(resolution) ||
        resolution->visibility != HC_VISIBILITY_UNKNOWN)
        return;
    credentials.hub_only = true;
    credentials.no_retry = true;
    if (hc_hub_revision(resolution->resolver->hub, &resolution->repo,
                        resolution->revision, &credentials, &answer, &failure) == 0)
        hc_resolution_note_repo(resolution, &answer);
    else
        hc_resolution_note_refusal(resolution, &failure);
}

/* ---- what answers of the Hub mean for the next question ---------------------------- */

struct hc_hub_credentials hc_resolution_credentials(struct hc_resolution *resolution,
                                                    const char *revision)
{
    struct hc_hub_credentials credentials = resolution->credentials;
    bool is_name = !resolution->is_commit && strcmp(revision, resolution->revision) == 0;

    resolution->asked_by_commit = !resolution->is_commit && !is_name;
    credentials.hub_only = credentials.hub_only || (is_name && resolution->ref_commit[0]);
    return credentials;
}

/* Only a mirror said what the name means. */
static void resolution_note_mirror(struct hc_resolution *resolution, const char *commit)
{
    resolution->is_stale = true;
    (void)hc_fail(resolution->stale_cause, HC_HUB_UNREACHABLE,
                  "the Hub cannot be asked; a mirror says that '%s' of '%s' is %.8s",
                  resolution->revision, resolution->repo.id, commit);
}

void hc_resolution_note_revision(struct hc_resolution *resolution,
                                 const struct hc_revision *answer)
{
    if (answer->is_of_mirror && !resolution->is_commit)
        resolution_note_mirror(resolution, answer->commit);
}

void hc_resolution_note_repo(struct hc_resolution *resolution,
                             const struct hc_revision *answer)
{
    enum hc_visibility visibility = answer->visibility;

    if (visibility == HC_VISIBILITY_UNKNOWN && !resolution_has_token(resolution))
        visibility = HC_VISIBILITY_PUBLIC;
    if (!answer->is_of_mirror && visibility != HC_VISIBILITY_UNKNOWN)
        resolution_record_visibility(resolution, visibility);
}

void hc_resolution_note_file(struct hc_resolution *resolution, const char *revision,
                             const struct hc_metadata *metadata)
{
    if (metadata->is_of_mirror) {
        if (!resolution->is_commit && strcmp(revision, resolution->revision) == 0)
            resolution_note_mirror(resolution, metadata->commit);
        return;
    }
    if (!resolution_has_token(resolution) &&
        hc_visibility_is_restricted(resolution->visibility) &&
        hc_hub_file_proves_access(resolution->path))
        resolution_record_visibility(resolution, HC_VISIBILITY_PUBLIC);
}

int hc_resolution_suspect_listing(struct hc_resolution *resolution,
                                  const struct hc_error *err)
{
    if (err->reason == HC_CHECKSUM_MISMATCH || err->reason == HC_BAD_HUB_REPLY ||
        err->reason == HC_ENTRY_NOT_FOUND)
        resolution->is_listing_wrong = !resolution->options->force_download;
    return -1;
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
                           resolution_has_mirrors(resolution) &&
                           !hc_visibility_is_restricted(resolution->visibility) &&
                           !resolution->options->force_download;

    resolution->credentials.no_retry = has_older || may_use_old_ref;
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
    if (resolution_has_mirrors(resolution))
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
        resolution_ask_visibility(resolution);
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
