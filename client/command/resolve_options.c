/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One function parses the options of every group. Options of `hf download` that cannot
 * mean the same here are refused with the option or the command that does what the caller
 * is likely to want.
 */
#include "resolve_options.h"

#include <hubcache/repo.h>

#include <string.h>

enum { KEY_QUIET = 'q' };

enum {
    KEY_REVISION = 512,
    KEY_REPO_TYPE,
    KEY_LOCAL_FILES_ONLY,
    KEY_FORCE,
    KEY_MAX_STALENESS,
    KEY_SUBFOLDER,
    KEY_INCLUDE,
    KEY_EXCLUDE,
    KEY_DRY_RUN,
    KEY_LIST_FILES,
    KEY_REQUIRE_COMPLETE,
    KEY_WARM,
    KEY_LEASE,
    KEY_TO,
    KEY_LOCAL_DIR,
    KEY_CACHE_DIR,
    KEY_TOKEN,
    KEY_MAX_WORKERS,
    KEY_FORMAT
};

void hc_resolve_options_request(const struct hc_resolve_options *options,
                                struct hc_client_snapshot_request *request)
{
    *request = (struct hc_client_snapshot_request){
        .repo = options->repo,
        .allow_patterns = (const char *const *)options->include.items,
        .allow_count = options->include.count,
        .ignore_patterns = (const char *const *)options->exclude.items,
        .ignore_count = options->exclude.count,
        .fetch = options->fetch,
    };
}

void hc_resolve_options_clear(struct hc_resolve_options *options)
{
    hc_strings_clear(&options->include);
    hc_strings_clear(&options->exclude);
}

/* Takes the names of the Hub's clients, and the plural of its URLs. */
static enum hc_repo_type repo_type_parse(const struct argp_state *state, const char *text)
{
    const char *names[] = {"model", "dataset", "space", "kernel"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);

        if (strncmp(text, names[i], length) == 0 &&
            (text[length] == '\0' || strcmp(text + length, "s") == 0))
            return hc_repo_type_from_name(names[i]);
    }
    hc_command_refuse(state,
                      "'%s' is not a repo type: write model, dataset, space or kernel",
                      text);
    return HC_REPO_DEFAULT;
}

/* Running out of memory is told as wrong usage is: argp has no other way to fail. */
static error_t pattern_add(const struct argp_state *state, struct hc_strings *patterns,
                           const char *pattern)
{
    struct hc_error err = {0};

    if (hc_strings_add(patterns, pattern, &err) < 0)
        hc_command_refuse(state, "%s", err.message);
    return 0;
}

static error_t repo_option_parse(int key, char *arg, struct argp_state *state)
{
    struct hc_client_repo *repo = state->input;

    switch (key) {
    case KEY_REVISION:
        repo->revision = arg;
        return 0;
    case KEY_REPO_TYPE:
        repo->type = repo_type_parse(state, arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t resolve_option_parse(int key, char *arg, struct argp_state *state)
{
    struct hc_resolve_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->repo;
        return 0;
    case KEY_LOCAL_FILES_ONLY:
        options->fetch.local_files_only = true;
        return 0;
    case KEY_FORCE:
        options->fetch.force_download = true;
        return 0;
    case KEY_MAX_STALENESS:
        options->fetch.has_max_staleness = true;
        options->fetch.max_staleness_ms = hc_command_duration(state, arg);
        return 0;
    case KEY_QUIET:
        options->is_quiet = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t selection_option_parse(int key, char *arg, struct argp_state *state)
{
    struct hc_resolve_options *options = state->input;

    switch (key) {
    case KEY_SUBFOLDER:
        options->subfolder = arg;
        return 0;
    case KEY_INCLUDE:
        return pattern_add(state, &options->include, arg);
    case KEY_EXCLUDE:
        return pattern_add(state, &options->exclude, arg);
    case KEY_DRY_RUN:
        options->fetch.dry_run = true;
        return 0;
    case KEY_LIST_FILES:
        options->list_files = true;
        return 0;
    case KEY_REQUIRE_COMPLETE:
        options->require_complete = true;
        return 0;
    case KEY_WARM:
        options->fetch.warm = true;
        return 0;
    case KEY_LEASE:
        options->fetch.lease_ms = hc_command_duration(state, arg);
        if (options->fetch.lease_ms == 0)
            hc_command_refuse(state, "a lease is for more than no time");
        return 0;
    case KEY_TO:
        options->target = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option repo_list[] = {
    {"revision", KEY_REVISION, "REVISION", 0,
     "Branch, tag, refs/pr/N or commit; by default main", 0},
    {"repo-type", KEY_REPO_TYPE, "TYPE", 0,
     "model, dataset, space or kernel; by default model", 0},
    {"type", 0, NULL, OPTION_ALIAS, NULL, 0},
    {0},
};

static const struct argp_option resolve_list[] = {
    {"local-files-only", KEY_LOCAL_FILES_ONLY, NULL, 0, "Do not ask the Hub", 0},
    {"force", KEY_FORCE, NULL, 0, "Fetch the bytes again even if they are cached", 0},
    {"force-download", 0, NULL, OPTION_ALIAS, NULL, 0},
    {"max-staleness", KEY_MAX_STALENESS, "DURATION", 0,
     "Take what the Hub said no longer ago than this; 0 asks it now", 0},
    {"quiet", KEY_QUIET, NULL, 0, "Show no progress", 0},
    {0},
};

static const struct argp_option names_list[] = {
    {"subfolder", KEY_SUBFOLDER, "DIR", 0, "Look for the names in this folder", 0},
    {0},
};

static const struct argp_option patterns_list[] = {
    {"include", KEY_INCLUDE, "PATTERN", 0,
     "Only files that match, such as '*.safetensors'; may be given again", 0},
    {"exclude", KEY_EXCLUDE, "PATTERN", 0, "No files that match; may be given again", 0},
    {0},
};

static const struct argp_option snapshot_list[] = {
    {"dry-run", KEY_DRY_RUN, NULL, 0,
     "Fetch nothing; list on standard error what would be", 0},
    {"list-files", KEY_LIST_FILES, NULL, 0,
     "Write the path of each file, not that of the directory", 0},
    {"require-complete", KEY_REQUIRE_COMPLETE, NULL, 0,
     "Fail unless every file of the snapshot is proved to be there", 0},
    {0},
};

static const struct argp_option warm_list[] = {
    {"warm", KEY_WARM, NULL, 0,
     "Then read the files ahead into the page cache of this machine, and let the server "
     "do the same on its own",
     0},
    {0},
};

static const struct argp_option lease_list[] = {
    {"lease", KEY_LEASE, "DURATION", 0,
     "Keep the files on the cache volume for so long, such as 1h", 0},
    {0},
};

static const struct argp_option target_list[] = {
    {"to", KEY_TO, "DIR", 0, "The cache root on this machine; required", 0},
    {0},
};

/* Their documentation is why they are refused. */
static const struct argp_option refused_list[] = {
    {"local-dir", KEY_LOCAL_DIR, "DIR", OPTION_HIDDEN,
     "files stay on the cache volume, where the printed path names them", 0},
    {"cache-dir", KEY_CACHE_DIR, "DIR", OPTION_HIDDEN,
     "the cache is the server's, which --server names; --mount says where this machine "
     "has it",
     0},
    {"token", KEY_TOKEN, "TOKEN", OPTION_HIDDEN,
     "every user of the machine could read it; put the Hub token into "
     "HUBCACHE_HUB_TOKEN, or give --hub-token-file FILE",
     0},
    {"max-workers", KEY_MAX_WORKERS, "N", OPTION_HIDDEN,
     "the server decides on the number of connections", 0},
    {"format", KEY_FORMAT, "FORMAT", OPTION_HIDDEN,
     "the output is text, or with --json one JSON object", 0},
    {0},
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t refused_option_parse(int key, char *arg, struct argp_state *state)
{
    (void)arg;
    for (const struct argp_option *option = refused_list; option->name; option++) {
        if (option->key == key)
            hc_command_refuse(state, "there is no --%s: %s", option->name, option->doc);
    }
    return ARGP_ERR_UNKNOWN;
}

static const struct argp_child resolve_children[] = {{&hc_repo_argp, 0, NULL, 0}, {0}};

const struct argp hc_repo_argp = {.options = repo_list, .parser = repo_option_parse};
const struct argp hc_resolve_argp = {.options = resolve_list,
                                     .parser = resolve_option_parse,
                                     .children = resolve_children};
const struct argp hc_names_argp = {.options = names_list,
                                   .parser = selection_option_parse};
const struct argp hc_patterns_argp = {.options = patterns_list,
                                      .parser = selection_option_parse};
const struct argp hc_snapshot_argp = {.options = snapshot_list,
                                      .parser = selection_option_parse};
const struct argp hc_warm_argp = {.options = warm_list, .parser = selection_option_parse};
const struct argp hc_lease_argp = {.options = lease_list,
                                   .parser = selection_option_parse};
const struct argp hc_target_argp = {.options = target_list,
                                    .parser = selection_option_parse};
const struct argp hc_refused_argp = {.options = refused_list,
                                     .parser = refused_option_parse};
