/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree comes in pages; each names the next in its Link header. All pages are asked of
 * the endpoint that gave the first one, and a page that was seen before ends the walk
 * with an error.
 */
#include "listing.h"

#include "mirror.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <jansson.h>
#include <string.h>

static void release(json_t **value)
{
    json_decref(*value);
}

#define HC_AUTO_JSON __attribute__((cleanup(release))) json_t

static json_t *load(const char *bytes, size_t count, struct hc_error *err)
{
    json_error_t cause;
    json_t *root = json_loadb(bytes, count, 0, &cause);

    if (!root)
        (void)hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's answer is no JSON: line %d",
                      cause.line);
    return root;
}

/* Copies a string member; "" when it is absent or too long for the hash it should be. */
static void copy_hash(const json_t *object, const char *name, char *hash, size_t size)
{
    const char *text = json_string_value(json_object_get(object, name));

    (void)hc_format(hash, size, "%s", text ? text : "");
}

static bool read_size(const json_t *object, uint64_t *size)
{
    const json_t *value = json_object_get(object, "size");

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *size = (uint64_t)json_integer_value(value);
    return true;
}

static int add_file(const json_t *row, struct hc_tree *tree, struct hc_error *err)
{
    const char *path = json_string_value(json_object_get(row, "path"));
    const json_t *lfs = json_object_get(row, "lfs");
    HC_AUTO_FREE char *copy = NULL;
    struct hc_entry entry = {0};

    if (!path || !read_size(row, &entry.size))
        return hc_fail(err, HC_BAD_HUB_REPLY, "a file listed has no path or no size");
    copy_hash(row, "oid", entry.blob_id, sizeof entry.blob_id);
    copy_hash(row, "xetHash", entry.xet_hash, sizeof entry.xet_hash);
    if (json_is_object(lfs)) {
        copy_hash(lfs, "oid", entry.lfs_sha256, sizeof entry.lfs_sha256);
        if (!entry.lfs_sha256[0] || !read_size(lfs, &entry.lfs_size))
            return hc_fail(err, HC_BAD_HUB_REPLY,
                           "an LFS file listed has no hash or size");
    }
    copy = hc_text_copy(path, err);
    entry.path = copy;
    return copy ? hc_tree_add(tree, &entry, err) : -1;
}

int hc_listing_parse(const char *bytes, size_t count, struct hc_tree *tree,
                     struct hc_error *err)
{
    HC_AUTO_JSON *root = load(bytes, count, err);
    const json_t *row;
    size_t i;

    if (!root)
        return -1;
    if (!json_is_array(root))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's listing is no array");
    json_array_foreach(root, i, row)
    {
        const char *type = json_string_value(json_object_get(row, "type"));

        if (!type || strcmp(type, "file") != 0)
            continue;
        if (tree->count >= HC_TREE_ENTRIES_MAX)
            return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub lists more than %d files",
                           HC_TREE_ENTRIES_MAX);
        if (add_file(row, tree, err) < 0)
            return -1;
    }
    return 0;
}

/* "gated" is false, or a text that says how access is given. */
static bool is_restricted(const json_t *root)
{
    const json_t *gated = json_object_get(root, "gated");

    return json_is_true(json_object_get(root, "private")) ||
           (gated && !json_is_false(gated) && !json_is_null(gated));
}

int hc_listing_revision(const char *bytes, size_t count, struct hc_revision *revision,
                        struct hc_error *err)
{
    HC_AUTO_JSON *root = load(bytes, count, err);
    const char *sha = json_string_value(json_object_get(root, "sha"));

    if (!root)
        return -1;
    if (!sha || !hc_commit_is_valid(sha))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's answer names no commit");
    *revision = (struct hc_revision){.is_restricted = is_restricted(root)};
    memcpy(revision->commit, sha, HC_COMMIT_SIZE);
    return 0;
}

/* 1: ask->request.url is the next page; 0: there is none; -1. `seen` is an earlier page.
 */
static int turn_page(struct hc_ask *ask, const char *seen, struct hc_error *err)
{
    int more = hc_ask_next_page(ask, err);

    if (more > 0 && strcmp(ask->request.url, seen) == 0)
        return hc_fail(err, HC_BAD_HUB_REPLY, "its pages go round in a circle");
    return more;
}

/*
 * One page after the other, into `tree`. Every power of two the page is remembered: a
 * circle of any length comes by the one that is remembered then.
 */
static int read_pages(struct hc_ask *ask, struct hc_tree *tree, struct hc_error *err)
{
    char seen[HC_URL_MAX];
    int more = 1;

    for (unsigned page = 1; more > 0; page++) {
        HC_AUTO_VALUE(hc_body) body = {0};

        if ((page & (page - 1)) == 0)
            memcpy(seen, ask->request.url, sizeof seen);
        if (page > HC_PAGES_MAX)
            return hc_fail(err, HC_BAD_HUB_REPLY, "the listing has more than %d pages",
                           HC_PAGES_MAX);
        if (hc_ask(ask, &body, err) < 0)
            return -1;
        if (hc_listing_parse(body.bytes, body.used, tree, err) < 0)
            return hc_ask_fail(ask, err);
        more = turn_page(ask, seen, err);
    }
    return more < 0 ? hc_ask_fail(ask, err) : 0;
}

/* All of it from one endpoint: pages of two do not make one listing. */
static int put_tree(void *ctx, struct hc_ask *ask, struct hc_error *err)
{
    HC_AUTO(hc_tree) *tree = hc_tree_new(err);
    struct hc_tree **answer = ctx;

    if (!tree)
        return -1;
    if (hc_url_tree(ask->request.url, ask->question.endpoint, ask->question.repo,
                    ask->question.revision, err) < 0 ||
        read_pages(ask, tree, err) < 0)
        return -1;
    hc_tree_sort(tree);
    tree->is_of_mirror = !ask->is_trusted;
    *answer = hc_take(&tree);
    return 0;
}

struct hc_tree *hc_hub_tree(struct hc_hub *hub, const struct hc_repo *repo,
                            const char *commit, const struct hc_caller *caller,
                            struct hc_error *err)
{
    struct hc_tree *tree = NULL;
    const struct hc_errand errand = {.hub = hub,
                                     .caller = caller,
                                     .about = {.repo = repo, .revision = commit},
                                     .put = put_tree,
                                     .ctx = &tree};

    return hc_mirrors_ask(&errand, err) < 0 ? NULL : tree;
}
