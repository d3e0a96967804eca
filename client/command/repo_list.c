/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each page is kept as it was received; the list points into the pages. Of a repo with
 * more revisions than a page has room for, the rest is fetched by itself.
 */
#include "repo_list.h"

#include "base/error.h"
#include "base/text.h"
#include "repo_spec.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_SIZE = 128 };

/* Moves the revisions of a page that are not there yet to the repo. */
static int repo_add_revisions(Hubcache__V1__CachedRepo *repo,
                              Hubcache__V1__ListRevisionsResponse *page,
                              struct hc_error *err)
{
    Hubcache__V1__CachedRevision **revisions =
        reallocarray(repo->revisions, repo->n_revisions + page->n_revisions + 1,
                     sizeof *revisions);

    if (!revisions)
        return hc_fail_memory(err);
    repo->revisions = revisions;
    for (size_t i = 0; i < page->n_revisions; i++) {
        size_t count = repo->n_revisions;

        if (count > 0 && strcmp(page->revisions[i]->commit_hash,
                                revisions[count - 1]->commit_hash) <= 0)
            continue;
        revisions[repo->n_revisions++] = page->revisions[i];
        page->revisions[i] = NULL;
    }
    return 0;
}

static int repo_fetch_revisions(struct hc_client *client, Hubcache__V1__CachedRepo *repo,
                                struct hc_error *err)
{
    Hubcache__V1__ListRevisionsRequest request;
    char token[TOKEN_SIZE] = "";
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("ListRevisions"),
        .message = &request.base,
        .response = &hubcache__v1__list_revisions_response__descriptor,
    };

    hubcache__v1__list_revisions_request__init(&request);
    request.repo_id = repo->repo_id;
    request.repo_type = repo->repo_type;
    request.page_token = token;
    do {
        HC_AUTO_MESSAGE *answer = hc_cache_call(client, &call, err);
        Hubcache__V1__ListRevisionsResponse *page = (void *)answer;

        if (!page || repo_add_revisions(repo, page, err) < 0)
            return -1;
        if (hc_format(token, sizeof token, "%s", page->next_page_token) < 0)
            return hc_fail(err, HC_INTERNAL, "the server's page token is too long");
    } while (token[0] != '\0');
    return 0;
}

/* Takes `page` over. */
static int list_add(struct hc_repo_list *list, ProtobufCMessage *page,
                    struct hc_error *err)
{
    const Hubcache__V1__ListReposResponse *response = (const void *)page;
    ProtobufCMessage **pages =
        reallocarray(list->pages, list->page_count + 1, sizeof *pages);
    const Hubcache__V1__CachedRepo **repos;

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

int hc_repo_list_fetch(struct hc_client *client, Hubcache__V1__ListReposRequest *request,
                       struct hc_repo_list *list, struct hc_error *err)
{
    const struct hc_channel_request call = {
        .method = HC_CACHE_METHOD("ListRepos"),
        .message = &request->base,
        .response = &hubcache__v1__list_repos_response__descriptor,
    };

    do {
        Hubcache__V1__ListReposResponse *page = (void *)hc_cache_call(client, &call, err);

        if (!page || list_add(list, &page->base, err) < 0)
            return -1;
        for (size_t i = 0; i < page->n_repos; i++) {
            Hubcache__V1__CachedRepo *repo = page->repos[i];

            if (repo->n_revisions < repo->revisions_total &&
                repo_fetch_revisions(client, repo, err) < 0)
                return -1;
        }
        request->page_token = page->next_page_token;
    } while (request->page_token[0] != '\0');
    return 0;
}

void hc_repo_list_clear(struct hc_repo_list *list)
{
    for (size_t i = 0; i < list->page_count; i++)
        protobuf_c_message_free_unpacked(list->pages[i], NULL);
    free(list->pages);
    free(list->repos);
    *list = (struct hc_repo_list){0};
}

bool hc_repo_list_find_other_type(struct hc_client *client, const char *text,
                                  char name[256])
{
    HC_AUTO_VALUE(hc_repo_list) list = {0};
    Hubcache__V1__ListReposRequest request;
    struct hc_repo_spec spec;
    char *id = spec.id;
    struct hc_error unused;

    hubcache__v1__list_repos_request__init(&request);
    request.repo_ids = &id;
    request.n_repo_ids = 1;
    if (hc_repo_spec_parse(text, NULL, &spec, &unused) < 0 ||
        hc_repo_list_fetch(client, &request, &list, &unused) < 0)
        return false;
    for (size_t i = 0; i < list.count; i++) {
        if ((int)list.repos[i]->repo_type == (int)spec.type)
            return false;
        hc_repo_spec_format((enum hc_repo_type)list.repos[i]->repo_type, spec.id, name);
    }
    return list.count > 0;
}

struct hc_repo_entry *hc_repo_list_entries(const struct hc_repo_list *list,
                                           bool has_revisions, size_t *count,
                                           struct hc_error *err)
{
    struct hc_repo_entry *entries;
    size_t room = 1;

    for (size_t i = 0; i < list->count; i++)
        room += has_revisions ? list->repos[i]->n_revisions : 1;
    entries = calloc(room, sizeof *entries);
    if (!entries) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    *count = 0;
    for (size_t i = 0; i < list->count; i++) {
        const Hubcache__V1__CachedRepo *repo = list->repos[i];

        if (!has_revisions)
            entries[(*count)++] = (struct hc_repo_entry){.repo = repo};
        for (size_t j = 0; has_revisions && j < repo->n_revisions; j++)
            entries[(*count)++] = (struct hc_repo_entry){repo, repo->revisions[j]};
    }
    return entries;
}
