/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk over the blobs of a repo.
 */
#include "inventory.h"

#include <base/file.h>
#include <base/text.h>
#include <cache/walk.h>

#include <sys/stat.h>

static void repo_add_blob(struct hc_cached_repo *found, const struct stat *status)
{
    int64_t used_ms = hc_file_time_ms(&status->st_atim);
    int64_t modified_ms = hc_file_time_ms(&status->st_mtim);

    found->size_bytes += (uint64_t)status->st_size;
    found->file_count++;
    if (found->last_used_ms < used_ms)
        found->last_used_ms = used_ms;
    if (found->last_modified_ms < modified_ms)
        found->last_modified_ms = modified_ms;
}

int hc_inventory_read_repo(const struct hc_cache *cache, const struct hc_repo *repo,
                           struct hc_cancellation *cancellation,
                           struct hc_cached_repo *found, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_blobs(cache, repo);
    struct stat status;

    *found = (struct hc_cached_repo){.type = repo->type};
    (void)hc_format(found->id, sizeof found->id, "%s", repo->id);
    (void)hc_format(found->cache_path, sizeof found->cache_path, "%s", repo->folder);
    while (hc_directory_walk_next(&walk)) {
        if (fstatat(walk.dir, walk.name, &status, 0) == 0 && S_ISREG(status.st_mode))
            repo_add_blob(found, &status);
        if (hc_cancellation_check(cancellation, err) < 0)
            return -1;
    }
    return 1;
}

static void revision_clear(struct hc_cached_revision *revision)
{
    while (revision->ref_count > 0)
        free(revision->refs[--revision->ref_count]);
    free(revision->refs);
}

void hc_cached_repo_clear(struct hc_cached_repo *repo)
{
    for (size_t i = 0; i < repo->revision_count; i++)
        revision_clear(&repo->revisions[i]);
    free(repo->revisions);
    free(repo->warning);
    *repo = (struct hc_cached_repo){0};
}

void hc_cached_repos_clear(struct hc_cached_repos *repos)
{
    for (size_t i = 0; i < repos->count; i++)
        hc_cached_repo_clear(&repos->items[i]);
    free(repos->items);
    free(repos->next_page_token);
    *repos = (struct hc_cached_repos){0};
}
