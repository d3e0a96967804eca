/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which commit a name means now, and what is in it: what many callers want to know at the
 * same moment, when a branch has just become too old. One of them asks; before it does it
 * looks at the disk again, for another may just have heard, and what it hears is on disk
 * before anybody is told. So whoever comes later finds it there.
 */
#include "hub_resolution.h"

#include <cache/ref.h>
#include <cache/tree_file.h>
#include <hub/shared_query.h>

#include <string.h>

/* ---- the commit of a name ----------------------------------------------------------
 */

struct hub_query {
    struct hc_hub_resolution *hub_resolution;
    const struct hc_revision_query *revision_query;
    const char *commit; /* whose tree is wanted */
};

static int revision_reread_or_ask(void *ctx, void *result, struct hc_error *err)
{
    const struct hub_query *query = ctx;
    const struct hc_resolution *resolution = query->hub_resolution->resolution;
    struct hc_revision *answer = result;
    struct hc_local_ref local_ref;
    struct hc_error ignored;

    if (hc_resolution_reread_ref(query->hub_resolution, &local_ref, err) < 0)
        return -1;
    if (local_ref.is_usable && local_ref.commit[0]) {
        memcpy(answer->commit, local_ref.commit, sizeof local_ref.commit);
        return 0;
    }
    if (query->revision_query->ask(query->revision_query->ctx, answer, err) < 0)
        return -1;
    /* Another commit is noted by those who bring its bytes, when they are there. */
    if (local_ref.commit[0] && strcmp(local_ref.commit, answer->commit) == 0 &&
        !answer->is_of_mirror)
        (void)hc_ref_update(resolution->resolver->cache, &resolution->repo,
                            resolution->revision, local_ref.commit, &ignored);
    return 0;
}

int hc_resolution_query_revision(struct hc_hub_resolution *hub_resolution,
                                 const struct hc_revision_query *ask,
                                 struct hc_revision *answer, struct hc_error *err)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(hub_resolution, resolution->revision);
    HC_AUTO_FREE char *name = NULL;
    struct hub_query query = {.hub_resolution = hub_resolution, .revision_query = ask};
    struct hc_shared_query question = {.credentials = &credentials,
                                       .answer_size = sizeof *answer,
                                       .ask = revision_reread_or_ask,
                                       .ctx = &query};

    if (asprintf(&name, "%s@%s", resolution->repo.folder, resolution->revision) < 0) {
        name = NULL;
        return hc_fail_memory(err);
    }
    question.name = name;
    return hc_shared_queries_run(resolution->resolver->questions, &question, answer, err);
}

static int revision_ask_hub(void *ctx, struct hc_revision *answer, struct hc_error *err)
{
    struct hc_hub_resolution *hub_resolution = ctx;
    const struct hc_resolution *resolution = hub_resolution->resolution;
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(hub_resolution, resolution->revision);
    const struct hc_repo_file place = {.repo = &resolution->repo,
                                       .revision = resolution->revision};
    HC_AUTO_VALUE(hc_repo_info) description = {0};

    if (hc_hub_repo_info(resolution->resolver->hub, &place, &credentials, &description,
                         err) < 0)
        return -1;
    *answer = description.revision;
    if (description.siblings && !answer->is_of_mirror)
        hc_tree_expect_names(resolution->resolver->cache, &resolution->repo,
                             answer->commit, description.siblings);
    hc_resolution_note_revision(hub_resolution, answer);
    hc_resolution_note_repo(hub_resolution, answer);
    return 0;
}

static int revision_get_commit(struct hc_hub_resolution *hub_resolution,
                               char commit[HC_COMMIT_SIZE], struct hc_error *err)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    const struct hc_revision_query by_revision = {revision_ask_hub, hub_resolution};
    bool is_forced = resolution->options->force_download;
    struct hc_revision answer = {0};
    struct hc_local_ref local_ref;

    if (hc_resolution_reread_ref(hub_resolution, &local_ref, err) < 0)
        return -1;
    memcpy(commit, local_ref.commit, HC_COMMIT_SIZE);
    if (resolution->is_commit || (local_ref.is_usable && commit[0] && !is_forced))
        return 0;
    if (!is_forced &&
        hc_resolution_query_revision(hub_resolution, &by_revision, &answer, err) < 0)
        return -1;
    if (!answer.commit[0] && revision_ask_hub(hub_resolution, &answer, err) < 0)
        return -1;
    hc_resolution_note_revision(hub_resolution, &answer);
    memcpy(commit, answer.commit, HC_COMMIT_SIZE);
    return 0;
}

/* ---- the tree of a commit ----------------------------------------------------------
 */

/* A listing from disk is not good enough. */
static bool tree_must_be_listed(const struct hc_hub_resolution *hub_resolution)
{
    return hub_resolution->must_relist ||
           hub_resolution->resolution->options->force_download;
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
 * beside the commit is at hand; of a listing that has just come, and of an empty one, the
 * Hub is asked, for a page that went missing on the way leaves no other trace. A Hub that
 * cannot tell fails the empty one only.
 */
static int tree_expected_names(const struct hub_query *query, const struct hc_tree *tree,
                               bool is_new, struct hc_tree **names, struct hc_error *err)
{
    const struct hc_resolution *resolution = query->hub_resolution->resolution;
    const struct hc_repo_file place = {.repo = &resolution->repo,
                                       .revision = query->commit};
    struct hc_hub_credentials credentials =
        hc_resolution_credentials(query->hub_resolution, query->commit);
    struct hc_repo_info description;

    *names = hc_tree_expected_names(resolution->resolver->cache, &resolution->repo,
                                    query->commit);
    if (*names || (tree->count > 0 && !is_new))
        return 0;
    credentials.no_retry = credentials.no_retry || tree->count > 0;
    if (hc_hub_repo_info(resolution->resolver->hub, &place, &credentials, &description,
                         err) < 0)
        return tree->count > 0 ? 0 : -1;
    *names = description.siblings;
    return 0;
}

/* BAD_HUB_REPLY when the listing lacks a file that the Hub says is there. */
static int tree_check_names(const struct hub_query *query, const struct hc_tree *tree,
                            bool is_new, struct hc_error *err)
{
    const struct hc_resolution *resolution = query->hub_resolution->resolution;
    HC_AUTO(hc_tree) *names = NULL;
    char shown[128];

    if (tree_expected_names(query, tree, is_new, &names, err) < 0)
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
            hc_repo_type_name(resolution->repo.type), resolution->repo.id, query->commit,
            tree->count, shown);
    }
    hc_tree_expect_names(resolution->resolver->cache, &resolution->repo, query->commit,
                         NULL);
    return 0;
}

/* The listing on disk, unless it is known, or now shown, to be wrong: 1, 0, -1. */
static int tree_find_cached(const struct hub_query *query, struct hc_tree **answer,
                            struct hc_error *err)
{
    const struct hc_resolution *resolution = query->hub_resolution->resolution;
    const struct hc_cache *cache = resolution->resolver->cache;
    HC_AUTO(hc_tree) *tree = NULL;
    struct hc_error cause;
    int found = 0;

    if (!tree_must_be_listed(query->hub_resolution))
        found = hc_tree_load(cache, &resolution->repo, query->commit, &tree, err);
    if (found <= 0)
        return found;
    if (tree_check_names(query, tree, false, &cause) < 0) {
        if (cause.reason == HC_BAD_HUB_REPLY)
            hc_tree_drop(cache, &resolution->repo, query->commit);
        return 0;
    }
    *answer = hc_take(&tree);
    return 1;
}

static int tree_find_or_list(void *ctx, void *answer, struct hc_error *err)
{
    const struct hub_query *query = ctx;
    const struct hc_resolution *resolution = query->hub_resolution->resolution;
    const struct hc_resolver *resolver = resolution->resolver;
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(query->hub_resolution, query->commit);
    HC_AUTO(hc_tree) *tree = NULL;
    struct hc_error ignored;
    int found = tree_find_cached(query, answer, err);

    if (found != 0)
        return found < 0 ? -1 : 0;
    tree =
        hc_hub_tree(resolver->hub, &resolution->repo, query->commit, &credentials, err);
    if (!tree || tree_check_names(query, tree, true, err) < 0)
        return -1;
    /*
     * Without it the next proof costs a listing again: no reason to fail now. A mirror's
     * word is good for this answer, and not for all that come later.
     */
    if (!resolution->options->dry_run && !tree->is_of_mirror)
        (void)hc_tree_save(resolver->cache, &resolution->repo, query->commit, tree,
                           &ignored);
    *(struct hc_tree **)answer = hc_take(&tree);
    return 0;
}

static struct hc_tree *tree_get(struct hc_hub_resolution *hub_resolution,
                                const char *commit, struct hc_error *err)
{
    const struct hc_resolution *resolution = hub_resolution->resolution;
    const struct hc_hub_credentials credentials =
        hc_resolution_credentials(hub_resolution, commit);
    char name[HC_REPO_FOLDER_MAX + 1 + HC_COMMIT_SIZE + 16];
    struct hub_query query = {.hub_resolution = hub_resolution, .commit = commit};
    const struct hc_shared_query question = {.name = name,
                                             .credentials = &credentials,
                                             .answer_size = sizeof(struct hc_tree *),
                                             .ask = tree_find_or_list,
                                             .ctx = &query,
                                             .copy = tree_answer_copy,
                                             .drop = tree_answer_drop};
    HC_AUTO(hc_tree) *tree = NULL;

    /* What a dry run lists is not kept, and others want it kept; and who lists anew does
     * not want what others find on disk. */
    if (hc_format(name, sizeof name, "%s/%s%s%s", resolution->repo.folder, commit,
                  resolution->options->dry_run ? " dry" : "",
                  tree_must_be_listed(hub_resolution) ? " anew" : "") < 0) {
        (void)hc_fail(err, HC_INTERNAL, "the repo's folder has too long a name");
        return NULL;
    }
    if (hc_shared_queries_run(resolution->resolver->questions, &question, &tree, err) < 0)
        return NULL;
    return hc_take(&tree);
}

struct hc_tree *hc_resolution_get_tree(struct hc_hub_resolution *hub_resolution,
                                       char commit[HC_COMMIT_SIZE], struct hc_error *err)
{
    if (revision_get_commit(hub_resolution, commit, err) < 0)
        return NULL;
    return tree_get(hub_resolution, commit, err);
}
