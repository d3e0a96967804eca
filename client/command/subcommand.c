/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of subcommands, and what all of them have in common. Each subcommand has an
 * argp parser whose children parse groups of options: its own, and those of every
 * subcommand (hc_command_argp). It then connects, makes its calls, prints the answer, and
 * returns the exit code that the table of reasons gives for a failure.
 */
#include "subcommand.h"

#include "base/auto.h"
#include "base/text.h"
#include "eviction.h"
#include "inventory.h"
#include "lease.h"
#include "output.h"
#include "pin.h"
#include "policy.h"
#include "prefetch.h"
#include "pull.h"
#include "removal.h"
#include "repo_list.h"
#include "resolve.h"
#include "run.h"
#include "suggestion.h"
#include "verify.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)

/* --- the table ---------------------------------------------------------------------- */

/* Each is in the file of its noun. */
static const struct hc_subcommand *const subcommands[] = {
    &hc_file_command,   &hc_snapshot_command, &hc_download_command, &hc_cat_command,
    &hc_pull_command,   &hc_info_command,     &hc_ls_command,       &hc_du_command,
    &hc_policy_command, &hc_evict_command,    &hc_prefetch_command, &hc_verify_command,
    &hc_lease_command,  &hc_run_command,      &hc_rm_command,       &hc_prune_command,
    &hc_pin_command,    &hc_unpin_command,
};

enum { SUBCOMMANDS = sizeof subcommands / sizeof *subcommands };

const struct hc_subcommand *hc_subcommand_find(const char *name)
{
    for (size_t i = 0; i < SUBCOMMANDS; i++) {
        if (strcmp(subcommands[i]->name, name) == 0)
            return subcommands[i];
    }
    return NULL;
}

void hc_subcommand_names(char text[HC_SUBCOMMAND_NAMES_MAX])
{
    size_t length = 0;

    for (size_t i = 0; i < SUBCOMMANDS; i++)
        length += (size_t)snprintf(text + length, HC_SUBCOMMAND_NAMES_MAX - length,
                                   "%s%s", i > 0 ? ", " : "", subcommands[i]->name);
}

/* --- running one -------------------------------------------------------------------- */

struct subcommand_line {
    const struct hc_subcommand *subcommand;
    struct hc_resolve_options options;
    struct hc_cache_command *cache; /* NULL: the command is none of the service Cache */
};

/* All groups write to the same options; the last child has those of every subcommand. */
static void subcommand_set_child_inputs(const struct argp_state *state)
{
    struct subcommand_line *line = state->input;
    const struct argp_child *children = line->subcommand->children;
    void *own = &line->options;

    if (line->cache)
        own = line->cache;
    for (size_t i = 0; children[i].argp; i++)
        state->child_inputs[i] =
            children[i].argp == &hc_command_argp ? line->options.common : own;
}

/* The same for a command of the service Cache. */
static void cache_take_arguments(const struct subcommand_line *line,
                                 const struct argp_state *state)
{
    const struct hc_subcommand *subcommand = line->subcommand;

    line->cache->arguments = (const char *const *)&state->argv[state->next];
    line->cache->argument_count = (size_t)(state->argc - state->next);
    if (line->cache->argument_count > subcommand->arguments_max)
        hc_command_refuse(state, "'%s' is too much",
                          line->cache->arguments[subcommand->arguments_max]);
}

/* Keeps all that is left of argv, which is a repo and perhaps names of files. */
static void subcommand_take_arguments(struct subcommand_line *line,
                                      const struct argp_state *state)
{
    const struct hc_subcommand *subcommand = line->subcommand;

    if (line->cache) {
        cache_take_arguments(line, state);
        return;
    }
    if (!subcommand->has_repo)
        hc_command_refuse(state, "%s takes no arguments", subcommand->name);
    line->options.repo.id = state->argv[state->next];
    line->options.filenames = (const char *const *)&state->argv[state->next + 1];
    line->options.filename_count = (size_t)(state->argc - state->next - 1);
    if (line->options.filename_count > subcommand->names_max)
        hc_command_refuse(state, "one %s at a time: '%s' is too much",
                          subcommand->names_max > 0 ? "file" : "repo",
                          line->options.filenames[subcommand->names_max]);
}

/* A command with several forms has one a line. */
static void subcommand_refuse_missing(const struct hc_subcommand *subcommand,
                                      const struct argp_state *state)
{
    if (strchr(subcommand->arguments, '\n'))
        hc_command_refuse(state, "an argument is missing");
    hc_command_refuse(state, "an argument is missing: %s", subcommand->arguments);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t subcommand_option_parse(int key, char *arg, struct argp_state *state)
{
    struct subcommand_line *line = state->input;

    (void)arg;
    switch (key) {
    case ARGP_KEY_INIT:
        subcommand_set_child_inputs(state);
        return 0;
    case ARGP_KEY_ARGS:
        subcommand_take_arguments(line, state);
        return 0;
    case ARGP_KEY_END:
        if (line->cache && line->cache->argument_count < line->subcommand->arguments_min)
            subcommand_refuse_missing(line->subcommand, state);
        if (line->subcommand->has_repo && !line->options.repo.id)
            hc_command_refuse(state, "a repo is needed");
        if (line->options.filename_count < line->subcommand->names_min &&
            !hc_suggestion_is_address(line->options.repo.id)) /* it may name the file */
            hc_command_refuse(state, "a repo and at least one file name are needed");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* A dataset that is named without its type is taken for a model. */
static void cache_hint_type(struct hc_client *client,
                            const struct hc_cache_command *cache,
                            char hint[HC_OUTPUT_HINT_MAX])
{
    char name[256];

    for (size_t i = 0; i < cache->argument_count && !hint[0]; i++) {
        if (hc_repo_list_find_other_type(client, cache->arguments[i], name))
            (void)snprintf(hint, HC_OUTPUT_HINT_MAX, "the cache has %s: write its type",
                           name);
    }
}

static int cache_call(const struct subcommand_line *line, struct hc_client *client,
                      char hint[HC_OUTPUT_HINT_MAX], struct hc_error *err)
{
    int result = line->subcommand->run_cache(client, line->cache, err);

    if (result < 0 && err->reason == HC_NOT_CACHED)
        cache_hint_type(client, line->cache, hint);
    return result;
}

/* An address is refused here, since the server may be asked for relative directories. */
static int subcommand_call(const struct subcommand_line *line,
                           char hint[HC_OUTPUT_HINT_MAX], struct hc_error *err)
{
    const struct hc_subcommand *subcommand = line->subcommand;
    const struct hc_resolve_options *options = &line->options;
    HC_AUTO(hc_client) *client = NULL;

    if (subcommand->has_repo && hc_suggestion_is_address(options->repo.id))
        return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                             "'%.200s' is an address, not the id of a repo",
                             options->repo.id);
    client = hc_command_connect(options->common, err);
    if (!client)
        return -1;
    return line->cache ? cache_call(line, client, hint, err)
                       : subcommand->run(client, options, err);
}

/* Says what to type when the repo was named as elsewhere; `hint` is "", or better than
 * what the failure alone suggests. */
static int subcommand_fail(const struct hc_subcommand *subcommand,
                           const struct hc_resolve_options *options,
                           char hint[HC_OUTPUT_HINT_MAX], const struct hc_error *err)
{
    char command[HC_SUGGESTION_MAX];

    if (!hint[0])
        hc_output_hint(err, hint, HC_OUTPUT_HINT_MAX);
    if (subcommand->has_repo &&
        (err->reason == HC_INVALID_REPO_ID || err->reason == HC_REPO_NOT_FOUND) &&
        hc_suggestion_make(subcommand->name, options, command))
        (void)snprintf(hint, HC_OUTPUT_HINT_MAX, "write: %s", command);
    if (options->common->json) /* a failure of this says nothing more */
        (void)hc_output_print_json(hc_output_json_of_failure(err, hint, &options->repo),
                                   &(struct hc_error){0});
    return hc_output_print_failure(err, hint);
}

int hc_subcommand_run(const struct hc_subcommand *subcommand, int argc, char **argv,
                      struct hc_command_options *common)
{
    struct argp argp = {
        .parser = subcommand_option_parse,
        .args_doc = subcommand->arguments,
        .doc = subcommand->summary,
        .children = subcommand->children,
    };
    struct subcommand_line line = {.subcommand = subcommand, .options.common = common};
    HC_AUTO_FREE void *cache_options = calloc(1, subcommand->options_size + 1);
    char hint[HC_OUTPUT_HINT_MAX] = "";
    struct hc_error err = {0};
    int result = HC_EXIT_OK;

    if (!cache_options) {
        (void)hc_fail_memory(&err);
        return subcommand_fail(subcommand, &line.options, hint, &err);
    }
    if (subcommand->run_cache) {
        line.cache = cache_options;
        line.cache->common = common;
    }
    hc_command_parse(&argp, 0, argc, argv, &line);
    if (subcommand_call(&line, hint, &err) < 0)
        result = subcommand_fail(subcommand, &line.options, hint, &err);
    else if (line.cache)
        result = line.cache->exit_status;
    hc_resolve_options_clear(&line.options);
    if (subcommand->clear)
        subcommand->clear(cache_options);
    return result;
}
