/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which commit a name means now, and what is in that commit. Many callers want to know
 * that at the same moment, when the ref of a branch has just become too old: one thread
 * asks, and the others wait for its answer (hub/shared_query.h). Before it asks, it reads
 * the cache again, because another thread or replica may just have written the answer;
 * and the answer is on disk before any waiter gets it, so a caller that comes later finds
 * it there. A tree is kept only when the Hub itself listed it.
 */
#include "resolution.h"

#include <cache/ref.h>
#include <cache/tree_cache.h>
#include <hub/shared_query.h>

#include <string.h>

/* ---- the commit of a name ---------------------------------------------------------- */

static int revision_read_or_ask(void *ctx, void *result, struct hc_error *err)
{
    struct hc_resolution *resolution = ctx;
    struct hc_revision *answer = result;
    char commit[HC_COMMIT_SIZE];
    int is_usable = hc_resolution_read_ref(resolution, commit, err);

    if (is_usable < 0)
        return -1;
    if (is_usable && commit[0]) {
        memcpy(answer->commit, commit, sizeof commit);
        return 0;
    }
    if (resolution->kind->ask_revision(resolution, answer, err) < 0)
        return -1;
    /* Another commit is written to the ref by the resolution that fetches its bytes, once
     * they are there. */
    if (commit[0] && strcmp(commit, answer->commit) == 0 && !answer->is_of_mirror)
        hc_ref_confirm(resolution->resolver->cache, &resolution->repo,
                       resolution->revision, commit);
    return 0;
}

int hc_resolution_share_revision(struct hc_resolution *resolution,
                                 struct hc_revision *answer, struct hc_error *err)
{
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(resolution, resolution->revision);
    HC_AUTO_FREE char *name = NULL;
    struct hc_shared_query query = {.credentials = &credentials,
                                    .answer_size = sizeof *answer,
                                    .run = revision_read_or_ask,
                                    .ctx = resolution};

    if (asprintf(&name, "%s@%s", resolution->repo.folder, resolution->revision) < 0) {
        name = NULL;
        return hc_fail_memory(err);
    }
    query.name = name;
    return hc_shared_query_run(&resolution->resolver->queries, &query, answer, err);
}

int hc_revision_ask(struct hc_resolution *resolution, struct hc_revision *answer,
                    struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_repo_file place = {.repo = &resolution->repo,
                                       .revision = resolution->revision};
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(resolution, resolution->revision);
    HC_AUTO_VALUE(hc_repo_info) info = {0};

    if (hc_hub_repo_info(resolver->hub, &place, &credentials, &info, err) < 0)
        return -1;
    *answer = info.revision;
    if (info.siblings && !answer->is_of_mirror)
        hc_tree_expect_names(resolver->cache, &resolution->repo, answer->commit,
                             info.siblings);
    hc_resolution_note_revision(resolution, answer);
    hc_resolution_note_repo(resolution, answer);
    return 0;
}

/* Sets the resolution's commit: from the ref if that is good enough, else from the
 * Hub. */
static int revision_find_commit(struct hc_resolution *resolution, struct hc_error *err)
{
    bool is_forced = resolution->options->force_download;
    struct hc_revision answer = {0};
    int is_usable = hc_resolution_read_ref(resolution, resolution->commit, err);

    if (is_usable < 0)
        return -1;
    if (resolution->is_commit || (is_usable && resolution->commit[0] && !is_forced))
        return 0;
    if (!is_forced && hc_resolution_share_revision(resolution, &answer, err) < 0)
        return -1;
    if (!answer.commit[0] && resolution->kind->ask_revision(resolution, &answer, err) < 0)
        return -1;
    hc_resolution_note_revision(resolution, &answer);
    memcpy(resolution->commit, answer.commit, HC_COMMIT_SIZE);
    return 0;
}

/* ---- the tree of the commit -------------------------------------------------------- */

/* A cached listing is not good enough. */
static bool tree_must_be_listed(const struct hc_resolution *resolution)
{
    return resolution->must_relist || resolution->options->force_download;
}

static void tree_answer_copy(void *to, const void *from)
{
    struct hc_tree *const *tree = from;

    *(struct hc_tree **)to = hc_tree_share(*tree);
}

static void tree_answer_drop(void *answer)
{
    hc_tree_free(*(struct hc_tree **)answer);
}

/*
 * The names of the commit's files: 0, and NULL when they are not known. What the Hub said
 * beside the commit is at hand; about a listing that has just come, and about an empty
 * one, the Hub is asked, because a page that went missing on the way leaves no other
 * trace. A Hub that cannot tell fails the empty one only.
 */
static int tree_expected_names(struct hc_resolution *resolution,
                               const struct hc_tree *tree, bool is_new,
                               struct hc_tree **names, struct hc_error *err)
{
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_repo_file place = {.repo = &resolution->repo,
                                       .revision = resolution->commit};
    struct hc_hub_credentials credentials =
        hc_resolution_credentials(resolution, resolution->commit);
    struct hc_repo_info info;

    *names =
        hc_tree_expected_names(resolver->cache, &resolution->repo, resolution->commit);
    if (*names || (tree->count > 0 && !is_new))
        return 0;
    credentials.no_retry = credentials.no_retry || tree->count > 0;
    if (hc_hub_repo_info(resolver->hub, &place, &credentials, &info, err) < 0)
        return tree->count > 0 ? 0 : -1;
    hc_resolution_note_repo(resolution, &info.revision);
    *names = info.siblings;
    return 0;
}

/* BAD_HUB_REPLY when the listing lacks a file that the Hub says is there. */
static int tree_check_names(struct hc_resolution *resolution, const struct hc_tree *tree,
                            bool is_new, struct hc_error *err)
{
    HC_AUTO(hc_tree) *names = NULL;
    char shown[128];

    if (tree_expected_names(resolution, tree, is_new, &names, err) < 0)
        return -1;
    for (size_t i = 0; names && i < names->count; i++) {
        const char *name = names->entries[i].path;

        if (hc_tree_find(tree, name))
            continue;
        hc_text_excerpt(shown, sizeof shown, name);
        return hc_fail(
            err, HC_BAD_HUB_REPLY,
            "the listing of %s '%s' at commit %.8s is incomplete: it has %zu "
            "files and lacks '%s', which the Hub says is there; try again, and "
            "check what is between here and the Hub",
            hc_repo_type_name(resolution->repo.type), resolution->repo.id,
            resolution->commit, tree->count, shown);
    }
    hc_tree_expect_names(resolution->resolver->cache, &resolution->repo,
                         resolution->commit, NULL);
    return 0;
}

/* The cached listing, unless it is known, or now shown, to be wrong: 1, 0, -1. */
static int tree_find_cached(struct hc_resolution *resolution, struct hc_tree **answer,
                            struct hc_error *err)
{
    const struct hc_cache *cache = resolution->resolver->cache;
    HC_AUTO(hc_tree) *tree = NULL;
    struct hc_error cause;
    int found = 0;

    if (!tree_must_be_listed(resolution))
        found = hc_tree_load(cache, &resolution->repo, resolution->commit,
                             resolution->cancellation, &tree, err);
    if (found <= 0)
        return found;
    if (tree_check_names(resolution, tree, false, &cause) < 0) {
        if (cause.reason == HC_BAD_HUB_REPLY)
            hc_tree_drop(cache, &resolution->repo, resolution->commit);
        return 0;
    }
    *answer = hc_take(&tree);
    return 1;
}

static int tree_find_or_list(void *ctx, void *answer, struct hc_error *err)
{
    struct hc_resolution *resolution = ctx;
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(resolution, resolution->commit);
    HC_AUTO(hc_tree) *tree = NULL;
    struct hc_error ignored;
    int found = tree_find_cached(resolution, answer, err);

    if (found != 0)
        return found < 0 ? -1 : 0;
    tree = hc_hub_tree(resolver->hub, &resolution->repo, resolution->commit, &credentials,
                       err);
    if (!tree || tree_check_names(resolution, tree, true, err) < 0)
        return -1;
    /*
     * If it cannot be saved, the next proof costs another listing, which is no reason to
     * fail now. A mirror's listing serves this answer and no later one.
     */
    if (!resolution->options->dry_run && !tree->is_of_mirror)
        (void)hc_tree_save(resolver->cache, &resolution->repo, resolution->commit, tree,
                           &ignored);
    *(struct hc_tree **)answer = hc_take(&tree);
    return 0;
}

/* Sets the resolution's tree. */
static int tree_find(struct hc_resolution *resolution, struct hc_error *err)
{
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(resolution, resolution->commit);
    char name[HC_REPO_FOLDER_MAX + 1 + HC_COMMIT_SIZE + 16];
    const struct hc_shared_query query = {.name = name,
                                          .credentials = &credentials,
                                          .answer_size = sizeof(struct hc_tree *),
                                          .run = tree_find_or_list,
                                          .ctx = resolution,
                                          .copy = tree_answer_copy,
                                          .drop = tree_answer_drop};

    /* A dry run does not save what it lists, and other callers want it saved; a caller
     * that lists anew does not want what other callers find in the cache. */
    if (hc_format(name, sizeof name, "%s/%s%s%s", resolution->repo.folder,
                  resolution->commit, resolution->options->dry_run ? " dry" : "",
                  tree_must_be_listed(resolution) ? " anew" : "") < 0)
        return hc_fail(err, HC_INTERNAL, "the repo's folder has too long a name");
    return hc_shared_query_run(&resolution->resolver->queries, &query, &resolution->tree,
                               err);
}

int hc_revision_describe(struct hc_resolution *resolution, struct hc_error *err)
{
    HC_AUTO(hc_tree) *before = hc_take(&resolution->tree);

    if (revision_find_commit(resolution, err) < 0 || tree_find(resolution, err) < 0)
        return -1;
    return before && hc_tree_equals(before, resolution->tree);
}
