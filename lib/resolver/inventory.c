/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of the inventory, with what the caller may resolve: the names of a page first,
 * which takes the cache root's directory alone, and then one repo after the other. A page
 * that has taken long ends early, so that a call is short however slow the volume is.
 */
#include "resolver.h"

#include <base/free_space.h>
#include <base/hash.h>
#include <base/parallel.h>
#include <base/text.h>
#include <cache/memo.h>
#include <cache/ref.h>
#include <cache/usage.h>
#include <cache/walk.h>
#include <claim/claim_record.h>
#include <hub/shared_query.h>
#include <maintenance/file_inventory.h>
#include <maintenance/inventory.h>
#include <maintenance/names_ahead.h>
#include <maintenance/page.h>
#include <policy/patterns.h>

#include <inttypes.h>
#include <string.h>

enum {
    PAGE_MS = 2000,
    PAGE_REVISIONS = 5000, /* a page ends when it has so many: about a mebibyte */
    LOOKS_MIN = 64,        /* at a repo without files, and more than it takes */
    SLOW_LOOK_US = 100
};

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

/* A request with its patterns compiled. */
struct repo_selection {
    struct hc_resolver *resolver;
    const struct hc_repos_request *request;
    struct hc_filter *filter;
};

static void repo_selection_release(struct repo_selection *selection)
{
    hc_filter_free(selection->filter);
}
HC_DEFINE_AUTO_VALUE(repo_selection, repo_selection_release)

static int repo_selection_open(struct repo_selection *selection,
                               struct hc_cancellation *cancellation, struct hc_error *err)
{
    const struct hc_repos_request *request = selection->request;
    const struct hc_patterns patterns = {.allow = request->repo_ids,
                                         .allow_count = request->repo_id_count};

    if (hc_patterns_check(&patterns, err) < 0)
        return -1;
    selection->filter = hc_filter_new(&patterns, cancellation, err);
    return selection->filter ? 0 : -1;
}

/* 1: the caller asks for it and may see it. */
static int repo_selection_has(const struct repo_selection *selection,
                              const struct hc_repo *repo, struct hc_error *err)
{
    const struct hc_repos_request *request = selection->request;
    int is_selected;

    if (!hc_repo_has_type(repo, request->repo_types, request->repo_type_count))
        return 0;
    is_selected = hc_filter_select(selection->filter, repo->id, err);
    if (is_selected <= 0)
        return is_selected;
    return hc_policy_may_see(&selection->resolver->policy, request->options.identity,
                             repo);
}

/* Collects the folders of the page. */
static int page_add_repos(const struct repo_selection *selection,
                          struct hc_cancellation *cancellation, struct hc_page *page,
                          struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(selection->resolver->cache);
    struct hc_repo repo;

    while (hc_walk_next_repo(&walk, &repo)) {
        int is_listed = hc_page_wants(page, repo.folder)
                            ? repo_selection_has(selection, &repo, err)
                            : 0;

        if (is_listed < 0 || (is_listed > 0 && hc_page_add(page, repo.folder, err) < 0))
            return -1;
    }
    if (walk.errnum != 0)
        return hc_fail_errno(err, walk.errnum, "read the cache root");
    hc_page_close(page);
    return hc_cancellation_check(cancellation, err);
}

/* A hc_usage_filter; what cannot be found out is left out. */
static bool repo_selection_lists(void *ctx, const struct hc_repo *repo)
{
    struct hc_error unused;

    return repo_selection_has(ctx, repo, &unused) == 1;
}

/* What one caller of hc_resolver_measure_usage() waits for. */
struct usage_measuring {
    struct repo_selection *selection;
    struct hc_cancellation *cancellation;
};

/* The `run` of a shared query. */
static int usage_scan(void *ctx, void *answer, struct hc_error *err)
{
    struct usage_measuring *measuring = ctx;
    const struct hc_usage_filter filter = {repo_selection_lists, measuring->selection};

    return hc_usage_list(measuring->selection->resolver->cache, &filter,
                         measuring->cancellation, answer, err);
}

/* The copy has no repos when memory is short. */
static void usage_copy(void *to, const void *from)
{
    const struct hc_usage *usage = from;
    struct hc_usage *copy = to;

    *copy = *usage;
    copy->repos = usage->repos ? calloc(usage->listed + 1, sizeof *copy->repos) : NULL;
    if (copy->repos)
        memcpy(copy->repos, usage->repos, usage->listed * sizeof *copy->repos);
}

static void usage_drop(void *answer)
{
    hc_usage_clear(answer);
}

/* Callers that select the same repos, and see all of these, share a scan. */
static int usage_measure(struct usage_measuring *measuring, struct hc_usage *usage,
                         struct hc_error *err)
{
    const struct hc_repos_request *request = measuring->selection->request;
    struct hc_resolver *resolver = measuring->selection->resolver;
    const struct hc_hub_credentials credentials = {.cancellation =
                                                       measuring->cancellation};
    char name[sizeof "usage of " + 16];
    const struct hc_shared_query query = {.name = name,
                                          .credentials = &credentials,
                                          .answer_size = sizeof *usage,
                                          .run = usage_scan,
                                          .ctx = measuring,
                                          .copy = usage_copy,
                                          .drop = usage_drop};

    if (!hc_policy_may_see_all(&resolver->policy, request->options.identity))
        return usage_scan(measuring, usage, err);
    (void)hc_format(name, sizeof name, "usage of %016" PRIx64,
                    repos_request_hash(request));
    if (hc_shared_query_run(&resolver->queries, &query, usage, err) < 0)
        return -1;
    return usage->listed > 0 && !usage->repos ? hc_fail_memory(err) : 0;
}

int hc_resolver_measure_usage(struct hc_resolver *resolver,
                              const struct hc_repos_request *request,
                              struct hc_cancellation *cancellation,
                              struct hc_usage *usage, struct hc_error *err)
{
    HC_AUTO_VALUE(repo_selection)
    selection = {.resolver = resolver, .request = request};
    struct usage_measuring measuring = {&selection, cancellation};

    *usage = (struct hc_usage){0};
    if (repo_selection_open(&selection, cancellation, err) < 0 ||
        usage_measure(&measuring, usage, err) < 0)
        return -1;
    hc_free_space_get_bounds(hc_cache_free_space(resolver->cache), &usage->limit_bytes,
                             &usage->floor_bytes);
    return 0;
}

/* ---- the page ---------------------------------------------------------------------- */

static struct hc_inventory inventory_of(struct hc_resolver *resolver,
                                        const struct hc_fetch_options *options,
                                        struct hc_cancellation *cancellation)
{
    return (struct hc_inventory){
        .cache = resolver->cache,
        .now_ms = hc_volume_now_ms(resolver->cache),
        .workers = resolver->inventory_workers,
        .is_slow = hc_memo_median_is_slow(hc_cache_memo(resolver->cache)),
        .cancellation = cancellation,
        .rules = &resolver->hold_rules,
        .policy = &resolver->policy,
        .identity = options->identity,
        .with_revisions = true,
    };
}

/* The repos of a page; those before `done` are read. */
struct page_reading {
    struct hc_inventory inventory;
    const struct hc_page *page;
    struct hc_cached_repo *items;
    size_t done, revisions;
};

/* The repo number `number` of those that come next; one that is gone stays zero. */
static int page_read_repo(void *ctx, size_t number, struct hc_error *err)
{
    const struct page_reading *reading = ctx;
    size_t at = reading->done + number;
    struct hc_repo repo;

    if (!hc_repo_parse_folder(&repo, reading->page->names[at]))
        return 0;
    return hc_inventory_read_repo(&reading->inventory, &repo, &reading->items[at], err) <
                   0
               ? -1
               : 0;
}

/* A volume that no hit has looked at yet is judged by how long this repo took. */
static void page_note_speed(struct page_reading *reading,
                            const struct hc_cached_repo *repo, int64_t took_ms)
{
    int64_t looks = 2 * (int64_t)repo->file_count + LOOKS_MIN;

    if (took_ms * 1000 > looks * SLOW_LOOK_US)
        reading->inventory.is_slow = true;
}

/* The next repo, or on a slow volume as many as threads can read side by side. */
static int page_read_next(struct page_reading *reading, struct hc_error *err)
{
    const struct hc_parallel side_by_side = {
        .workers = reading->inventory.workers,
        .run = page_read_repo,
        .ctx = reading,
        .cancellation = reading->inventory.cancellation,
    };
    int64_t start_ms = hc_monotonic_ms();
    size_t count = reading->page->count - reading->done;

    if (!reading->inventory.is_slow)
        count = 1;
    else if (count > HC_PARALLEL_MAX)
        count = HC_PARALLEL_MAX;
    if (count > 1 ? hc_parallel_run(&side_by_side, count, err) < 0
                  : page_read_repo(reading, 0, err) < 0)
        return -1;
    if (count == 1)
        page_note_speed(reading, &reading->items[reading->done],
                        hc_monotonic_ms() - start_ms);
    for (; count > 0; count--)
        reading->revisions += reading->items[reading->done++].revision_count;
    return 0;
}

/* Repos that have gone leave no gap. */
static void repos_close_gaps(struct hc_cached_repos *repos)
{
    size_t kept = 0;

    for (size_t i = 0; i < repos->count; i++) {
        if (repos->items[i].id[0])
            repos->items[kept++] = repos->items[i];
    }
    repos->count = kept;
}

/* -1 leaves what was read to the caller, which clears it. */
static int page_read_repos(struct page_reading *reading, struct hc_cached_repos *repos,
                           struct hc_error *err)
{
    int64_t end_ms = hc_monotonic_ms() + PAGE_MS;
    const struct hc_page *page = reading->page;

    repos->items = reading->items = calloc(page->count + 1, sizeof *repos->items);
    if (!repos->items)
        return hc_fail_memory(err);
    repos->count = page->count;
    while (reading->done < page->count && reading->revisions < PAGE_REVISIONS &&
           (reading->done == 0 || hc_monotonic_ms() < end_ms)) {
        if (page_read_next(reading, err) < 0)
            return -1;
    }
    repos_close_gaps(repos);
    if (reading->done == page->count && !page->has_more)
        return 0;
    repos->next_page_token = hc_page_token(page, reading->done - 1, err);
    return repos->next_page_token ? 0 : -1;
}

int hc_resolver_list_repos(struct hc_resolver *resolver,
                           const struct hc_repos_request *request,
                           struct hc_cancellation *cancellation,
                           struct hc_cached_repos *repos, struct hc_error *err)
{
    HC_AUTO_VALUE(repo_selection)
    selection = {.resolver = resolver, .request = request};
    HC_AUTO_VALUE(hc_page) page = {0};
    struct page_reading reading = {.inventory = inventory_of(resolver, &request->options,
                                                             cancellation),
                                   .page = &page};

    *repos = (struct hc_cached_repos){0};
    reading.inventory.with_revisions = request->with_revisions;
    if (hc_page_open(&page, repos_request_hash(request), request->page_token,
                     request->page_size, err) < 0 ||
        repo_selection_open(&selection, cancellation, err) < 0 ||
        page_add_repos(&selection, cancellation, &page, err) < 0)
        return -1;
    return page.count > 0 ? page_read_repos(&reading, repos, err) : 0;
}

/* ---- revisions and files of one repo ----------------------------------------------- */

static int repo_fail_absent(const struct hc_repo *repo, struct hc_error *err)
{
    return hc_fail(err, HC_NOT_CACHED, "the cache has no %s '%s'",
                   hc_repo_type_name(repo->type), repo->id);
}

/* The repo that a request names, if the caller may see it. */
static int repo_open(struct hc_resolver *resolver, const struct hc_target *target,
                     const struct hc_fetch_options *options, struct hc_repo *repo,
                     struct hc_error *err)
{
    if (hc_repo_init(repo, target->type, target->id, err) < 0)
        return -1;
    return hc_policy_may_see(&resolver->policy, options->identity, repo)
               ? 0
               : repo_fail_absent(repo, err);
}

static uint64_t repo_request_hash(const char *kind, const struct hc_repo *repo,
                                  const char *commit)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, kind, strlen(kind) + 1);

    hash = hc_hash_bytes(hash, repo->folder, strlen(repo->folder) + 1);
    return hc_hash_bytes(hash, commit, strlen(commit));
}

/* Moves the revisions of the page out of the repo. */
static int page_take_revisions(struct hc_page *page, struct hc_cached_repo *repo,
                               struct hc_cached_revisions *revisions,
                               struct hc_error *err)
{
    for (size_t i = 0; i < repo->revision_count; i++) {
        if (hc_page_add(page, repo->revisions[i].commit_hash, err) < 0)
            return -1;
    }
    hc_page_close(page);
    revisions->items = calloc(page->count + 1, sizeof *revisions->items);
    if (!revisions->items)
        return hc_fail_memory(err);
    for (size_t i = 0; i < repo->revision_count && revisions->count < page->count; i++) {
        struct hc_cached_revision *revision = &repo->revisions[i];

        if (strcmp(revision->commit_hash, page->names[revisions->count]) != 0)
            continue;
        revisions->items[revisions->count++] = *revision;
        *revision = (struct hc_cached_revision){0};
    }
    if (!page->has_more)
        return 0;
    revisions->next_page_token = hc_page_token(page, page->count - 1, err);
    return revisions->next_page_token ? 0 : -1;
}

int hc_resolver_list_revisions(struct hc_resolver *resolver,
                               const struct hc_revisions_request *request,
                               struct hc_cancellation *cancellation,
                               struct hc_cached_revisions *revisions,
                               struct hc_error *err)
{
    const struct hc_inventory inventory =
        inventory_of(resolver, &request->options, cancellation);
    HC_AUTO_VALUE(hc_page) page = {0};
    HC_AUTO_VALUE(hc_cached_repo) found = {0};
    struct hc_repo repo;
    int result;

    *revisions = (struct hc_cached_revisions){0};
    if (repo_open(resolver, &request->repo, &request->options, &repo, err) < 0 ||
        hc_page_open(&page, repo_request_hash("revisions", &repo, ""),
                     request->page_token, request->page_size, err) < 0)
        return -1;
    result = hc_inventory_read_repo(&inventory, &repo, &found, err);
    if (result <= 0)
        return result < 0 ? -1 : repo_fail_absent(&repo, err);
    return page_take_revisions(&page, &found, revisions, err);
}

/* The commit that the revision is, or that its ref names. */
static int revision_find(const struct hc_resolver *resolver, const struct hc_repo *repo,
                         const char *revision, char commit[HC_COMMIT_SIZE],
                         struct hc_error *err)
{
    int found;

    revision = revision && *revision ? revision : "main";
    found = hc_ref_find_commit(resolver->cache, repo, revision, commit, err);
    if (found == 0)
        return hc_fail(err, HC_NOT_CACHED,
                       "the cache has no revision '%.120s' of %s '%s'", revision,
                       hc_repo_type_name(repo->type), repo->id);
    return found < 0 ? -1 : 0;
}

/* Of the files that a page names, or may name: 1; 0: there is no such snapshot; -1. */
static int page_add_files(struct hc_resolver *resolver,
                          const struct hc_file_inventory *inventory, struct hc_page *page,
                          struct hc_error *err)
{
    int found = hc_names_ahead_find(resolver->files_ahead, page, err);

    if (found != 0)
        return found;
    found = hc_file_inventory_add_names(inventory, page, err);
    if (found == 1)
        hc_names_ahead_keep(resolver->files_ahead, page);
    return found;
}

int hc_resolver_list_files(struct hc_resolver *resolver,
                           const struct hc_cached_files_request *request,
                           struct hc_cancellation *cancellation,
                           struct hc_cached_files *files, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_page) page = {0};
    struct hc_repo repo;
    const struct hc_file_inventory inventory = {.cache = resolver->cache,
                                                .repo = &repo,
                                                .commit = files->commit_hash,
                                                .cancellation = cancellation};
    int result;

    *files = (struct hc_cached_files){0};
    if (repo_open(resolver, &request->repo, &request->options, &repo, err) < 0 ||
        revision_find(resolver, &repo, request->repo.revision, files->commit_hash, err) <
            0 ||
        hc_page_open(&page, repo_request_hash("files", &repo, files->commit_hash),
                     request->page_token, request->page_size, err) < 0)
        return -1;
    result = page_add_files(resolver, &inventory, &page, err);
    if (result == 0)
        result = hc_fail(err, HC_NOT_CACHED, "the cache has no snapshot %s of %s '%s'",
                         files->commit_hash, hc_repo_type_name(repo.type), repo.id);
    if (result < 0 || hc_file_inventory_read(&inventory, &page, files, err) < 0)
        return -1;
    if (!page.has_more)
        return 0;
    files->next_page_token = hc_page_token(&page, page.count - 1, err);
    return files->next_page_token ? 0 : -1;
}
