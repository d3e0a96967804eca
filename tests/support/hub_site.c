/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the Hub answers to each URL (spec/hub-wire.md). Who asks is looked at first, then
 * the repo, the revision and the file, in the order the Hub does it.
 */
#include "hub_site.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_answer.h"
#include "hub_blob.h"
#include "hub_cdn.h"
#include "hub_content.h"
#include "hub_must.h"
#include "hub_place.h"
#include "hub_state.h"
#include "hub_tree.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* An error as the Hub words it; `code` may be NULL. */
static void refuse(struct hub_answer *answer, const struct hub_place *place,
                   unsigned status, const char *code, const char *message)
{
    if (place->is_api) {
        json_t *body = json_pack("{ss}", "error", message);

        hub_answer_json(answer, status, hub_must(json_dumps(body, 0)));
        json_decref(body);
    } else {
        hub_answer_text(answer, status, hub_copy(message));
    }
    hub_answer_set(answer, "X-Error-Message", "%s", message);
    if (code)
        hub_answer_set(answer, "X-Error-Code", "%s", code);
    if (status == 401) {
        hub_answer_set(answer, "WWW-Authenticate",
                       "Bearer realm=\"Authentication required\", charset=\"UTF-8\"");
    }
}

static bool is_wrong_token(const struct hub_request *request)
{
    return request->token && request->hub->valid_token &&
           strcmp(request->token, request->hub->valid_token) != 0;
}

/* A missing repo is no different from one that the caller may not see. */
static bool refuse_repo(const struct hub_request *request, const struct hub_place *place,
                        bool is_there, struct hub_answer *answer)
{
    if (is_there)
        return false;
    if (request->token)
        refuse(answer, place, 404, "RepoNotFound", "Repository not found");
    else
        refuse(answer, place, 401, NULL, "Invalid username or password.");
    return true;
}

static bool refuse_access(const struct hub_request *request,
                          const struct hub_place *place, enum test_hub_access access,
                          struct hub_answer *answer)
{
    bool is_file =
        place->kind == HUB_PLACE_RESOLVE || place->kind == HUB_PLACE_RESOLVE_CACHE;
    HC_AUTO_FREE char *message = NULL;

    if (access == TEST_HUB_DISABLED) {
        refuse(answer, place, 403, NULL, "Access to this resource is disabled.");
        return true;
    }
    if (access != TEST_HUB_GATED || request->token || !is_file)
        return false;
    message = hub_text("Access to %s is restricted. You must have access to it and be "
                       "authenticated to access it. Please log in.",
                       place->repo);
    refuse(answer, place, 403, "GatedRepo", message);
    return true;
}

static void answer_moved(const struct hub_request *request, const struct hub_place *place,
                         const char *moved_to, struct hub_answer *answer)
{
    HC_AUTO_FREE char *path = hub_place_moved(place, moved_to);
    HC_AUTO_FREE char *location =
        hub_text("%s%s", path, request->target + strlen(request->path));

    hub_answer_redirect(answer, 307, location);
}

/* To the same file under its commit, where it may be cached for ever. */
static void answer_git(const struct hub_request *request, const struct hub_place *place,
                       const struct hub_commit *commit, const struct hub_blob *blob,
                       struct hub_answer *answer)
{
    HC_AUTO_FREE char *repo = hub_place_encode(place->repo, "/");
    HC_AUTO_FREE char *path = hub_place_encode(place->path, "/");
    HC_AUTO_FREE char *asked = hub_place_encode(request->path, "");
    HC_AUTO_FREE char *location =
        hub_text("/api/resolve-cache/%s/%s/%s?%s=&etag=%%22%s%%22", repo, commit->hash,
                 path, asked, blob->git_oid);

    hub_answer_redirect(answer, 307, location);
    hub_answer_set(answer, "X-Linked-Etag", "\"%s\"", blob->git_oid);
}

static void answer_lfs(const struct hub_request *request, const struct hub_place *place,
                       const struct hub_commit *commit, const struct hub_blob *blob,
                       struct hub_answer *answer)
{
    HC_AUTO_FREE char *location = hub_cdn_sign(request->hub, place->repo, blob);

    hub_answer_redirect(answer, 302, location);
    hub_answer_set(answer, "X-Linked-Etag", "\"%s\"", blob->sha256);
    hub_answer_set(answer, "X-Linked-Size", "%" PRIu64, blob->size);
    if (request->hub->no_xet)
        return;
    hub_answer_set(answer, "X-Xet-Hash", "%s", blob->xet_hash);
    hub_answer_set(answer, "Link",
                   "</api/%s/xet-read-token/%s>; rel=\"xet-auth\", "
                   "<%s/v1/reconstructions/%s>; rel=\"xet-reconstruction-info\"",
                   place->repo, commit->hash, request->hub->cdn.url, blob->xet_hash);
}

static void answer_file(const struct hub_request *request, const struct hub_place *place,
                        const struct hub_commit *commit, struct hub_answer *answer)
{
    const struct hub_blob *blob = hub_commit_find(commit, place->path);

    if (!blob) {
        refuse(answer, place, 404, "EntryNotFound", "Entry not found");
        if (request->hub->commit_on_404)
            hub_answer_set(answer, "X-Repo-Commit", "%s", commit->hash);
        return;
    }
    hub_answer_set(answer, "X-Repo-Commit", "%s", commit->hash);
    hub_answer_set(answer, "Accept-Ranges", "bytes");
    if (blob->is_lfs) {
        answer_lfs(request, place, commit, blob, answer);
        return;
    }
    if (place->kind == HUB_PLACE_RESOLVE) {
        answer_git(request, place, commit, blob, answer);
        return;
    }
    hub_answer_set(answer, "ETag", "\"%s\"", blob->git_oid);
    hub_answer_blob(answer, blob, request->range);
}

static void answer_view(const struct hub_request *request, const struct hub_place *place,
                        const struct hub_view *view, struct hub_answer *answer)
{
    if (view->moved_to) {
        answer_moved(request, place, view->moved_to, answer);
        return;
    }
    if (refuse_access(request, place, view->access, answer))
        return;
    if (!view->commit) {
        HC_AUTO_FREE char *revision = hub_place_encode(place->revision, "/");
        HC_AUTO_FREE char *message = hub_text("Invalid rev id: %s", revision);

        refuse(answer, place, 404, "RevisionNotFound", message);
        return;
    }
    if (place->kind == HUB_PLACE_INFO)
        hub_tree_answer_info(place, view, answer);
    else if (place->kind != HUB_PLACE_TREE)
        answer_file(request, place, view->commit, answer);
    else if (!hub_tree_answer(request, place, view->commit, answer))
        refuse(answer, place, 404, "EntryNotFound", "Entry not found");
}

static void answer_place(const struct hub_request *request, const struct hub_place *place,
                         struct hub_answer *answer)
{
    struct hub_view view;
    bool is_there;

    if (is_wrong_token(request)) {
        refuse(answer, place, 401, NULL, "Invalid credentials in Authorization header");
        return;
    }
    if (place->kind == HUB_PLACE_NOWHERE) {
        refuse(answer, place, 404, NULL, "Sorry, we can't find the page you look for.");
        return;
    }
    is_there =
        hub_content_find(request->hub->content, place->repo, place->revision, &view) &&
        (view.access != TEST_HUB_PRIVATE || request->token);
    if (!refuse_repo(request, place, is_there, answer))
        answer_view(request, place, &view, answer);
}

void hub_site_answer(const struct hub_request *request, struct hub_answer *answer)
{
    HC_AUTO_VALUE(hub_place) place = {0};

    hub_place_parse(request->path, &place);
    answer_place(request, &place, answer);
    if (!request->token) {
        hub_answer_set(answer, "X-Hf-Warning",
                       "unauthenticated; Set a token for higher rate limits.");
    }
}
