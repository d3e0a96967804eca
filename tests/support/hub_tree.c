/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A commit has only files: the row of a directory comes before the first file below it.
 * The cursor of a page is the number of its first row.
 */
#include "hub_tree.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_abort.h"
#include "hub_answer.h"
#include "hub_blob.h"
#include "hub_content.h"
#include "hub_route.h"
#include "hub_state.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The rows of one page, while all rows are counted. */
struct page {
    json_t *rows;
    size_t number; /* of the next row, counted over all pages */
    size_t first;
    size_t limit;
    bool has_xet;
};

/* Whether the next row belongs on this page. */
static bool page_takes_next(struct page *page)
{
    size_t number = page->number++;

    return number >= page->first && number < page->first + page->limit;
}

static void page_add_directory(struct page *page, const char *path, size_t length)
{
    HC_AUTO_FREE char *name = hub_format("%.*s", (int)length, path);
    char oid[41];

    if (!page_takes_next(page))
        return;
    hub_blob_name_text(name, oid);
    (void)json_array_append_new(page->rows,
                                json_pack("{ss ss si ss}", "type", "directory", "oid",
                                          oid, "size", 0, "path", name));
}

/* LFS: as on the Hub, `oid` is that of the pointer file and `size` that of the
 * content. */
static void page_add_file(struct page *page, const struct hub_file *file)
{
    const struct hub_blob *blob = file->blob;
    json_t *row;

    if (!page_takes_next(page))
        return;
    row = json_pack("{ss ss sI ss}", "type", "file", "oid", blob->git_oid, "size",
                    (json_int_t)blob->size, "path", file->path);
    if (blob->is_lfs) {
        (void)json_object_set_new(row, "lfs",
                                  json_pack("{ss sI sI}", "oid", blob->sha256, "size",
                                            (json_int_t)blob->size, "pointerSize",
                                            (json_int_t)blob->pointer_size));
    }
    if (blob->is_lfs && page->has_xet)
        (void)json_object_set_new(row, "xetHash", json_string(blob->xet_hash));
    (void)json_array_append_new(page->rows, row);
}

/* The length of the directories that both paths begin with, their last slash included. */
static size_t shared_directory_length(const char *before, const char *path)
{
    size_t shared = 0;

    for (size_t i = 0; before[i] && before[i] == path[i]; i++) {
        if (path[i] == '/')
            shared = i + 1;
    }
    return shared;
}

/* Adds rows for the directories that `before` is not in, and for the file. */
static void page_add_path(struct page *page, const char *before,
                          const struct hub_file *file, size_t root, bool is_recursive)
{
    size_t start = shared_directory_length(before, file->path);
    const char *slash;

    if (start < root)
        start = root;
    slash = strchr(file->path + start, '/');
    if (!is_recursive && start > root)
        return;
    for (; slash; slash = strchr(slash + 1, '/')) {
        page_add_directory(page, file->path, (size_t)(slash - file->path));
        if (!is_recursive)
            return;
    }
    page_add_file(page, file);
}

static void page_list_commit(const struct hub_commit *commit, const char *root,
                             bool is_recursive, struct page *page)
{
    const char *before = "";

    for (size_t i = 0; i < commit->count; i++) {
        if (!hc_text_starts(commit->files[i].path, root))
            continue;
        page_add_path(page, before, &commit->files[i], strlen(root), is_recursive);
        before = commit->files[i].path;
    }
}

/* Links to the next page: the same URL with another cursor. */
static void page_link_next(const struct hub_request *request, const struct page *page,
                           struct hub_answer *answer)
{
    const char *recursive = hub_request_query(request, "recursive");
    const char *expand = hub_request_query(request, "expand");

    hub_answer_set(answer, "Link",
                   "<%s%s?recursive=%s&expand=%s&limit=%zu&cursor=%zu>; rel=\"next\"",
                   request->hub->endpoint.url, request->path,
                   recursive ? recursive : "false", expand ? expand : "false",
                   page->limit, page->first + page->limit);
}

static size_t query_size(const struct hub_request *request, const char *name)
{
    const char *text = hub_request_query(request, name);

    return text ? strtoul(text, NULL, 10) : 0;
}

/* Of the many fields of the Hub, those that clients read. */
void hub_tree_answer_info(const struct hub_route *route, const struct hub_view *view,
                          struct hub_answer *answer)
{
    json_t *siblings = json_array();
    json_t *gated = view->access == TEST_HUB_GATED ? json_string("manual") : json_false();
    json_t *info;
    char number[41];

    for (size_t i = 0; i < view->commit->count; i++) {
        (void)json_array_append_new(siblings, json_pack("{ss}", "rfilename",
                                                        view->commit->files[i].path));
    }
    hub_blob_name_text(route->repo, number);
    number[24] = '\0';
    info = json_pack("{ss ss ss sb so sb so si}", "_id", number, "id",
                     strchr(route->repo, '/') + 1, "sha", view->commit->hash, "private",
                     view->access == TEST_HUB_PRIVATE, "gated", gated, "disabled", 0,
                     "siblings", siblings, "usedStorage", 0);
    hub_answer_json(answer, 200, hub_require(json_dumps(info, JSON_COMPACT)));
    json_decref(info);
}

/* Rows are made only for this page, but counted for all: that tells whether more
 * follow. */
bool hub_tree_answer(const struct hub_request *request, const struct hub_route *route,
                     const struct hub_commit *commit, struct hub_answer *answer)
{
    const char *recursive = hub_request_query(request, "recursive");
    HC_AUTO_FREE char *root = hub_format("%s%s", route->path, *route->path ? "/" : "");
    struct page page = {.rows = json_array(),
                        .first = query_size(request, "cursor"),
                        .limit = query_size(request, "limit"),
                        .has_xet = !request->hub->no_xet};

    if (page.limit == 0 || page.limit > request->hub->page_size)
        page.limit = request->hub->page_size;
    page_list_commit(commit, root, recursive && strcasecmp(recursive, "true") == 0,
                     &page);
    if (page.number > page.first + page.limit)
        page_link_next(request, &page, answer);
    hub_answer_json(answer, 200, hub_require(json_dumps(page.rows, JSON_COMPACT)));
    json_decref(page.rows);
    return page.number > 0 || *root == '\0';
}
