/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call of TestPolicy. The answer goes to standard output whatever it is; a request
 * that would be denied is then a failure of the command, so that its exit status, 4, can
 * be tested in a script.
 */
#include "policy.h"

#include "base/auto.h"
#include "base/error.h"
#include "base/text.h"
#include "client/cache_call.h"
#include "output.h"
#include "repo_spec.h"
#include "table.h"

#include <jansson.h>
#include <string.h>

enum { KEY_AS = 1280, KEY_GROUP };

typedef Hubcache__V1__TestPolicyRequest test_request;
typedef Hubcache__V1__TestPolicyResponse test_response;

struct policy_options {
    struct hc_cache_command base;
    char *caller;
    struct hc_strings groups;
};

static void policy_options_clear(void *input)
{
    struct policy_options *options = input;

    hc_strings_clear(&options->groups);
}

/* --- the output --------------------------------------------------------------------- */

static json_t *json_of_verdicts(const test_response *response)
{
    json_t *verdicts = json_array();

    for (size_t i = 0; i < response->n_verdicts; i++) {
        const Hubcache__V1__RuleVerdict *verdict = response->verdicts[i];

        (void)json_array_append_new(verdicts,
                                    json_pack("{s:s, s:b, s:s, s:I}", "rule",
                                              verdict->rule, "matches", verdict->matches,
                                              "reason", verdict->reason, "line",
                                              (json_int_t)verdict->line));
    }
    return verdicts;
}

static json_t *json_of_conditions(const test_response *response)
{
    json_t *conditions = json_array();

    for (size_t i = 0; i < response->n_conditions; i++)
        (void)json_array_append_new(conditions, json_string(response->conditions[i]));
    return conditions;
}

static int policy_print_json(const test_response *response, struct hc_error *err)
{
    json_t *json =
        json_pack("{s:b, s:s, s:s, s:s, s:s, s:o, s:o, s:b}", "allowed",
                  response->allowed, "rule", response->rule, "message", response->message,
                  "aliased_repo_id", response->aliased_repo_id, "aliased_revision",
                  response->aliased_revision, "verdicts", json_of_verdicts(response),
                  "conditions", json_of_conditions(response), "admin", response->admin);
    char *text = json ? json_dumps(json, 0) : NULL;

    json_decref(json);
    return hc_output_print_json(text, err);
}

static const char *response_rule(const test_response *response)
{
    if (response->rule[0])
        return response->rule;
    return response->n_verdicts > 0 || !response->allowed ? "(the default)" : "(no rule)";
}

static int policy_print_table(const test_response *response, struct hc_error *err)
{
    static const char *const columns[] = {"RULE", "LINE", "MATCHES", "WHY", NULL};
    HC_AUTO_VALUE(hc_table) table = {.columns = columns};
    char line[16];

    hc_output_print_field("decision", response->allowed ? "allowed" : "denied");
    hc_output_print_field("rule", response_rule(response));
    if (response->message[0])
        hc_output_print_field("message", response->message);
    if (response->aliased_repo_id[0]) {
        hc_output_print_field("alias of", response->aliased_repo_id);
        hc_output_print_field("at", response->aliased_revision);
    }
    for (size_t i = 0; i < response->n_conditions; i++)
        hc_output_print_field("condition", response->conditions[i]);
    hc_output_print_field("administrator", response->admin ? "yes" : "no");
    for (size_t i = 0; i < response->n_verdicts; i++) {
        const Hubcache__V1__RuleVerdict *verdict = response->verdicts[i];

        (void)hc_format(line, sizeof line, "%u", verdict->line);
        if (hc_table_add(&table, verdict->rule, err) < 0 ||
            hc_table_add(&table, line, err) < 0 ||
            hc_table_add(&table, verdict->matches ? "yes" : "no", err) < 0 ||
            hc_table_add(&table, verdict->reason, err) < 0)
            return -1;
    }
    if (response->n_verdicts > 0)
        hc_table_print(&table);
    return hc_output_flush(err);
}

/* --- the call ----------------------------------------------------------------------- */

/* `request` borrows from `options` and `spec`. */
static int request_fill(test_request *request, struct policy_options *options,
                        struct hc_repo_spec *spec, struct hc_error *err)
{
    static char empty[] = "";
    const char *const *arguments = options->base.arguments;

    hubcache__v1__test_policy_request__init(request);
    if (strcmp(arguments[0], "test") != 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "command",
                             "'policy %.100s': there is 'policy test REPO [FILE]'",
                             arguments[0]);
    if (options->groups.count > 0 && !options->caller)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "groups",
                             "--group is for the caller of --as, which is missing");
    if (hc_repo_spec_parse(arguments[1], NULL, spec, err) < 0)
        return -1;
    if (options->base.argument_count > 2 &&
        hc_format(spec->path, sizeof spec->path, "%s", arguments[2]) < 0)
        return hc_fail_field(err, HC_INVALID_FILENAME, "filename",
                             "the file's name is too long");
    request->repo_id = spec->id;
    request->repo_type = (Hubcache__V1__RepoType)spec->type;
    request->revision = spec->revision;
    request->filename = spec->path;
    request->caller = options->caller ? options->caller : empty;
    request->groups = options->groups.items;
    request->n_groups = options->groups.count;
    return 0;
}

static int policy_run(struct hc_client *client, void *input, struct hc_error *err)
{
    struct policy_options *options = input;
    struct hc_repo_spec spec;
    test_request request;
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("TestPolicy"),
        .message = &request.base,
        .response = &hubcache__v1__test_policy_response__descriptor,
    };
    test_response *response;
    int result;

    if (request_fill(&request, options, &spec, err) < 0)
        return -1;
    response = (void *)hc_cache_call(client, &call, err);
    if (!response)
        return -1;
    result = options->base.common->json ? policy_print_json(response, err)
                                        : policy_print_table(response, err);
    if (result == 0 && !response->allowed && options->base.common->json)
        options->base.exit_status = HC_EXIT_DENIED; /* the one object has it all */
    else if (result == 0 && !response->allowed)
        result =
            hc_fail(err, HC_POLICY_DENIED, "denied by %s%s%s", response_rule(response),
                    response->message[0] ? ": " : "", response->message);
    protobuf_c_message_free_unpacked(&response->base, NULL);
    return result;
}

/* --- the options -------------------------------------------------------------------- */

static error_t policy_option_parse(int key, char *arg, struct argp_state *state)
{
    struct policy_options *options = state->input;
    struct hc_error err;

    switch (key) {
    case KEY_AS:
        options->caller = arg;
        return 0;
    case KEY_GROUP:
        return hc_strings_add(&options->groups, arg, &err) < 0 ? ENOMEM : 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option policy_list[] = {
    {"as", KEY_AS, "CALLER", 0, "Decide about this caller, or anonymous", 0},
    {"group", KEY_GROUP, "GROUP", 0, "Which is in this group; repeatable", 0},
    {0},
};

static const struct argp policy_argp = {.options = policy_list,
                                        .parser = policy_option_parse};

static const struct argp_child policy_children[] = {{&policy_argp, 0, NULL, 0},
                                                    HC_COMMON_OPTIONS};

const struct hc_subcommand hc_policy_command = {
    .name = "policy",
    .arguments = "test REPO[@REVISION] [FILE]",
    .summary = "Says what the server's policy decides about a repo or a file of it, by "
               "which rule, and why the other rules do not decide. Exit status 4: it is "
               "denied. To ask about another caller may take the right to administer.",
    .children = policy_children,
    .arguments_min = 2,
    .arguments_max = 3,
    .options_size = sizeof(struct policy_options),
    .run_cache = policy_run,
    .clear = policy_options_clear,
};
