/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tree comes in pages; each names the next one in its Link header. All pages come from
 * the endpoint that gave the first one, for pages of two endpoints do not make one
 * listing.
 *
 * A listing must be whole, for files that it lacks count as absent. So a row that cannot
 * be understood, a directory with nothing in it (git has none) and a page that comes
 * again are errors. What a row says beyond path, size and id is taken only as far as it
 * is of use. JSON is read one row at a time (base/json.h): a page may have 64 MiB.
 */
#include "listing.h"

#include "metadata.h"

#include "mirror.h"
#include "url.h"

#include <base/error.h>
#include <base/json.h>
#include <base/text.h>

#include <string.h>

enum { SHOWN_SIZE = 256 };

void hc_listing_clear(struct hc_listing *listing)
{
    hc_tree_free(listing->files);
    hc_tree_free(listing->directories);
    hc_tree_free(listing->others);
    *listing = (struct hc_listing){0};
}

int hc_listing_init(struct hc_listing *listing, struct hc_error *err)
{
    *listing = (struct hc_listing){0};
    listing->files = hc_tree_new(err);
    listing->directories = listing->files ? hc_tree_new(err) : NULL;
    listing->others = listing->directories ? hc_tree_new(err) : NULL;
    return listing->others ? 0 : -1;
}

static bool json_read_size(const json_t *object, uint64_t *size)
{
    const json_t *value = json_object_get(object, "size");

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *size = (uint64_t)json_integer_value(value);
    return true;
}

/* An LFS entry without a usable hash keeps the entry, with "" for the hash: only what
 * needs the hash asks the Hub for it (a HEAD), and what does not select the file is
 * unaffected. */
static int listing_add_file(const json_t *row, struct hc_tree *files,
                            struct hc_error *err)
{
    const json_t *lfs = json_object_get(row, "lfs");
    struct hc_entry entry = {
        .path = json_string_value(json_object_get(row, "path")),
        .blob_id = json_string_value(json_object_get(row, "oid")),
        .xet_hash = json_string_value(json_object_get(row, "xetHash")),
    };

    if (!entry.path || !entry.blob_id || !json_read_size(row, &entry.size))
        return hc_fail(err, HC_BAD_HUB_REPLY, "a file listed has no path, id or size");
    if (lfs && !json_is_null(lfs)) {
        const char *sha256 = json_string_value(json_object_get(lfs, "oid"));

        entry.lfs_sha256 = sha256 ? sha256 : "";
        if (!json_read_size(lfs, &entry.lfs_size))
            entry.lfs_size = entry.size;
    }
    return hc_tree_add(files, &entry, err);
}

/* Files, directories, and what is neither, such as submodules, which no client
 * fetches. */
static int listing_add_row(const json_t *row, struct hc_listing *listing,
                           struct hc_error *err)
{
    const char *type = json_string_value(json_object_get(row, "type"));
    const char *path = json_string_value(json_object_get(row, "path"));

    if (!type || !path)
        return hc_fail(err, HC_BAD_HUB_REPLY, "a row of the listing has no type or path");
    if (strcmp(type, "file") == 0)
        return listing_add_file(row, listing->files, err);
    return hc_tree_add_path(strcmp(type, "directory") == 0 ? listing->directories
                                                           : listing->others,
                            path, err);
}

int hc_listing_parse(const char *bytes, size_t count, struct hc_listing *listing,
                     struct hc_error *err)
{
    struct hc_json json;
    int more;

    hc_json_from_text(&json, bytes, count);
    if (!hc_json_enter(&json, '['))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's listing is no array");
    while ((more = hc_json_next(&json)) > 0) {
        HC_AUTO_JSON *row = hc_json_value(&json);

        if (!row) {
            more = -1;
            break;
        }
        if (listing_add_row(row, listing, err) < 0)
            return -1;
    }
    if (more < 0 || !hc_json_is_done(&json))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's listing is no JSON at byte %zu",
                       json.at);
    return 0;
}

static int listing_check_directory(const struct hc_listing *listing, const char *path,
                                   struct hc_error *err)
{
    char shown[SHOWN_SIZE];

    hc_text_excerpt(shown, sizeof shown, path);
    if (hc_tree_find(listing->files, path))
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "the listing has '%s' both as a file and as a directory", shown);
    if (hc_tree_has_directory(listing->files, path) ||
        hc_tree_has_directory(listing->directories, path) ||
        hc_tree_has_directory(listing->others, path))
        return 0;
    return hc_fail(
        err, HC_BAD_HUB_REPLY,
        "the listing is incomplete: it has the directory '%s' and nothing in it", shown);
}

int hc_listing_finish(struct hc_listing *listing, struct hc_error *err)
{
    const struct hc_tree *directories = listing->directories;

    if (hc_tree_finish(listing->files, err) < 0)
        return -1;
    hc_tree_sort(listing->directories);
    hc_tree_sort(listing->others);
    for (size_t i = 0; i < directories->count; i++) {
        if (listing_check_directory(listing, directories->entries[i].path, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- what a revision means --------------------------------------------------------- */

static int siblings_add(const json_t *row, struct hc_tree *names, struct hc_error *err)
{
    const char *name = json_string_value(json_object_get(row, "rfilename"));

    return name ? hc_tree_add_path(names, name, err) : -1;
}

/* Names of files, which prove a listing incomplete. When one of them makes no sense none
 * is taken, and the proof is left out. */
static bool siblings_read(struct hc_json *json, struct hc_tree **siblings)
{
    struct hc_error unused;
    HC_AUTO(hc_tree) *names = hc_tree_new(&unused);
    int more;

    if (!hc_json_enter(json, '[')) {
        HC_AUTO_JSON *other = hc_json_value(json);

        return other;
    }
    while ((more = hc_json_next(json)) > 0) {
        HC_AUTO_JSON *row = hc_json_value(json);

        if (!row)
            return false;
        if (names && siblings_add(row, names, &unused) < 0) {
            hc_tree_free(names);
            names = NULL;
        }
    }
    hc_json_resume(json, '{');
    if (names)
        hc_tree_sort(names);
    hc_tree_free(*siblings);
    *siblings = hc_take(&names);
    return more == 0;
}

/*
 * "gated" is false, or a text that says how access is given ("auto", "manual"). A repo is
 * public only if the Hub says that it is not private: a gateway may leave that out.
 */
static void revision_read_visibility(struct hc_revision *revision, const char *key,
                                     const json_t *value)
{
    bool is_gated =
        strcmp(key, "gated") == 0 && !json_is_false(value) && !json_is_null(value);
    enum hc_visibility told = HC_VISIBILITY_UNKNOWN;

    if (is_gated)
        told = HC_VISIBILITY_GATED;
    if (strcmp(key, "private") == 0 && json_is_boolean(value))
        told = json_is_true(value) ? HC_VISIBILITY_PRIVATE : HC_VISIBILITY_PUBLIC;
    if (told > revision->visibility)
        revision->visibility = told;
}

/* Unknown members are skipped, for the Hub adds some now and then. */
static bool revision_read_member(struct hc_json *json, struct hc_revision *revision,
                                 struct hc_tree **siblings)
{
    HC_AUTO_FREE char *key = hc_json_key(json);
    HC_AUTO_JSON *value = NULL;

    if (key && strcmp(key, "siblings") == 0)
        return siblings_read(json, siblings);
    value = key ? hc_json_value(json) : NULL;
    if (!value)
        return false;
    if (strcmp(key, "sha") == 0 && json_is_string(value) &&
        hc_commit_is_valid(json_string_value(value)))
        memcpy(revision->commit, json_string_value(value), HC_COMMIT_SIZE);
    revision_read_visibility(revision, key, value);
    return true;
}

int hc_listing_parse_revision(const char *bytes, size_t count,
                              struct hc_revision *revision, struct hc_tree **siblings,
                              struct hc_error *err)
{
    HC_AUTO(hc_tree) *names = NULL;
    struct hc_revision read = {0};
    struct hc_json json;
    int more;

    hc_json_from_text(&json, bytes, count);
    if (!hc_json_enter(&json, '{'))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's answer is no JSON object");
    while ((more = hc_json_next(&json)) > 0) {
        if (!revision_read_member(&json, &read, &names)) {
            more = -1;
            break;
        }
    }
    if (more < 0 || !hc_json_is_done(&json))
        return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's answer is no JSON at byte %zu",
                       json.at);
    if (!read.commit[0])
        return hc_fail(err, HC_BAD_HUB_REPLY, "the Hub's answer names no commit");
    *revision = read;
    *siblings = hc_take(&names);
    return 0;
}

/* ---- pages ------------------------------------------------------------------------- */

/* 1: the URL is that of the next page; 0: there is none; -1. `seen` is an earlier
 * page. */
static int listing_next_page(struct hc_hub_request *request, const char *seen,
                             struct hc_error *err)
{
    int more = hc_hub_request_next_page(request, err);

    if (more > 0 && strcmp(request->http.url, seen) == 0)
        return hc_fail(err, HC_BAD_HUB_REPLY, "its pages go round in a circle");
    return more;
}

/*
 * One page after the other, into `listing`. Every power of two the page is remembered: a
 * circle of any length comes by the one that is remembered then. Budget: HC_PAGES_MAX new
 * pages; there is no pause between two of them, for none is asked again but by
 * hc_hub_request_perform().
 */
static int listing_read_pages(struct hc_hub_request *request, struct hc_listing *listing,
                              struct hc_error *err)
{
    char seen[HC_URL_MAX];
    int more = 1;

    for (unsigned page = 1; more > 0; page++) {
        HC_AUTO_VALUE(hc_buffer) body = {0};

        if ((page & (page - 1)) == 0)
            memcpy(seen, request->http.url, sizeof seen);
        if (page > HC_PAGES_MAX)
            return hc_fail(err, HC_BAD_HUB_REPLY, "the listing has more than %d pages",
                           HC_PAGES_MAX);
        if (hc_hub_request_perform(request, &body, err) < 0)
            return -1;
        if (hc_listing_parse(body.bytes, body.used, listing, err) < 0)
            return hc_hub_request_fail(request, err);
        more = listing_next_page(request, seen, err);
    }
    return more < 0 ? hc_hub_request_fail(request, err) : 0;
}

static int query_send_tree(void *ctx, struct hc_hub_request *request,
                           struct hc_error *err)
{
    HC_AUTO_VALUE(hc_listing) listing = {0};
    struct hc_tree **answer = ctx;

    if (hc_listing_init(&listing, err) < 0)
        return -1;
    if (hc_url_tree(request->http.url, request->target.endpoint, request->target.repo,
                    request->target.revision, err) < 0)
        return -1;
    if (listing_read_pages(request, &listing, err) < 0)
        return hc_not_found_explain(request, err);
    if (hc_listing_finish(&listing, err) < 0)
        return hc_hub_request_fail(request, err);
    listing.files->is_of_mirror = !request->is_trusted;
    *answer = hc_take(&listing.files);
    return 0;
}

struct hc_tree *hc_hub_tree(struct hc_hub *hub, const struct hc_repo *repo,
                            const char *commit,
                            const struct hc_hub_credentials *credentials,
                            struct hc_error *err)
{
    struct hc_tree *tree = NULL;
    const struct hc_hub_query query = {.hub = hub,
                                       .credentials = credentials,
                                       .target = {.repo = repo, .revision = commit},
                                       .send = query_send_tree,
                                       .ctx = &tree};

    return hc_hub_query_run(&query, err) < 0 ? NULL : tree;
}
