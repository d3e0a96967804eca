/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan is a dry run of the same call. It is shown before the question, and the call
 * is then made as it was planned; what is held by then is kept. A commit
 * alone names a revision only if one repo has it: forks have the same commits.
 */
#include "removal.h"

#include "base/auto.h"
#include "base/text.h"
#include "client/cache_call.h"
#include "confirmation.h"
#include "finding.h"
#include "output.h"
#include "removal_output.h"
#include "repo_list.h"
#include "repo_spec.h"
#include "table.h"
#include "units.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_INCLUDE = 768, KEY_UNUSED_FOR };
enum { COMMIT_LENGTH = 40 };

struct removal_options {
    struct hc_cache_command base;
    struct hc_client_repo repo; /* of arguments without type or revision */
    struct hc_consent consent;
    struct hc_strings include;
    bool has_unused_for;
    int64_t unused_for_ms;
};

static void removal_options_clear(void *input)
{
    struct removal_options *options = input;

    hc_strings_clear(&options->include);
}

/* --- rm: what is named -------------------------------------------------------------- */

/* One argument as a selector, which borrows from `spec` and from the options. */
struct rm_selector {
    struct hc_repo_spec spec;
    char *pattern; /* of a file that is named */
    Hubcache__V1__CacheSelector message;
};

/* The repos that have the commit: exactly one, else a failure that names them. */
static int commit_find_repo(struct hc_client *client, const char *commit,
                            struct hc_repo_spec *spec, struct hc_error *err)
{
    Hubcache__V1__ListReposRequest request;
    HC_AUTO_VALUE(hc_repo_list) list = {0};
    HC_AUTO_FREE struct hc_repo_entry *entries = NULL;
    char names[384] = "", repo[256];
    size_t count, found = 0;

    hubcache__v1__list_repos_request__init(&request);
    request.with_revisions = true;
    if (hc_repo_list_fetch(client, &request, &list, err) < 0)
        return -1;
    entries = hc_repo_list_entries(&list, true, &count, err);
    if (!entries)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const Hubcache__V1__CachedRepo *cached = entries[i].repo;
        size_t length = strlen(names);

        if (!entries[i].revision || strcmp(entries[i].revision->commit_hash, commit) != 0)
            continue;
        found++;
        hc_repo_spec_format((enum hc_repo_type)cached->repo_type, cached->repo_id, repo);
        (void)snprintf(names + length, sizeof names - length, "%s%s",
                       length > 0 ? ", " : "", repo);
        spec->type = (enum hc_repo_type)cached->repo_type;
        (void)snprintf(spec->id, sizeof spec->id, "%s", cached->repo_id);
        (void)snprintf(spec->revision, sizeof spec->revision, "%s", commit);
    }
    if (found == 1)
        return 0;
    if (found == 0)
        return hc_fail(err, HC_NOT_CACHED, "no repo of the cache has the commit %s",
                       commit);
    return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                         "%zu repos have the commit %.12s: %s; name one as REPO@COMMIT",
                         found, commit, names);
}

static int selector_init(struct rm_selector *selector, struct hc_client *client,
                         const struct removal_options *options, const char *text,
                         struct hc_error *err)
{
    Hubcache__V1__CacheSelector *message = &selector->message;
    struct hc_repo_spec *spec = &selector->spec;
    bool is_commit = strlen(text) == COMMIT_LENGTH && hc_text_is_hex(text, COMMIT_LENGTH);

    if ((is_commit ? commit_find_repo(client, text, spec, err)
                   : hc_repo_spec_parse(text, &options->repo, spec, err)) < 0)
        return -1;
    hubcache__v1__cache_selector__init(message);
    message->repo_id = spec->id;
    message->repo_type = (Hubcache__V1__RepoType)spec->type;
    message->revision = spec->revision;
    message->patterns = options->include.items;
    message->n_patterns = options->include.count;
    if (spec->path[0]) {
        selector->pattern = spec->path;
        message->patterns = &selector->pattern;
        message->n_patterns = 1;
    }
    return 0;
}

struct rm_request {
    struct rm_selector *selectors;
    Hubcache__V1__CacheSelector **list;
    size_t count;
};

static void rm_request_clear(struct rm_request *request)
{
    free(request->selectors);
    free(request->list);
}

HC_DEFINE_AUTO_VALUE(rm_request, rm_request_clear)

static int rm_request_init(struct rm_request *request, struct hc_client *client,
                           const struct removal_options *options, struct hc_error *err)
{
    size_t count = options->base.argument_count;

    request->selectors = calloc(count, sizeof *request->selectors);
    request->list = calloc(count, sizeof *request->list);
    if (!request->selectors || !request->list)
        return hc_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        if (selector_init(&request->selectors[i], client, options,
                          options->base.arguments[i], err) < 0)
            return -1;
        request->list[i] = &request->selectors[i].message;
    }
    request->count = count;
    return 0;
}

/* --- rm: the call ------------------------------------------------------------------- */

static ProtobufCMessage *rm_call(struct hc_client *client,
                                 const struct rm_request *request, bool is_dry_run,
                                 struct hc_removal_output *output, struct hc_error *err)
{
    Hubcache__V1__DeleteRevisionsRequest message;
    const Hubcache__V1__DeleteRevisionsResponse *response;
    ProtobufCMessage *answer;

    hubcache__v1__delete_revisions_request__init(&message);
    message.selectors = request->list;
    message.n_selectors = request->count;
    message.dry_run = is_dry_run;
    answer = hc_cache_call(client,
                           &(struct hc_channel_request){
                               .method = HC_CACHE_METHOD("DeleteRevisions"),
                               .message = &message.base,
                               .response =
                                   &hubcache__v1__delete_revisions_response__descriptor,
                           },
                           err);
    response = (const void *)answer;
    if (response)
        *output =
            (struct hc_removal_output){response->removed,       response->n_removed,
                                       response->kept,          response->n_kept,
                                       response->freed_bytes,   is_dry_run,
                                       response->removed_total, response->kept_total};
    return answer;
}

static int removal_print(const struct removal_options *options,
                         const struct hc_removal_output *output, json_t *findings,
                         struct hc_error *err)
{
    json_t *object;
    char *line;

    if (!options->base.common->json)
        return hc_removal_print(output, err);
    object = hc_removal_json(output);
    if (object && findings)
        (void)json_object_set_new(object, "findings", findings);
    line = object ? json_dumps(object, 0) : NULL;
    json_decref(object);
    return hc_output_print_json(line, err);
}

/*
 * Shows the plan. 1: the person agrees to it. 0: there is nothing to agree to, and the
 * plan is what is to be told.
 */
static int rm_confirm(struct hc_client *client, const struct rm_request *request,
                      struct removal_options *options, struct hc_error *err)
{
    struct hc_removal_output plan;
    HC_AUTO_MESSAGE *answer = NULL;

    if (hc_confirm_check(options->base.common, err) < 0)
        return -1;
    answer = rm_call(client, request, true, &plan, err);
    if (!answer || hc_removal_print(&plan, err) < 0)
        return -1;
    options->base.exit_status = plan.kept_count > 0 ? HC_EXIT_FAILURE : HC_EXIT_OK;
    if (plan.removed_count == 0)
        return 0;
    return hc_confirm("Remove this from the cache?", err) < 0 ? -1 : 1;
}

static int rm_run(struct hc_client *client, void *input, struct hc_error *err)
{
    struct removal_options *options = input;
    HC_AUTO_VALUE(rm_request) request = {0};
    struct hc_removal_output output;
    HC_AUTO_MESSAGE *answer = NULL;
    int agreed = 1;

    if (rm_request_init(&request, client, options, err) < 0)
        return -1;
    if (!options->consent.is_dry_run && !options->consent.is_agreed)
        agreed = rm_confirm(client, &request, options, err);
    if (agreed <= 0)
        return agreed;
    answer = rm_call(client, &request, options->consent.is_dry_run, &output, err);
    if (!answer)
        return -1;
    options->base.exit_status = output.kept_count > 0 ? HC_EXIT_FAILURE : HC_EXIT_OK;
    return removal_print(options, &output, NULL, err);
}

/* --- prune -------------------------------------------------------------------------- */

static json_t *json_of_findings(const Hubcache__V1__PruneResponse *response)
{
    json_t *findings = json_array();

    for (size_t i = 0; i < response->n_findings; i++)
        (void)json_array_append_new(findings, hc_finding_json(response->findings[i]));
    return findings;
}

static int findings_print(const Hubcache__V1__PruneResponse *response,
                          struct hc_error *err)
{
    static const char *const columns[] = {"FILE", "KIND", ">SIZE", "ACTION", NULL};
    HC_AUTO_VALUE(hc_table) table = {.columns = columns};

    for (size_t i = 0; i < response->n_findings; i++) {
        const Hubcache__V1__Finding *finding = response->findings[i];
        char size[HC_UNITS_TEXT_MAX];

        hc_bytes_format(size, finding->size_bytes);
        if (hc_table_add(&table, finding->cache_path, err) < 0 ||
            hc_table_add(&table, hc_finding_kind(finding), err) < 0 ||
            hc_table_add(&table, size, err) < 0 ||
            hc_table_add(&table, finding->action[0] ? finding->action : "-", err) < 0)
            return -1;
    }
    if (response->n_findings > 0)
        hc_table_print(&table);
    return 0;
}

/* What a prune is about: every repo, or those that are named. */
struct prune_scope {
    struct hc_repo_specs specs;
    Hubcache__V1__RepoType type; /* of all of them; 0: of every type */
};

static void prune_scope_clear(struct prune_scope *scope)
{
    hc_repo_specs_clear(&scope->specs);
}

HC_DEFINE_AUTO_VALUE(prune_scope, prune_scope_clear)

/* A request has ids and types, each for all repos. */
static int prune_scope_init(struct prune_scope *scope,
                            const struct removal_options *options, struct hc_error *err)
{
    const struct hc_cache_command *base = &options->base;

    scope->type = (Hubcache__V1__RepoType)options->repo.type;
    if (hc_repo_specs_parse(&scope->specs, base->arguments, base->argument_count,
                            &options->repo, err) < 0)
        return -1;
    for (size_t i = 0; i < scope->specs.count; i++) {
        const struct hc_repo_spec *spec = &scope->specs.items[i];

        if (spec->revision[0] || spec->path[0])
            return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                                 "prune is about repos: rm removes revisions and files");
        if (spec->type != scope->specs.items[0].type)
            return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_type",
                                 "repos of one type at a time: '%.200s' is of another",
                                 base->arguments[i]);
        scope->type = (Hubcache__V1__RepoType)spec->type;
    }
    return 0;
}

static ProtobufCMessage *prune_call(struct hc_client *client,
                                    const struct removal_options *options,
                                    struct prune_scope *scope, bool is_dry_run,
                                    struct hc_removal_output *output,
                                    struct hc_error *err)
{
    const Hubcache__V1__PruneResponse *response;
    Hubcache__V1__PruneRequest message;
    Google__Protobuf__Duration unused_for;
    ProtobufCMessage *answer;

    hubcache__v1__prune_request__init(&message);
    google__protobuf__duration__init(&unused_for);
    unused_for.seconds = options->unused_for_ms / 1000;
    unused_for.nanos = (int32_t)(options->unused_for_ms % 1000 * 1000000);
    if (options->has_unused_for)
        message.unused_for = &unused_for;
    message.dry_run = is_dry_run;
    message.repo_ids = scope->specs.ids;
    message.n_repo_ids = scope->specs.count;
    message.repo_types = &scope->type;
    message.n_repo_types = scope->type != HUBCACHE__V1__REPO_TYPE__REPO_TYPE_UNSPECIFIED;
    answer = hc_cache_call(client,
                           &(struct hc_channel_request){
                               .method = HC_CACHE_METHOD("Prune"),
                               .message = &message.base,
                               .response = &hubcache__v1__prune_response__descriptor,
                           },
                           err);
    response = (const void *)answer;
    if (response)
        *output =
            (struct hc_removal_output){response->removed,       response->n_removed,
                                       response->kept,          response->n_kept,
                                       response->freed_bytes,   is_dry_run,
                                       response->removed_total, response->kept_total};
    return answer;
}

/* As rm_confirm(). */
static int prune_confirm(struct hc_client *client, struct removal_options *options,
                         struct prune_scope *scope, struct hc_error *err)
{
    struct hc_removal_output plan;
    const Hubcache__V1__PruneResponse *response;
    HC_AUTO_MESSAGE *answer = NULL;

    if (hc_confirm_check(options->base.common, err) < 0)
        return -1;
    answer = prune_call(client, options, scope, true, &plan, err);
    response = (const void *)answer;
    if (!response || findings_print(response, err) < 0 ||
        hc_removal_print(&plan, err) < 0)
        return -1;
    options->base.exit_status =
        hc_removal_has_failed(&plan) ? HC_EXIT_FAILURE : HC_EXIT_OK;
    if (plan.removed_count == 0 && response->finding_total == 0)
        return 0;
    return hc_confirm("Remove this from the cache?", err) < 0 ? -1 : 1;
}

static int prune_run(struct hc_client *client, void *input, struct hc_error *err)
{
    struct removal_options *options = input;
    const Hubcache__V1__PruneResponse *response;
    struct hc_removal_output output;
    HC_AUTO_VALUE(prune_scope) scope = {0};
    HC_AUTO_MESSAGE *answer = NULL;
    int agreed = 1;

    if (prune_scope_init(&scope, options, err) < 0)
        return -1;
    if (!options->consent.is_dry_run && !options->consent.is_agreed)
        agreed = prune_confirm(client, options, &scope, err);
    if (agreed <= 0)
        return agreed;
    answer =
        prune_call(client, options, &scope, options->consent.is_dry_run, &output, err);
    if (!answer)
        return -1;
    response = (const void *)answer;
    options->base.exit_status =
        hc_removal_has_failed(&output) ? HC_EXIT_FAILURE : HC_EXIT_OK;
    if (options->base.common->json)
        return removal_print(options, &output, json_of_findings(response), err);
    return findings_print(response, err) < 0 ? -1
                                             : removal_print(options, &output, NULL, err);
}

/* --- the commands ------------------------------------------------------------------- */

static error_t removal_option_parse(int key, char *arg, struct argp_state *state)
{
    struct removal_options *options = state->input;
    struct hc_error err;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->consent;
        state->child_inputs[1] = &options->repo;
        return 0;
    case KEY_INCLUDE:
        return hc_strings_add(&options->include, arg, &err) < 0 ? ENOMEM : 0;
    case KEY_UNUSED_FOR:
        options->unused_for_ms = hc_command_duration(state, arg);
        options->has_unused_for = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option rm_list[] = {
    {"include", KEY_INCLUDE, "PATTERN", 0,
     "Only files that match the pattern; may be repeated", 0},
    {0},
};

static const struct argp_option prune_list[] = {
    {"unused-for", KEY_UNUSED_FOR, "DURATION", 0,
     "Only revisions that were not used for so long, such as 7d; by default 1h", 0},
    {0},
};

static const struct argp_child named_children[] = {{&hc_consent_argp, 0, NULL, 0},
                                                   {&hc_repo_argp, 0, NULL, 0},
                                                   {0}};

static const struct argp rm_argp = {.options = rm_list,
                                    .parser = removal_option_parse,
                                    .children = named_children};
static const struct argp prune_argp = {.options = prune_list,
                                       .parser = removal_option_parse,
                                       .children = named_children};

static const struct argp_child rm_children[] = {{&rm_argp, 0, NULL, 0},
                                                {&hc_refused_argp, 0, NULL, 0},
                                                HC_COMMON_OPTIONS};
static const struct argp_child prune_children[] = {{&prune_argp, 0, NULL, 0},
                                                   {&hc_refused_argp, 0, NULL, 0},
                                                   HC_COMMON_OPTIONS};

const struct hc_subcommand hc_rm_command = {
    .name = "rm",
    .arguments = "REPO[@REVISION]|COMMIT...",
    .summary = "Removes repos, revisions, or files of them from the cache. What is in "
               "use is kept.",
    .children = rm_children,
    .arguments_min = 1,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct removal_options),
    .run_cache = rm_run,
    .clear = removal_options_clear,
};

const struct hc_subcommand hc_prune_command = {
    .name = "prune",
    .arguments = "[REPO...]",
    .summary =
        "Removes what nothing refers to: revisions without a ref, blobs without a "
        "pointer, and what interrupted downloads have left. Of the whole cache, or "
        "of the repos that are named.",
    .children = prune_children,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct removal_options),
    .run_cache = prune_run,
    .clear = removal_options_clear,
};
