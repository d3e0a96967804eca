/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of the inventory, with what the caller may resolve: the names of a page first,
 * which takes the cache root's directory alone, and then one repo after the other. A page
 * that has taken long ends early, so that a call is short however slow the volume is.
 */
#include "resolver.h"

#include <base/hash.h>
#include <cache/walk.h>
#include <claim/claim_record.h>
#include <maintenance/inventory.h>
#include <maintenance/page.h>
#include <policy/patterns.h>

#include <string.h>

enum { PAGE_MS = 2000 };

/* ---- which repos ------------------------------------------------------------------- */

/* Patterns and types, of which a page token may have only the same. */
static uint64_t repos_request_hash(const struct hc_repos_request *request)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, "repos", sizeof "repos");

    for (size_t i = 0; i < request->repo_id_count; i++)
        hash =
            hc_hash_bytes(hash, request->repo_ids[i], strlen(request->repo_ids[i]) + 1);
    return hc_hash_bytes(hash, request->repo_types,
                         request->repo_type_count * sizeof *request->repo_types);
}

static bool repos_request_has_type(const struct hc_repos_request *request,
                                   enum hc_repo_type type)
{
    for (size_t i = 0; i < request->repo_type_count; i++) {
        enum hc_repo_type wanted = request->repo_types[i];

        if (type == (wanted == HC_REPO_DEFAULT ? HC_REPO_MODEL : wanted))
            return true;
    }
    return request->repo_type_count == 0;
}

/* 1: the caller asks for it and may have it. */
static int repo_is_listed(struct hc_resolver *resolver,
                          const struct hc_repos_request *request,
                          struct hc_filter *filter, const struct hc_repo *repo,
                          struct hc_error *err)
{
    int is_selected;

    if (!repos_request_has_type(request, repo->type))
        return 0;
    is_selected = hc_filter_select(filter, repo->id, err);
    if (is_selected <= 0)
        return is_selected;
    return hc_policy_may_see(&resolver->policy, request->options.identity, repo);
}

/* Collects the folders of the page. */
static int page_add_repos(struct hc_resolver *resolver,
                          const struct hc_repos_request *request,
                          struct hc_cancellation *cancellation, struct hc_page *page,
                          struct hc_error *err)
{
    const struct hc_patterns patterns = {.allow = request->repo_ids,
                                         .allow_count = request->repo_id_count};
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(resolver->cache);
    HC_AUTO(hc_filter) *filter = NULL;
    struct hc_repo repo;

    if (hc_patterns_check(&patterns, err) < 0)
        return -1;
    filter = hc_filter_new(&patterns, cancellation, err);
    if (!filter)
        return -1;
    while (hc_walk_next_repo(&walk, &repo)) {
        int is_listed = hc_page_wants(page, repo.folder)
                            ? repo_is_listed(resolver, request, filter, &repo, err)
                            : 0;

        if (is_listed < 0 || (is_listed > 0 && hc_page_add(page, repo.folder, err) < 0))
            return -1;
    }
    if (walk.errnum != 0)
        return hc_fail_errno(err, walk.errnum, "read the cache root");
    hc_page_close(page);
    return hc_cancellation_check(cancellation, err);
}

/* ---- the page ---------------------------------------------------------------------- */

static int page_read_repos(const struct hc_inventory *inventory,
                           const struct hc_page *page, struct hc_cached_repos *repos,
                           struct hc_error *err)
{
    int64_t end_ms = hc_monotonic_ms() + PAGE_MS;
    size_t done = 0;

    for (; done < page->count && (done == 0 || hc_monotonic_ms() < end_ms); done++) {
        struct hc_cached_repo *item = &repos->items[repos->count];
        struct hc_repo repo;
        int found;

        if (!hc_repo_parse_folder(&repo, page->names[done]))
            continue;
        found = hc_inventory_read_repo(inventory, &repo, item, err);
        if (found < 0)
            return -1;
        repos->count += (size_t)found;
    }
    if (done < page->count || page->has_more) {
        repos->next_page_token = hc_page_token(page, done - 1, err);
        return repos->next_page_token ? 0 : -1;
    }
    return 0;
}

int hc_resolver_list_repos(struct hc_resolver *resolver,
                           const struct hc_repos_request *request,
                           struct hc_cancellation *cancellation,
                           struct hc_cached_repos *repos, struct hc_error *err)
{
    const struct hc_inventory inventory = {.cache = resolver->cache,
                                           .now_ms = hc_volume_now_ms(resolver->cache),
                                           .workers = resolver->inventory_workers,
                                           .cancellation = cancellation,
                                           .with_revisions = request->with_revisions};
    HC_AUTO_VALUE(hc_page) page = {0};

    *repos = (struct hc_cached_repos){0};
    if (hc_page_open(&page, repos_request_hash(request), request->page_token,
                     request->page_size, err) < 0 ||
        page_add_repos(resolver, request, cancellation, &page, err) < 0)
        return -1;
    if (page.count == 0)
        return 0;
    repos->items = calloc(page.count, sizeof *repos->items);
    if (!repos->items)
        return hc_fail_memory(err);
    return page_read_repos(&inventory, &page, repos, err);
}
