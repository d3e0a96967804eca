/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With what the Hub is asked: which endpoint has the repo, and which token is meant for
 * it.
 */
#include "resolution.h"

#include <string.h>

const struct hc_rule *
hc_resolution_find_endpoint_rule(const struct hc_resolution *resolution)
{
    const struct hc_rules *rules = resolution->decision.rules;
    const struct hc_repo *repo = &resolution->repo;
    const struct hc_rule *rule =
        rules ? hc_rules_find_endpoint(rules, repo->type, repo->id) : NULL;

    return rule && !hc_hub_has_endpoint(resolution->resolver->hub, rule->endpoint) ? rule
                                                                                   : NULL;
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

struct hc_hub_credentials hc_resolution_credentials(struct hc_resolution *resolution,
                                                    const char *revision)
{
    struct hc_hub_credentials credentials = resolution->credentials;
    bool is_name = !resolution->is_commit && strcmp(revision, resolution->revision) == 0;

    resolution->asked_by_commit = !resolution->is_commit && !is_name;
    credentials.hub_only = credentials.hub_only || (is_name && resolution->ref_commit[0]);
    return credentials;
}
