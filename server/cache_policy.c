/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A caller may ask what is decided about itself. About another one it may ask if it may
 * administer the repo, because the answer tells which rules there are for others; where
 * no rule makes administrators, each caller may. Which
 * proof such a caller would show is told by its name, as far as names have a form. A name
 * may be a text as rules have it: "group:research", "kind:certificate:ci".
 */
#include "cache_policy.h"

#include "cache_codec.h"
#include "service_cache.h"

#include <base/error.h>
#include <base/text.h>

#include <hubcache/v1/cache.pb-c.h>
#include <policy/explanation.h>
#include <repo/repo.h>
#include <resolver/resolver.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef Hubcache__V1__TestPolicyRequest test_request;
typedef Hubcache__V1__TestPolicyResponse test_response;
typedef Hubcache__V1__RuleVerdict rule_verdict;

/* "kind:KIND" and "kind:KIND:NAME" say the kind; else the form of the name does. */
static void caller_read_kind(const char *text, struct hc_identity *identity)
{
    static const char *const kinds[] = {"token", "jwt", "uid", "certificate"};

    if (hc_text_starts(text, "uid:"))
        identity->kind = "uid";
    if (hc_text_starts(text, "system:serviceaccount:"))
        identity->kind = "jwt";
    for (size_t i = 0; hc_text_starts(text, "kind:") && i < COUNT(kinds); i++) {
        const char *kind = text + strlen("kind:");
        size_t length = strlen(kinds[i]);

        if (strncmp(kind, kinds[i], length) != 0 || (kind[length] && kind[length] != ':'))
            continue;
        identity->kind = kinds[i];
        identity->name = kind[length] ? kind + length + 1 : "";
    }
}

/* The caller that is asked about, as a rule would name it, in `other`; NULL in
 * `*identity`: anonymous. */
static int request_identify_caller(const test_request *request, struct hc_arena *arena,
                                   struct hc_identity *other,
                                   const struct hc_identity **identity,
                                   struct hc_error *err)
{
    const char *caller = request->caller;
    const char **groups = hc_arena_take(arena, (request->n_groups + 1) * sizeof(*groups));
    size_t count = 0;

    if (!groups)
        return hc_fail_memory(err);
    if (!*caller)
        return 0;
    *other = (struct hc_identity){.kind = "token", .name = caller, .groups = groups};
    if (hc_text_starts(caller, "group:")) {
        other->name = "";
        groups[count++] = caller + strlen("group:");
    }
    caller_read_kind(caller, other);
    for (size_t i = 0; i < request->n_groups; i++)
        groups[count++] = request->groups[i];
    other->group_count = count;
    *identity = strcmp(caller, "anonymous") == 0 ? NULL : other;
    return 0;
}

static int encode_verdicts(const struct hc_explanation *explanation,
                           struct hc_arena *arena, test_response *response,
                           struct hc_error *err)
{
    size_t count = explanation->rules ? explanation->rules->count : 0;
    rule_verdict **list = hc_arena_take(arena, (count + 1) * sizeof(*list));
    rule_verdict *messages = hc_arena_take(arena, (count + 1) * sizeof *messages);

    if (!list || !messages)
        return hc_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        const struct hc_rule_reason *reason = &explanation->reasons[i];

        hubcache__v1__rule_verdict__init(&messages[i]);
        messages[i].rule = reason->rule->name;
        messages[i].matches = reason->matches;
        messages[i].reason = hc_unconst(reason->reason);
        messages[i].line = reason->rule->line;
        list[i] = &messages[i];
    }
    response->verdicts = list;
    response->n_verdicts = count;
    return 0;
}

static int encode_explanation(const struct hc_explanation *explanation,
                              struct hc_arena *arena, test_response *response,
                              struct hc_error *err)
{
    const struct hc_named_revision *alias = explanation->alias;
    char **conditions = hc_arena_take(arena, HC_CONDITIONS_MAX * sizeof(*conditions));

    if (!conditions)
        return hc_fail_memory(err);
    for (size_t i = 0; i < explanation->condition_count; i++)
        conditions[i] = hc_unconst(explanation->conditions[i]);
    response->conditions = conditions;
    response->n_conditions = explanation->condition_count;
    response->allowed = explanation->is_allowed;
    if (explanation->rule)
        response->rule = explanation->rule->name;
    if (explanation->rule && explanation->rule->message)
        response->message = explanation->rule->message;
    else
        response->message = hc_unconst(explanation->message);
    if (alias) {
        response->aliased_repo_id = alias->repo_id;
        response->aliased_revision = alias->revision;
    }
    return encode_verdicts(explanation, arena, response, err);
}

/* Of the repo that an alias stands for. */
static int repo_init(struct hc_repo *repo, struct hc_policy *policy,
                     const struct hc_target *target, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);
    const struct hc_named_revision *alias;
    int found = hc_rules_find_alias(rules, target, &alias, err);

    if (found < 0)
        return -1;
    return hc_repo_init(repo, found ? alias->type : target->type,
                        found ? alias->repo_id : target->id, err);
}

static bool policy_has_administrators(struct hc_policy *policy)
{
    HC_AUTO(hc_rules) *rules = hc_policy_hold_rules(policy);

    return rules && rules->has_admin;
}

int hc_cache_test_policy(void *ctx, struct hc_blocking_call *call,
                         const ProtobufCMessage *message, struct hc_error *err)
{
    const struct hc_cache_service *service = ctx;
    const test_request *request = (const void *)message;
    struct hc_policy *policy = hc_resolver_policy(service->resolver);
    struct hc_target target = {.id = request->repo_id, .revision = request->revision};
    struct hc_fetch_options options = hc_blocking_call_options(call);
    const struct hc_policy_request asked = {.target = &target, .options = &options};
    const char *path = *request->filename ? request->filename : NULL;
    struct hc_arena *arena = hc_blocking_call_arena(call);
    HC_AUTO_VALUE(hc_explanation) explanation = {.rules = NULL};
    test_response response;
    struct hc_identity other;
    struct hc_repo repo;
    struct hc_error ignored;
    bool is_admin;

    if (hc_decode_repo_type(request->repo_type, &target.type, err) < 0)
        return -1;
    hc_request_set_target(hc_blocking_call_request(call), &target, path);
    if (repo_init(&repo, policy, &target, err) < 0)
        return -1;
    is_admin = hc_policy_may_administer(policy, options.identity, &repo, err) == 0;
    if (*request->caller && !is_admin && policy_has_administrators(policy))
        return -1;
    if (request_identify_caller(request, arena, &other, &options.identity, err) < 0 ||
        hc_explanation_make(&explanation, hc_policy_hold_rules(policy), &asked, path,
                            err) < 0)
        return -1;
    if (!is_admin)
        hc_explanation_hide(&explanation);
    hubcache__v1__test_policy_response__init(&response);
    if (encode_explanation(&explanation, arena, &response, err) < 0)
        return -1;
    response.admin =
        hc_policy_may_administer(policy, options.identity, &repo, &ignored) == 0;
    return hc_blocking_call_reply(call, &response.base, err);
}
