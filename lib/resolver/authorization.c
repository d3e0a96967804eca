/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps alias and authorize: what the policy makes of a request, and of each file of
 * its answer. No I/O: a hit pays for this.
 */
#include "resolution.h"

#include <base/size.h>

#include <inttypes.h>
#include <string.h>

/* ---- alias ------------------------------------------------------------------------- */

int hc_resolution_replace_alias(struct hc_resolution *resolution,
                                const struct hc_rules *rules, struct hc_error *err)
{
    const struct hc_named_revision *alias;
    int found = hc_rules_find_alias(rules, resolution->target, &alias, err);

    if (found < 1)
        return found;
    resolution->alias = alias->name;
    resolution->meant = (struct hc_target){.id = alias->repo_id,
                                           .type = alias->type,
                                           .revision = alias->revision};
    resolution->target = &resolution->meant;
    return 0;
}

/* ---- authorize --------------------------------------------------------------------- */

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

int hc_resolution_authorize(struct hc_resolution *resolution, struct hc_rules *held,
                            const char *local_id, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = held;
    struct hc_target local = *resolution->target;
    const struct hc_policy_request request = {.target =
                                                  local_id ? &local : resolution->target,
                                              .options = resolution->options,
                                              .alias = resolution->alias};

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

const char *hc_resolution_rule_name(const struct hc_resolution *resolution,
                                    const char *path, uint64_t size)
{
    const struct hc_rule *rule =
        hc_decision_verdict(&resolution->decision, path, size).rule;

    return rule ? rule->name : NULL;
}

/* ---- a snapshot -------------------------------------------------------------------- */

/* By the rule that denies the first of the files, by its name or its size. */
static int snapshot_fail_all_excluded(const struct hc_resolution *resolution,
                                      const struct hc_snapshot *snapshot,
                                      struct hc_error *err)
{
    const char *path = snapshot->excluded[0];
    struct hc_verdict verdict =
        hc_decision_verdict(&resolution->decision, path, UINT64_MAX - 1);
    char what[512];

    (void)hc_format(what, sizeof what,
                    "the snapshot of '%.200s' has no other files than '%.100s'%s, which "
                    "%s",
                    resolution->target->id, path,
                    snapshot->excluded_total > 1 ? " and such" : "",
                    verdict.is_too_large ? "is too large, and is" : "is");
    return hc_fail_denied(err, verdict.rule, what);
}

int hc_resolution_authorize_snapshot(const struct hc_resolution *resolution,
                                     const struct hc_snapshot *snapshot,
                                     struct hc_error *err)
{
    const struct hc_rule *rule = resolution->decision.rule;
    const char *type = hc_repo_type_name(
        resolution->target->type ? resolution->target->type : HC_REPO_MODEL);

    if (snapshot->file_count == 0 && snapshot->excluded_listed > 0)
        return snapshot_fail_all_excluded(resolution, snapshot, err);
    if (!rule || rule->max_snapshot_size == 0 ||
        snapshot->size_bytes <= rule->max_snapshot_size)
        return 0;
    (void)hc_fail(err, HC_POLICY_DENIED,
                  "the snapshot of %s '%s' is denied by the rule '%s' of the policy: it "
                  "has %" PRIu64 " bytes, and max_snapshot_size is %" PRIu64
                  "; select fewer files by patterns%s%s",
                  type, resolution->target->id, rule->name, snapshot->size_bytes,
                  rule->max_snapshot_size, rule->message ? ". " : "",
                  rule->message ? rule->message : "");
    return hc_fail_by_rule(err, rule);
}
