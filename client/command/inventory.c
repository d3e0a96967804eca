/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list is fetched page by page, and printed when it is whole, because the table and the
 * order need all of it.
 */
#include "inventory.h"

#include "base/auto.h"
#include "base/error.h"
#include "client/cache_call.h"
#include "output.h"
#include "repo_spec.h"
#include "table.h"
#include "units.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef Hubcache__V1__CachedRepo cached_repo;
typedef Hubcache__V1__CachedRevision cached_revision;

struct ls_options {
    struct hc_cache_command base;
};

/* --- the list ----------------------------------------------------------------------- */

/* Pages of repos, which own their repos. */
struct repo_list {
    ProtobufCMessage **pages;
    size_t page_count;
    const cached_repo **repos; /* of the pages */
    size_t count;
};

static void repo_list_clear(struct repo_list *list)
{
    for (size_t i = 0; i < list->page_count; i++)
        protobuf_c_message_free_unpacked(list->pages[i], NULL);
    free(list->pages);
    free(list->repos);
}
HC_DEFINE_AUTO_VALUE(repo_list, repo_list_clear)

/* Takes `page` over. */
static int repo_list_add(struct repo_list *list, ProtobufCMessage *page,
                         struct hc_error *err)
{
    const Hubcache__V1__ListReposResponse *response = (const void *)page;
    ProtobufCMessage **pages =
        reallocarray(list->pages, list->page_count + 1, sizeof(*pages));
    const cached_repo **repos;

    if (!pages) {
        protobuf_c_message_free_unpacked(page, NULL);
        return hc_fail_memory(err);
    }
    list->pages = pages;
    pages[list->page_count++] = page;
    repos = reallocarray(list->repos, list->count + response->n_repos + 1, sizeof *repos);
    if (!repos)
        return hc_fail_memory(err);
    list->repos = repos;
    for (size_t i = 0; i < response->n_repos; i++)
        repos[list->count++] = response->repos[i];
    return 0;
}

/* All pages of what `request` asks for. */
static int repo_list_fetch(struct hc_client *client,
                           Hubcache__V1__ListReposRequest *request,
                           struct repo_list *list, struct hc_error *err)
{
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("ListRepos"),
        .message = &request->base,
        .response = &hubcache__v1__list_repos_response__descriptor,
    };

    do {
        ProtobufCMessage *page = hc_cache_call(client, &call, err);

        if (!page || repo_list_add(list, page, err) < 0)
            return -1;
        request->page_token =
            ((const Hubcache__V1__ListReposResponse *)page)->next_page_token;
    } while (request->page_token[0] != '\0');
    return 0;
}

/* --- the output --------------------------------------------------------------------- */

static const char *completeness_word(Hubcache__V1__Completeness completeness)
{
    switch (completeness) {
    case HUBCACHE__V1__COMPLETENESS__COMPLETENESS_COMPLETE:
        return "complete";
    case HUBCACHE__V1__COMPLETENESS__COMPLETENESS_PARTIAL:
        return "partial";
    default:
        return "unknown";
    }
}

static json_t *json_of_time(const Google__Protobuf__Timestamp *when)
{
    char text[HC_UNITS_TEXT_MAX];

    hc_time_format(text, when);
    return text[0] ? json_string(text) : json_null();
}

static json_t *json_of_refs(const cached_revision *revision)
{
    json_t *refs = json_array();

    for (size_t i = 0; i < revision->n_refs; i++)
        (void)json_array_append_new(refs, json_string(revision->refs[i]));
    return refs;
}

static json_t *json_of_revisions(const cached_repo *repo)
{
    json_t *revisions = json_array();

    for (size_t i = 0; i < repo->n_revisions; i++) {
        const cached_revision *revision = repo->revisions[i];

        (void)json_array_append_new(
            revisions,
            json_pack("{ss so ss sI sI sI sb}", "commit_hash", revision->commit_hash,
                      "refs", json_of_refs(revision), "completeness",
                      completeness_word(revision->completeness), "size_bytes",
                      (json_int_t)revision->size_bytes, "file_count",
                      (json_int_t)revision->file_count, "leases",
                      (json_int_t)revision->leases, "pinned", (int)revision->pinned));
    }
    return revisions;
}

static int list_print_json(const struct repo_list *list, struct hc_error *err)
{
    json_t *repos = json_array();
    json_t *whole;
    char *text;

    for (size_t i = 0; i < list->count; i++) {
        const cached_repo *repo = list->repos[i];
        const char *type = hc_repo_type_name((enum hc_repo_type)repo->repo_type);

        (void)json_array_append_new(
            repos, json_pack("{ss ss sI so so}", "repo_id", repo->repo_id, "repo_type",
                             type ? type : "", "size_bytes", (json_int_t)repo->size_bytes,
                             "last_used", json_of_time(repo->last_used), "revisions",
                             json_of_revisions(repo)));
    }
    whole = json_pack("{so}", "repos", repos);
    text = whole ? json_dumps(whole, 0) : NULL;
    json_decref(whole);
    return hc_output_print_json(text, err);
}

static int list_print_table(const struct repo_list *list, struct hc_error *err)
{
    static const char *const columns[] = {"ID", ">SIZE", "LAST_USED", "LAST_MODIFIED",
                                          NULL};
    HC_AUTO_VALUE(hc_table) table = {.columns = columns};
    char id[256], text[HC_UNITS_TEXT_MAX];
    int64_t now_s = (int64_t)time(NULL);
    int result = 0;

    for (size_t i = 0; result == 0 && i < list->count; i++) {
        const cached_repo *repo = list->repos[i];

        hc_repo_spec_format((enum hc_repo_type)repo->repo_type, repo->repo_id, id);
        result = hc_table_add(&table, id, err);
        hc_bytes_format(text, repo->size_bytes);
        result = result == 0 ? hc_table_add(&table, text, err) : -1;
        hc_age_format(text, repo->last_used, now_s);
        result = result == 0 ? hc_table_add(&table, text, err) : -1;
        hc_age_format(text, repo->last_modified, now_s);
        result = result == 0 ? hc_table_add(&table, text, err) : -1;
    }
    if (result < 0)
        return -1;
    hc_table_print(&table);
    return hc_output_flush(err);
}

static int ls_run(struct hc_client *client, void *input, struct hc_error *err)
{
    const struct ls_options *options = input;
    HC_AUTO_VALUE(repo_list) list = {0};
    Hubcache__V1__ListReposRequest request;

    hubcache__v1__list_repos_request__init(&request);
    request.with_revisions = true;
    if (repo_list_fetch(client, &request, &list, err) < 0)
        return -1;
    return options->base.common->json ? list_print_json(&list, err)
                                      : list_print_table(&list, err);
}

static const struct argp_child ls_children[] = {HC_COMMON_OPTIONS};

const struct hc_subcommand hc_ls_command = {
    .name = "ls",
    .arguments = "[REPO...]",
    .summary = "Lists the repos of the cache.",
    .children = ls_children,
    .options_size = sizeof(struct ls_options),
    .run_cache = ls_run,
};
