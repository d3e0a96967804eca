/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of these rules is that of the reference client (§2.3, §2.6); where they
 * differ, policy.h says so. A token is never part of a message.
 */
#include "policy.h"

#include <base/error.h>
#include <base/file.h>
#include <base/text.h>
#include <repo/name.h>
#include <repo/repo.h>

#include <string.h>
#include <unistd.h>

enum { TOKEN_FILE_RETRY_MS = 5000, DAY_MS = 24 * 3600 * 1000 };

/* ---- rules ------------------------------------------------------------------------- */

void hc_policy_init(struct hc_policy *policy)
{
    (void)pthread_mutex_init(&policy->shared.lock, NULL);
}

void hc_policy_clear(struct hc_policy *policy)
{
    hc_rules_release(hc_take(&policy->shared.rules));
    (void)pthread_mutex_destroy(&policy->shared.lock);
}

void hc_policy_set_rules(struct hc_policy *policy, struct hc_rules *fresh)
{
    HC_AUTO(hc_rules) *rules = fresh; /* at the end: the old ones */
    struct hc_rules *old;
    HC_LOCKED(&policy->shared.lock); /* released before the old ones are */

    old = policy->shared.rules;
    policy->shared.rules = rules;
    atomic_store(&policy->generation, rules->generation);
    rules = old;
}

struct hc_rules *hc_policy_hold_rules(struct hc_policy *policy)
{
    if (atomic_load_explicit(&policy->generation, memory_order_relaxed) == 0)
        return NULL;
    HC_LOCKED(&policy->shared.lock);

    return hc_rules_hold(policy->shared.rules);
}

static const char *target_id(const struct hc_target *target)
{
    return target->id ? target->id : "";
}

/* "model 'org/name' is", as the request names it. */
static void request_describe(const struct hc_policy_request *request, char what[256])
{
    const struct hc_target *target = request->target;
    const char *type = hc_repo_type_name(target->type ? target->type : HC_REPO_MODEL);
    char id[208];

    hc_text_excerpt(id, sizeof id, request->alias ? request->alias : target_id(target));
    (void)hc_format(what, 256, "%s '%s' is", type ? type : "repo", id);
}

static int fail_no_commit(const struct hc_rule *rule,
                          const struct hc_policy_request *request, const char *revision,
                          struct hc_error *err)
{
    char what[256];
    char shown[64];

    request_describe(request, what);
    hc_text_excerpt(shown, sizeof shown, revision);
    (void)hc_fail(err, HC_POLICY_DENIED,
                  "%s denied at '%s' by the rule '%s' of the policy, which requires a "
                  "commit: ask for one by its 40 digits, or for an alias%s%s",
                  what, shown, rule->name, rule->message ? ": " : "",
                  rule->message ? rule->message : "");
    return hc_fail_by_rule(err, rule);
}

/* The conditions of the rule that are about the request as a whole. */
static int rule_check_request(const struct hc_rule *rule,
                              const struct hc_policy_request *request,
                              const char *revision, struct hc_error *err)
{
    if (rule->require_commit && !request->alias && !hc_commit_is_valid(revision))
        return fail_no_commit(rule, request, revision, err);
    if (rule->offline && request->options->force_download)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.force_download",
                             "force_download needs the Hub, and the rule '%s' of the "
                             "policy is offline",
                             rule->name);
    return 0;
}

int hc_policy_authorize(struct hc_rules *rules, const struct hc_policy_request *request,
                        struct hc_decision *decision, struct hc_error *err)
{
    const struct hc_target *target = request->target;
    const char *revision =
        target->revision && target->revision[0] ? target->revision : "main";
    const struct hc_policy_question question = {.identity = request->options->identity,
                                                .type = target->type,
                                                .repo_id = target_id(target),
                                                .revision = revision};
    char what[256];

    if (hc_decision_make(decision, rules, &question, err) < 0)
        return -1;
    if (!hc_decision_allows_any(decision)) {
        request_describe(request, what);
        return hc_fail_denied(err, decision->rule, what);
    }
    return decision->rule ? rule_check_request(decision->rule, request, revision, err)
                          : 0;
}

struct hc_fetch_options hc_policy_grant(const struct hc_decision *decision,
                                        const struct hc_fetch_options *options)
{
    const struct hc_rule *rule = decision->rule;
    struct hc_fetch_options granted = *options;

    if (!rule)
        return granted;
    granted.local_files_only = granted.local_files_only || rule->offline;
    if (rule->has_max_staleness && (!granted.has_max_staleness ||
                                    granted.max_staleness_ms > rule->max_staleness_ms)) {
        granted.has_max_staleness = true;
        granted.max_staleness_ms = rule->max_staleness_ms;
    }
    return granted;
}

/* For NULL a rule has to be for every repo. */
static bool rule_grants_admin(const struct hc_rules *rules,
                              const struct hc_identity *identity,
                              const struct hc_repo *repo)
{
    struct hc_policy_question question = {.identity = identity, .repo_id = ""};
    struct hc_rule_search search;
    size_t i;

    if (repo) {
        question.type = repo->type;
        question.repo_id = repo->id;
    }
    hc_rule_search_begin(&search, &question);
    while (repo && (i = hc_rule_search_next(&search, rules)) < rules->count) {
        if (rules->items[i].action == HC_RULE_ADMIN)
            return true;
    }
    for (i = 0; !repo && i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];

        if (rule->action == HC_RULE_ADMIN && !rule->repos.filter && rule->types == 0 &&
            hc_callers_match(&rule->callers, identity))
            return true;
    }
    return false;
}

int hc_policy_may_administer(struct hc_policy *policy, const struct hc_identity *identity,
                             const struct hc_repo *repo, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);

    if (!rules || (!rules->denies && !rules->has_admin) ||
        rule_grants_admin(rules, identity, repo))
        return 0;
    (void)hc_fail(err, HC_POLICY_DENIED,
                  "the caller may not change what the cache has of %s%s%s: no rule with "
                  "'action: admin' of the policy matches",
                  repo ? "'" : "every repo", repo ? repo->id : "", repo ? "'" : "");
    (void)hc_format(err->rule, sizeof err->rule, "admin");
    return -1;
}

int hc_policy_may_administer_any(struct hc_policy *policy,
                                 const struct hc_identity *identity, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);

    for (size_t i = 0; rules && i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];

        if (rule->action == HC_RULE_ADMIN && hc_callers_match(&rule->callers, identity))
            return 0;
    }
    return hc_policy_may_administer(policy, identity, NULL, err);
}

bool hc_policy_may_see_all(struct hc_policy *policy, const struct hc_identity *identity)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);

    return !rules || rule_grants_admin(rules, identity, NULL);
}

/* A rule for some revisions or files does not hide the repo, and may show it. */
bool hc_policy_may_see(struct hc_policy *policy, const struct hc_identity *identity,
                       const struct hc_repo *repo)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);
    const struct hc_policy_question question = {.identity = identity,
                                                .type = repo->type,
                                                .repo_id = repo->id};
    struct hc_rule_search search;
    size_t i;

    hc_rule_search_begin(&search, &question);
    while (rules && (i = hc_rule_search_next(&search, rules)) < rules->count) {
        const struct hc_rule *rule = &rules->items[i];

        if (rule->action != HC_RULE_DENY)
            return true;
        if (!rule->files.filter && !rule->revisions.filter)
            return false;
    }
    return !rules || !rules->denies;
}

/* ---- requests ---------------------------------------------------------------------- */

/* Options that contradict each other fail, instead of one that silently wins. */
int hc_policy_check(const struct hc_policy *policy,
                    const struct hc_fetch_options *options, struct hc_error *err)
{
    if (options->has_max_staleness && options->max_staleness_ms < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.max_staleness",
                             "max_staleness must not be negative");
    if (!options->force_download)
        return 0;
    if (options->local_files_only)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.force_download",
                             "force_download and local_files_only exclude each other");
    if (atomic_load_explicit(&policy->offline, memory_order_relaxed))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "options.force_download",
                             "force_download needs the Hub, and offline mode is on");
    return 0;
}

bool hc_policy_may_ask_hub(const struct hc_policy *policy,
                           const struct hc_fetch_options *options)
{
    return !atomic_load_explicit(&policy->offline, memory_order_relaxed) &&
           !options->local_files_only;
}

/* How long until it is too old; negative: it is. A limit of 0 asks for an answer of
 * now. */
static int64_t policy_time_left(const struct hc_policy *policy,
                                const struct hc_fetch_options *options, int64_t heard_ms,
                                int64_t now_ms)
{
    int64_t limit_ms =
        options->has_max_staleness
            ? options->max_staleness_ms
            : atomic_load_explicit(&policy->max_staleness_ms, memory_order_relaxed);
    int64_t age_ms;

    if (limit_ms <= 0 || __builtin_sub_overflow(now_ms, heard_ms, &age_ms))
        return -1;
    /* The clock of the volume may run ahead a little; far ahead, its time stamps mean
     * nothing. */
    if (age_ms > limit_ms || age_ms < -limit_ms)
        return -1;
    return age_ms < 0 ? limit_ms : limit_ms - age_ms;
}

bool hc_policy_is_fresh(const struct hc_policy *policy,
                        const struct hc_fetch_options *options, int64_t heard_ms,
                        int64_t now_ms)
{
    return policy_time_left(policy, options, heard_ms, now_ms) >= 0;
}

int64_t hc_policy_fresh_left_ms(const struct hc_policy *policy,
                                const struct hc_fetch_options *options, int64_t heard_ms,
                                int64_t now_ms)
{
    int64_t left_ms = policy_time_left(policy, options, heard_ms, now_ms);

    if (left_ms < 0)
        return 0;
    return left_ms < DAY_MS ? left_ms : DAY_MS;
}

/*
 * "There is no such revision" is an answer, so an older one would be wrong; so is "no
 * such file". A refusal is different: the service's token may have expired while the
 * files that it fetched are still fine to serve, but a refusal of the caller's own token
 * is about this caller. All else is trouble of the Hub or the network.
 */
bool hc_policy_may_fall_back(const struct hc_error *failure, bool is_own_token)
{
    switch (failure->reason) {
    case HC_REVISION_NOT_FOUND:
    case HC_ENTRY_NOT_FOUND:
    case HC_CANCELLED:
    case HC_DEADLINE_EXCEEDED:
        return false;
    case HC_HUB_UNAUTHORIZED:
    case HC_GATED_REPO:
    case HC_REPO_DISABLED:
    case HC_REPO_NOT_FOUND: /* also what the token may not see */
        return !failure->is_final && !is_own_token;
    default:
        return !failure->is_final;
    }
}

/* ---- tokens ------------------------------------------------------------------------ */

/* Copies `text` without the white space around it; -1 when a header cannot carry it. */
static int token_accept(const char *text, const char *source,
                        char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    if (hc_format(token, HC_TOKEN_MAX + 1, "%s", text) < 0)
        return hc_fail(err, HC_HUB_UNAUTHORIZED, "the token %s has more than %d bytes",
                       source, HC_TOKEN_MAX);
    (void)hc_text_trim(token);
    for (const char *s = token; *s; s++) {
        if (*s > ' ' && *s <= '~')
            continue;
        explicit_bzero(token, HC_TOKEN_MAX + 1);
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "the token %s has white space or control characters inside",
                       source);
    }
    return 0;
}

/* The file may be back at the next request. */
static int token_fail_temporarily(struct hc_error *err)
{
    err->reason = HC_INTERNAL;
    err->retry_after_ms = TOKEN_FILE_RETRY_MS;
    return -1;
}

/* An absent or empty file means no token, unless it has held one. */
static int token_accept_absence(const char *path, const atomic_bool *had_token,
                                struct hc_error *err)
{
    if (!had_token || !atomic_load(had_token))
        return 0;
    (void)hc_fail(err, HC_INTERNAL,
                  "token file '%s' held a token and is gone or empty; put it back, or "
                  "restart to go on without a token",
                  path);
    return token_fail_temporarily(err);
}

/* hc_file_read_linked() says "absent" also of a file that is too long or special. */
static int token_read_file(const char *path, atomic_bool *had_token,
                           char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    char text[HC_TOKEN_MAX + 1];
    int found = hc_file_read_linked(path, text, sizeof text, err);

    if (found < 0) {
        (void)hc_context(err, "the token file cannot be read");
        return token_fail_temporarily(err);
    }
    if (found == 0 && access(path, F_OK) == 0)
        return hc_fail(err, HC_HUB_UNAUTHORIZED,
                       "token file '%s' is no regular file of at most %d bytes", path,
                       HC_TOKEN_MAX);
    if (found == 0)
        return token_accept_absence(path, had_token, err);
    found = token_accept(text, "in the file", token, err);
    explicit_bzero(text, sizeof text);
    if (found < 0)
        return hc_context(err, "token file '%s'", path);
    if (!token[0])
        return token_accept_absence(path, had_token, err);
    if (had_token)
        atomic_store(had_token, true);
    return 0;
}

int hc_token_choose(const struct hc_settings *settings, const char *caller_token,
                    atomic_bool *had_token, char token[HC_TOKEN_MAX + 1],
                    struct hc_error *err)
{
    token[0] = '\0';
    if (caller_token && caller_token[0])
        return token_accept(caller_token, "of the caller", token, err);
    if (settings->no_implicit_token)
        return 0;
    if (settings->token && settings->token[0])
        return token_accept(settings->token, "of the settings (HF_TOKEN)", token, err);
    return settings->token_file
               ? token_read_file(settings->token_file, had_token, token, err)
               : 0;
}

int hc_token_read(const char *path, char token[HC_TOKEN_MAX + 1], struct hc_error *err)
{
    token[0] = '\0';
    if (token_read_file(path, NULL, token, err) < 0)
        return -1;
    if (token[0])
        return 0;
    (void)hc_fail(err, HC_INTERNAL,
                  "token file '%s' of a rule of the policy is missing or empty", path);
    return token_fail_temporarily(err);
}
