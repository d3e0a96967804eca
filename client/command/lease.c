/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first argument says what to do: `ls` lists leases, page by page, `renew` and
 * `release` take ids. With --json each prints one object.
 */
#include "lease.h"

#include "base/auto.h"
#include "base/text.h"
#include "client/cache_call.h"
#include "output.h"
#include "repo_spec.h"
#include "table.h"
#include "units.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { KEY_MINE = 768, KEY_FOR };
enum { RENEWAL_DEFAULT_MS = 3600 * 1000, CELL_SIZE = 320 };

struct lease_options {
    struct hc_cache_command base;
    struct hc_client_repo repo; /* type and revision, if the argument has none */
    bool mine;
    int64_t duration_ms; /* 0: RENEWAL_DEFAULT_MS */
};

void hc_lease_print_note(const char *lease_id)
{
    char note[CELL_SIZE + 32];

    if (lease_id && lease_id[0] && hc_format(note, sizeof note, "lease %s", lease_id) > 0)
        hc_output_print_note(note);
}

/* --- ls ----------------------------------------------------------------------------- */

static json_t *json_of_lease(const Hubcache__V1__Lease *lease)
{
    char since[HC_UNITS_TEXT_MAX], until[HC_UNITS_TEXT_MAX];
    const char *type = hc_repo_type_name((enum hc_repo_type)lease->repo_type);

    hc_time_format(since, lease->since);
    hc_time_format(until, lease->until);
    return json_pack("{ss ss ss ss ss ss ss ss}", "lease_id", lease->lease_id, "repo_id",
                     lease->repo_id, "repo_type", type ? type : "", "commit_hash",
                     lease->commit_hash, "caller", lease->caller, "pod", lease->pod,
                     "since", since, "until", until);
}

/* "in 59 minutes": until when a lease is held. */
static void left_format(char text[HC_UNITS_TEXT_MAX],
                        const Google__Protobuf__Timestamp *until)
{
    int64_t left_s = until ? until->seconds - (int64_t)time(NULL) : 0;

    if (left_s < 0)
        left_s = 0;
    if (left_s < 120)
        (void)hc_format(text, HC_UNITS_TEXT_MAX, "%ds", (int)left_s);
    else if (left_s < 7200)
        (void)hc_format(text, HC_UNITS_TEXT_MAX, "%dm", (int)(left_s / 60));
    else
        (void)hc_format(text, HC_UNITS_TEXT_MAX, "%dh", (int)(left_s / 3600));
}

static int table_add_lease(struct hc_table *table, const Hubcache__V1__Lease *lease,
                           struct hc_error *err)
{
    char repo[256], commit[16], since[HC_UNITS_TEXT_MAX], left[HC_UNITS_TEXT_MAX];
    const char *const cells[] = {repo,  commit, lease->caller,  lease->pod,
                                 since, left,   lease->lease_id};

    hc_repo_spec_format((enum hc_repo_type)lease->repo_type, lease->repo_id, repo);
    (void)snprintf(commit, sizeof commit, "%.8s", lease->commit_hash);
    hc_age_format(since, lease->since, (int64_t)time(NULL));
    left_format(left, lease->until);
    for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
        if (hc_table_add(table, cells[i][0] ? cells[i] : "-", err) < 0)
            return -1;
    }
    return 0;
}

/* What is listed, of all pages. */
struct lease_output {
    bool is_json;
    json_t *array;
    struct hc_table table;
};

static int output_add_page(struct lease_output *output,
                           const Hubcache__V1__ListLeasesResponse *page,
                           struct hc_error *err)
{
    for (size_t i = 0; i < page->n_leases; i++) {
        if (output->is_json &&
            json_array_append_new(output->array, json_of_lease(page->leases[i])) < 0)
            return hc_fail_memory(err);
        if (!output->is_json && table_add_lease(&output->table, page->leases[i], err) < 0)
            return -1;
    }
    return 0;
}

static int output_print(struct lease_output *output, struct hc_error *err)
{
    if (!output->is_json) {
        hc_table_print(&output->table);
        return hc_output_flush(err);
    }

    json_t *object = json_pack("{sO}", "leases", output->array);
    char *line = object ? json_dumps(object, 0) : NULL;

    json_decref(object);
    return hc_output_print_json(line, err);
}

static int lease_list_all(struct hc_client *client,
                          Hubcache__V1__ListLeasesRequest *request,
                          struct lease_output *output, struct hc_error *err)
{
    char token[CELL_SIZE * 2] = "";
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("ListLeases"),
        .message = &request->base,
        .response = &hubcache__v1__list_leases_response__descriptor,
    };

    do {
        HC_AUTO_MESSAGE *answer = NULL;
        const Hubcache__V1__ListLeasesResponse *page;

        request->page_token = token;
        answer = hc_cache_call(client, &call, err);
        page = (const void *)answer;
        if (!answer || output_add_page(output, page, err) < 0)
            return -1;
        if (hc_format(token, sizeof token, "%s", page->next_page_token) < 0)
            return hc_fail(err, HC_INTERNAL, "the server's page token is too long");
    } while (token[0]);
    return output_print(output, err);
}

static int lease_ls(struct hc_client *client, const struct lease_options *options,
                    struct hc_error *err)
{
    static const char *const columns[] = {"REPO",  "COMMIT", "CALLER",   "POD",
                                          "SINCE", ">LEFT",  "LEASE_ID", NULL};
    const struct hc_cache_command *base = &options->base;
    struct lease_output output = {.is_json = base->common->json,
                                  .table = {.columns = columns}};
    Hubcache__V1__ListLeasesRequest request;
    struct hc_repo_spec spec;
    int result;

    hubcache__v1__list_leases_request__init(&request);
    request.mine = options->mine;
    if (base->argument_count > 2)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "repo_id",
                             "one repo at a time: '%.200s' is too much",
                             base->arguments[2]);
    if (base->argument_count == 2) {
        if (hc_repo_spec_parse(base->arguments[1], &options->repo, &spec, err) < 0)
            return -1;
        request.repo_id = spec.id;
        request.repo_type = (Hubcache__V1__RepoType)spec.type;
        request.revision = spec.revision;
    }
    output.array = json_array();
    result = output.array ? lease_list_all(client, &request, &output, err)
                          : hc_fail_memory(err);
    json_decref(output.array);
    hc_table_clear(&output.table);
    return result;
}

/* --- renew and release -------------------------------------------------------------- */

static int lease_print_done(const struct lease_options *options, const char *key,
                            struct hc_error *err)
{
    const struct hc_cache_command *base = &options->base;
    json_t *array, *object;
    char *line;

    if (!base->common->json)
        return 0;
    array = json_array();
    for (size_t i = 1; array && i < base->argument_count; i++)
        (void)json_array_append_new(array, json_string(base->arguments[i]));
    object = array ? json_pack("{so}", key, array) : NULL;
    line = object ? json_dumps(object, 0) : NULL;
    json_decref(object);
    return hc_output_print_json(line, err);
}

/* The failure of the command is the first one; the others are notes. */
static int lease_change_each(struct hc_client *client,
                             const struct lease_options *options, bool is_renewal,
                             struct hc_error *err)
{
    int64_t duration_ms =
        options->duration_ms ? options->duration_ms : RENEWAL_DEFAULT_MS;
    size_t failed = 0;

    for (size_t i = 1; i < options->base.argument_count; i++) {
        const char *id = options->base.arguments[i];
        struct hc_error failure;

        if ((is_renewal ? hc_client_renew_lease(client, id, duration_ms, &failure)
                        : hc_client_release_lease(client, id, &failure)) == 0)
            continue;
        if (failed++ == 0)
            *err = failure;
        else
            hc_output_print_note(failure.message);
    }
    return failed > 0
               ? -1
               : lease_print_done(options, is_renewal ? "renewed" : "released", err);
}

/* --- the command -------------------------------------------------------------------- */

static int lease_run(struct hc_client *client, void *input, struct hc_error *err)
{
    const struct lease_options *options = input;
    const char *action = options->base.arguments[0];

    if (strcmp(action, "ls") == 0)
        return lease_ls(client, options, err);
    if (strcmp(action, "renew") != 0 && strcmp(action, "release") != 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "action",
                             "'%.40s' is none of ls, renew and release", action);
    if (options->base.argument_count < 2)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "lease_id",
                             "the id of a lease is missing; `hubcache lease ls` and "
                             "--json of `hubcache snapshot` show it");
    return lease_change_each(client, options, strcmp(action, "renew") == 0, err);
}

static error_t lease_option_parse(int key, char *arg, struct argp_state *state)
{
    struct lease_options *options = state->input;

    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &options->repo;
        return 0;
    case KEY_MINE:
        options->mine = true;
        return 0;
    case KEY_FOR:
        options->duration_ms = hc_command_duration(state, arg);
        if (options->duration_ms == 0)
            hc_command_refuse(state, "a lease is for more than no time");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option lease_list[] = {
    {"mine", KEY_MINE, NULL, 0, "ls: only leases of this caller", 0},
    {"for", KEY_FOR, "DURATION", 0, "renew: from now on, such as 30m; by default 1h", 0},
    {0},
};

static const struct argp_child repo_children[] = {{&hc_repo_argp, 0, NULL, 0}, {0}};

static const struct argp lease_command_argp = {.options = lease_list,
                                               .parser = lease_option_parse,
                                               .children = repo_children};

static const struct argp_child lease_children[] = {{&lease_command_argp, 0, NULL, 0},
                                                   HC_COMMON_OPTIONS};

const struct hc_subcommand hc_lease_command = {
    .name = "lease",
    .arguments = "ls [REPO[@REVISION]]\nrenew ID...\nrelease ID...",
    .summary = "Lists leases (which caller uses which snapshot until when), gives some a "
               "new end, or ends them.",
    .children = lease_children,
    .arguments_min = 1,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct lease_options),
    .run_cache = lease_run,
};
