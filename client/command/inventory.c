/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `ls` fetches its list page by page, and prints it when it is whole, because the table
 * and the order need all of it. Repos that are named on the command line are asked for by
 * their ids; types and revisions are compared here.
 */
#include "inventory.h"

#include "base/auto.h"
#include "base/error.h"
#include "client/cache_call.h"
#include "inventory_output.h"
#include "output.h"
#include "repo_filter.h"
#include "repo_list.h"
#include "repo_spec.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FILTERS_MAX = 32 };

enum { KEY_SORT = 256, KEY_LIMIT, KEY_REVISIONS, KEY_FILES, KEY_WARN, KEY_BY };

struct ls_options {
    struct hc_cache_command base;
    struct hc_repo_filter filters[FILTERS_MAX];
    size_t filter_count;
    struct hc_repo_order order;
    bool has_order, has_limit, has_revisions, has_files, is_quiet, shows_warnings;
    size_t limit;
};

/* --- repos that are named ----------------------------------------------------------- */

static bool spec_has_repo(const struct hc_repo_spec *spec,
                          const Hubcache__V1__CachedRepo *repo)
{
    return (int)spec->type == (int)repo->repo_type &&
           strcmp(spec->id, repo->repo_id) == 0;
}

/* No revision in the spec is every one. */
static bool spec_has_revision(const struct hc_repo_spec *spec,
                              const Hubcache__V1__CachedRevision *revision)
{
    if (!spec->revision[0] || strcmp(spec->revision, revision->commit_hash) == 0)
        return true;
    for (size_t i = 0; i < revision->n_refs; i++) {
        if (strcmp(revision->refs[i], spec->revision) == 0)
            return true;
    }
    return false;
}

static bool spec_has_entry(const struct hc_repo_spec *spec,
                           const struct hc_repo_entry *entry)
{
    if (!spec_has_repo(spec, entry->repo))
        return false;
    if (entry->revision)
        return spec_has_revision(spec, entry->revision);
    for (size_t i = 0; i < entry->repo->n_revisions; i++) {
        if (spec_has_revision(spec, entry->repo->revisions[i]))
            return true;
    }
    return !spec->revision[0];
}

static bool spec_list_has(const struct hc_repo_specs *specs,
                          const struct hc_repo_entry *entry)
{
    for (size_t i = 0; i < specs->count; i++) {
        if (spec_has_entry(&specs->items[i], entry))
            return true;
    }
    return specs->count == 0;
}

/* -1, NOT_CACHED: one of them is not among the entries. */
static int spec_list_check(const struct hc_repo_specs *specs,
                           const struct hc_repo_entry *entries, size_t count,
                           struct hc_error *err)
{
    for (size_t i = 0; i < specs->count; i++) {
        const struct hc_repo_spec *spec = &specs->items[i];
        bool is_found = false;

        for (size_t j = 0; j < count && !is_found; j++)
            is_found = spec_has_entry(spec, &entries[j]);
        if (!is_found)
            return hc_fail(err, HC_NOT_CACHED, "the cache has no %s '%s'%s%.100s",
                           hc_repo_type_name(spec->type), spec->id,
                           spec->revision[0] ? " at revision " : "", spec->revision);
    }
    return 0;
}

/* --- ls ----------------------------------------------------------------------------- */

/* Keeps what is asked for, in the order that is asked for; returns how many. */
static size_t ls_select(const struct ls_options *options,
                        const struct hc_repo_specs *specs, struct hc_repo_entry *entries,
                        size_t count)
{
    int64_t now_s = (int64_t)time(NULL);
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        bool is_wanted = spec_list_has(specs, &entries[i]);

        for (size_t j = 0; is_wanted && j < options->filter_count; j++)
            is_wanted = hc_repo_filter_matches(&options->filters[j], &entries[i], now_s);
        if (is_wanted)
            entries[kept++] = entries[i];
    }
    if (options->has_order)
        hc_repo_order_sort(&options->order, entries, kept);
    return options->has_limit && kept > options->limit ? options->limit : kept;
}

static int ls_print(const struct ls_options *options, const struct hc_repo_entry *entries,
                    size_t count, struct hc_error *err)
{
    if (options->base.common->json)
        return hc_inventory_print_json(entries, count, err);
    if (options->is_quiet)
        return hc_inventory_print_names(entries, count, err);
    return hc_inventory_print_table(entries, count, options->has_revisions, err);
}

static void ls_note_warnings(const struct ls_options *options,
                             const struct hc_repo_list *list)
{
    char note[640];
    size_t count = 0;

    for (size_t i = 0; i < list->count; i++) {
        const char *warning = list->repos[i]->warning;

        if (!*warning)
            continue;
        count++;
        (void)snprintf(note, sizeof note, "%s", warning);
        if (options->shows_warnings)
            hc_output_print_note(note);
    }
    if (count == 0 || options->shows_warnings)
        return;
    (void)snprintf(note, sizeof note,
                   "%zu repo(s) that the Hub's own clients call corrupt and leave out: "
                   "--show-warnings says why",
                   count);
    hc_output_print_note(note);
}

/* The files of the one revision that is named. */
static int ls_files(struct hc_client *client, const struct ls_options *options,
                    const struct hc_repo_specs *specs, struct hc_error *err)
{
    Hubcache__V1__ListFilesRequest request;
    const struct hc_file_style style = {.is_json = options->base.common->json,
                                        .is_quiet = options->is_quiet};

    if (specs->count != 1)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "files",
                             "--files needs one repo: hubcache ls REPO[@REV] --files");
    hubcache__v1__list_files_request__init(&request);
    request.repo_id = specs->items[0].id;
    request.repo_type = (Hubcache__V1__RepoType)specs->items[0].type;
    request.revision = specs->items[0].revision;
    return hc_inventory_print_files(client, &request, &style, err);
}

static int ls_repos(struct hc_client *client, const struct ls_options *options,
                    const struct hc_repo_specs *specs, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_repo_list) list = {0};
    HC_AUTO_FREE struct hc_repo_entry *entries = NULL;
    Hubcache__V1__ListReposRequest request;
    size_t count;

    hubcache__v1__list_repos_request__init(&request);
    request.with_revisions = true;
    request.repo_ids = specs->ids;
    request.n_repo_ids = specs->count;
    if (hc_repo_list_fetch(client, &request, &list, err) < 0)
        return -1;
    entries = hc_repo_list_entries(&list, options->has_revisions, &count, err);
    if (!entries || spec_list_check(specs, entries, count, err) < 0)
        return -1;
    count = ls_select(options, specs, entries, count);
    ls_note_warnings(options, &list);
    return ls_print(options, entries, count, err);
}

static int ls_run(struct hc_client *client, void *input, struct hc_error *err)
{
    const struct ls_options *options = input;
    HC_AUTO_VALUE(hc_repo_specs) specs = {0};

    if (hc_repo_specs_parse(&specs, options->base.arguments, options->base.argument_count,
                            NULL, err) < 0)
        return -1;
    return options->has_files ? ls_files(client, options, &specs, err)
                              : ls_repos(client, options, &specs, err);
}

/* --- its options -------------------------------------------------------------------- */

static void ls_add_filter(struct ls_options *options, const struct argp_state *state,
                          const char *text)
{
    const char *flaw;

    if (options->filter_count == FILTERS_MAX)
        hc_command_refuse(state, "more than %d filters", FILTERS_MAX);
    if (hc_repo_filter_parse(text, &options->filters[options->filter_count++], &flaw) < 0)
        hc_command_refuse(state, "'%s' is no filter: %s", text, flaw);
}

static void ls_set_limit(struct ls_options *options, const struct argp_state *state,
                         const char *text)
{
    char *end;

    options->has_limit = true;
    options->limit = strtoul(text, &end, 10);
    if (text[strspn(text, "0123456789")] != '\0' || end == text)
        hc_command_refuse(state, "'%s' is no number of entries", text);
}

static error_t ls_option_parse(int key, char *arg, struct argp_state *state)
{
    struct ls_options *options = state->input;

    switch (key) {
    case 'f':
        ls_add_filter(options, state, arg);
        return 0;
    case 'q':
        options->is_quiet = true;
        return 0;
    case KEY_REVISIONS:
        options->has_revisions = true;
        return 0;
    case KEY_FILES:
        options->has_files = true;
        return 0;
    case KEY_WARN:
        options->shows_warnings = true;
        return 0;
    case KEY_LIMIT:
        ls_set_limit(options, state, arg);
        return 0;
    case KEY_SORT:
        options->has_order = true;
        if (!hc_repo_order_parse(arg, &options->order))
            hc_command_refuse(state,
                              "'%s' is no order: write name, size, accessed or modified, "
                              "and perhaps :asc or :desc after it",
                              arg);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option ls_argp_options[] = {
    {"revisions", KEY_REVISIONS, NULL, 0, "List revisions, not repos", 0},
    {"files", KEY_FILES, NULL, 0,
     "List the files of one revision of REPO: that of @REV, else of main", 0},
    {"filter", 'f', "EXPRESSION", 0,
     "Only what matches, such as 'size>1GB', 'accessed>7d', 'modified<1h', 'type=model', "
     "'refs=main', 'completeness=partial', 'pinned=true', 'leases>0'; may be repeated",
     0},
    {"sort", KEY_SORT, "KEY", 0,
     "Sort by name, size, accessed or modified, with :asc or :desc (sizes and times: the "
     "largest and newest first)",
     0},
    {"limit", KEY_LIMIT, "N", 0, "The first N only", 0},
    {"quiet", 'q', NULL, 0, "Only names, or commits with --revisions, one a line", 0},
    {"show-warnings", KEY_WARN, NULL, 0,
     "Say what the Hub's own clients call corrupt, and why", 0},
    {0},
};

static const struct argp ls_argp = {.options = ls_argp_options,
                                    .parser = ls_option_parse};

static const struct argp_child ls_children[] = {{&ls_argp, 0, NULL, 0},
                                                {&hc_refused_argp, 0, NULL, 0},
                                                HC_COMMON_OPTIONS};

const struct hc_subcommand hc_ls_command = {
    .name = "ls",
    .arguments = "[REPO[@REV]...]",
    .summary =
        "Lists the repos of the cache, or those that are named, with sizes, last "
        "use and refs. REPO is org/name for a model, or dataset/org/name and so on.",
    .children = ls_children,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct ls_options),
    .run_cache = ls_run,
};

/* --- du ----------------------------------------------------------------------------- */

struct du_options {
    struct hc_cache_command base;
    enum hc_usage_key key;
};

static error_t du_option_parse(int key, char *arg, struct argp_state *state)
{
    struct du_options *options = state->input;

    if (key != KEY_BY)
        return ARGP_ERR_UNKNOWN;
    if (!hc_usage_key_parse(arg, &options->key))
        hc_command_refuse(state, "'%s' is no key: write repo, caller or rule", arg);
    return 0;
}

static const struct argp_option du_argp_options[] = {
    {"by", KEY_BY, "KEY", 0,
     "By repo, caller or rule of the policy (default: repo). The last two count what was "
     "fetched for them, and need the right to administer every repo; without it, caller "
     "shows the one that asks",
     0},
    {0},
};

static const struct argp du_argp = {.options = du_argp_options,
                                    .parser = du_option_parse};

/* Leaves out repos of other types that have the same id. */
static size_t du_select(const struct hc_repo_specs *specs, Hubcache__V1__Usage **rows,
                        size_t count)
{
    char name[256];
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        bool is_wanted = specs->count == 0;

        for (size_t j = 0; j < specs->count && !is_wanted; j++) {
            hc_repo_spec_format(specs->items[j].type, specs->items[j].id, name);
            is_wanted = strcmp(rows[i]->name, name) == 0;
        }
        if (is_wanted)
            rows[kept++] = rows[i];
    }
    return kept;
}

static int du_run(struct hc_client *client, void *input, struct hc_error *err)
{
    const struct du_options *options = input;
    const struct hc_cache_command *line = &options->base;
    HC_AUTO_VALUE(hc_repo_specs) specs = {0};
    Hubcache__V1__GetUsageRequest request;
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("GetUsage"),
        .message = &request.base,
        .response = &hubcache__v1__get_usage_response__descriptor,
    };
    HC_AUTO_MESSAGE *answer = NULL;
    const Hubcache__V1__GetUsageResponse *usage;
    size_t count;

    if (hc_repo_specs_parse(&specs, line->arguments, line->argument_count, NULL, err) < 0)
        return -1;
    if (specs.count > 0 && options->key != HC_USAGE_BY_REPO)
        return hc_fail(err, HC_INVALID_OPTIONS,
                       "callers and rules are counted over all repos: name none of them");
    hubcache__v1__get_usage_request__init(&request);
    request.repo_ids = specs.ids;
    request.n_repo_ids = specs.count;
    answer = hc_cache_call(client, &call, err);
    if (!answer)
        return -1;
    usage = (const void *)answer;
    count = du_select(&specs, usage->repos, usage->n_repos);
    if (count < specs.count)
        return hc_fail(err, HC_NOT_CACHED,
                       specs.count == 1 ? "the cache has no such repo"
                                        : "the cache lacks %zu of these %zu repos",
                       specs.count - count, specs.count);
    if (line->common->json)
        return hc_inventory_print_usage_json(usage, count, err);
    return options->key == HC_USAGE_BY_REPO
               ? hc_inventory_print_usage(usage, count, err)
               : hc_inventory_print_fetched(usage, options->key, err);
}

static const struct argp_child du_children[] = {{&du_argp, 0, NULL, 0},
                                                HC_COMMON_OPTIONS};

const struct hc_subcommand hc_du_command = {
    .name = "du",
    .arguments = "[REPO...]",
    .summary = "Says how much room the cache takes on the volume: by repo, the largest "
               "first, and in all, where a blob that repos share counts once; or what "
               "each caller has had fetched, or by which rule.",
    .children = du_children,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct du_options),
    .run_cache = du_run,
};
