/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without --yes the command asks for a dry run first, shows what it says, and asks the
 * person. What is evicted then may be another set: it was decided a moment later.
 */
#include "eviction.h"

#include "base/auto.h"
#include "base/error.h"
#include "base/text.h"
#include "client/cache_call.h"
#include "confirmation.h"
#include "output.h"
#include "repo_spec.h"
#include "table.h"
#include "units.h"

#include <jansson.h>
#include <stdio.h>
#include <time.h>

enum { KEY_DRY_RUN = 1024, COMMIT_SHOWN = 12, QUESTION_MAX = 256 };

typedef Hubcache__V1__EvictResponse evict_response;

struct evict_options {
    struct hc_cache_command base;
    bool is_dry_run, is_agreed;
};

/* --- the output --------------------------------------------------------------------- */

static const char *held_by_word(Hubcache__V1__HeldBy held_by)
{
    static const char *const words[] = {"",         "lease",   "pin",      "keep",
                                        "transfer", "failure", "retention"};

    return (size_t)held_by < sizeof words / sizeof *words ? words[held_by] : "unknown";
}

static json_t *json_of_text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

static json_t *json_of_removed(const evict_response *response)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < response->n_removed; i++) {
        const Hubcache__V1__Removed *row = response->removed[i];
        const char *type = hc_repo_type_name((enum hc_repo_type)row->repo_type);
        char used[HC_UNITS_TEXT_MAX];

        hc_time_format(used, row->last_used);
        (void)json_array_append_new(
            rows, json_pack("{ss ss so sI so ss}", "repo_id", row->repo_id, "repo_type",
                            type ? type : "", "commit_hash",
                            json_of_text_or_null(row->commit_hash), "freed_bytes",
                            (json_int_t)row->freed_bytes, "last_used",
                            json_of_text_or_null(used), "detail", row->detail));
    }
    return rows;
}

static json_t *json_of_kept(const evict_response *response)
{
    json_t *rows = json_array();

    for (size_t i = 0; i < response->n_kept; i++) {
        const Hubcache__V1__Kept *row = response->kept[i];
        const char *type = hc_repo_type_name((enum hc_repo_type)row->repo_type);

        (void)json_array_append_new(
            rows, json_pack("{ss ss ss ss ss}", "repo_id", row->repo_id, "repo_type",
                            type ? type : "", "commit_hash", row->commit_hash, "held_by",
                            held_by_word(row->held_by), "detail", row->detail));
    }
    return rows;
}

static int evict_print_json(const evict_response *response, bool is_dry_run,
                            struct hc_error *err)
{
    json_t *whole =
        json_pack("{so so sI sI sb}", "removed", json_of_removed(response), "kept",
                  json_of_kept(response), "freed_bytes",
                  (json_int_t)response->freed_bytes, "missing_bytes",
                  (json_int_t)response->missing_bytes, "dry_run", (int)is_dry_run);
    char *text = whole ? json_dumps(whole, 0) : NULL;

    json_decref(whole);
    return hc_output_print_json(text, err);
}

static int row_add(struct hc_table *table, const char *const cells[],
                   struct hc_error *err)
{
    for (size_t i = 0; table->columns[i]; i++) {
        if (hc_table_add(table, cells[i], err) < 0)
            return -1;
    }
    return 0;
}

static int print_removed(const evict_response *response, struct hc_error *err)
{
    static const char *const columns[] = {"ID",        "REVISION", ">FREED",
                                          "LAST_USED", "WHY",      NULL};
    HC_AUTO_VALUE(hc_table) table = {.columns = columns};
    int64_t now_s = (int64_t)time(NULL);

    for (size_t i = 0; i < response->n_removed; i++) {
        const Hubcache__V1__Removed *row = response->removed[i];
        char id[256], commit[COMMIT_SHOWN + 1], freed[HC_UNITS_TEXT_MAX],
            used[HC_UNITS_TEXT_MAX];

        hc_repo_spec_format((enum hc_repo_type)row->repo_type, row->repo_id, id);
        (void)hc_format(commit, sizeof commit, "%.*s", COMMIT_SHOWN, row->commit_hash);
        hc_bytes_format(freed, row->freed_bytes);
        hc_age_format(used, row->last_used, now_s);
        if (row_add(&table, (const char *const[]){id, commit, freed, used, row->detail},
                    err) < 0)
            return -1;
    }
    hc_table_print(&table);
    return 0;
}

static int print_kept(const evict_response *response, struct hc_error *err)
{
    static const char *const columns[] = {"KEPT", "REVISION", "HELD_BY", "DETAIL", NULL};
    HC_AUTO_VALUE(hc_table) table = {.columns = columns};

    if (response->n_kept == 0)
        return 0;
    for (size_t i = 0; i < response->n_kept; i++) {
        const Hubcache__V1__Kept *row = response->kept[i];
        char id[256], commit[COMMIT_SHOWN + 1];

        hc_repo_spec_format((enum hc_repo_type)row->repo_type, row->repo_id, id);
        (void)hc_format(commit, sizeof commit, "%.*s", COMMIT_SHOWN, row->commit_hash);
        if (row_add(&table,
                    (const char *const[]){id, commit, held_by_word(row->held_by),
                                          row->detail},
                    err) < 0)
            return -1;
    }
    (void)putchar('\n');
    hc_table_print(&table);
    return 0;
}

/* "Would free 1.5 GB." */
static int evict_print(const evict_response *response, const char *verb,
                       struct hc_error *err)
{
    char freed[HC_UNITS_TEXT_MAX], missing[HC_UNITS_TEXT_MAX];

    if (response->n_removed > 0 && print_removed(response, err) < 0)
        return -1;
    if (print_kept(response, err) < 0)
        return -1;
    hc_bytes_format(freed, response->freed_bytes);
    hc_bytes_format(missing, response->missing_bytes);
    (void)printf("%s %s.\n", verb, freed);
    if (response->missing_bytes > 0)
        (void)printf("%s are missing: all else is in use.\n", missing);
    return hc_output_flush(err);
}

/* --- the calls ---------------------------------------------------------------------- */

static ProtobufCMessage *evict_call(struct hc_client *client, uint64_t bytes,
                                    bool is_dry_run, struct hc_error *err)
{
    Hubcache__V1__EvictRequest request;
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("Evict"),
        .message = &request.base,
        .response = &hubcache__v1__evict_response__descriptor,
    };

    hubcache__v1__evict_request__init(&request);
    request.bytes = bytes;
    request.dry_run = is_dry_run;
    return hc_cache_call(client, &call, err);
}

static int evict_ask_person(const evict_response *plan, struct hc_error *err)
{
    char question[QUESTION_MAX], freed[HC_UNITS_TEXT_MAX];

    hc_bytes_format(freed, plan->freed_bytes);
    (void)hc_format(question, sizeof question, "Evict %zu entries, %s?", plan->n_removed,
                    freed);
    return hc_confirm(question, err);
}

/* 1: the person agrees; 0: there is nothing to agree to. */
static int evict_preview(struct hc_client *client, uint64_t bytes, struct hc_error *err)
{
    HC_AUTO_MESSAGE *answer = evict_call(client, bytes, true, err);
    const evict_response *plan = (const void *)answer;

    if (!plan || evict_print(plan, "Would free", err) < 0)
        return -1;
    if (plan->n_removed == 0)
        return 0;
    return evict_ask_person(plan, err) < 0 ? -1 : 1;
}

static int evict_parse_size(const struct evict_options *options, uint64_t *bytes,
                            struct hc_error *err)
{
    const char *text =
        options->base.argument_count > 0 ? options->base.arguments[0] : NULL;

    *bytes = 0;
    if (!text || (hc_bytes_parse(text, bytes) == 0 && *bytes > 0))
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "bytes",
                         "'%s' is no size such as 500M or 20GB", text);
}

static int evict_run(struct hc_client *client, void *input, struct hc_error *err)
{
    const struct evict_options *options = input;
    uint64_t bytes;
    int agreed = 1;

    if (evict_parse_size(options, &bytes, err) < 0)
        return -1;
    if (!options->is_dry_run && !options->is_agreed)
        agreed = evict_preview(client, bytes, err);
    if (agreed <= 0)
        return agreed;

    HC_AUTO_MESSAGE *answer = evict_call(client, bytes, options->is_dry_run, err);
    const evict_response *response = (const void *)answer;

    if (!response)
        return -1;
    if (options->base.common->json)
        return evict_print_json(response, options->is_dry_run, err);
    return evict_print(response, options->is_dry_run ? "Would free" : "Freed", err);
}

static error_t evict_option_parse(int key, char *arg, struct argp_state *state)
{
    struct evict_options *options = state->input;

    (void)arg;
    switch (key) {
    case KEY_DRY_RUN:
        options->is_dry_run = true;
        return 0;
    case 'y':
        options->is_agreed = true;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option evict_list[] = {
    {"dry-run", KEY_DRY_RUN, NULL, 0, "Only tell what would go, and what is held", 0},
    {"yes", 'y', NULL, 0, "Do not ask", 0},
    {0},
};
static const struct argp evict_argp = {.options = evict_list,
                                       .parser = evict_option_parse};
static const struct argp_child evict_children[] = {{&evict_argp, 0, NULL, 0},
                                                   HC_COMMON_OPTIONS};

const struct hc_subcommand hc_evict_command = {
    .name = "evict",
    .arguments = "[SIZE]",
    .summary = "Makes room in the cache: removes what was used least recently, and "
               "nothing that is in use. Without SIZE as much as the limit asks for.",
    .children = evict_children,
    .arguments_max = 1,
    .options_size = sizeof(struct evict_options),
    .run_cache = evict_run,
};
