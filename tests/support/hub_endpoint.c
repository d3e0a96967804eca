/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's answer to each URL (spec/hub-wire.md). As in the Hub, the token is checked
 * first, then the repo, the revision and the file. LFS files are redirected to the CDN
 * port, whose URLs are signed and expire:
 *
 *     /xet-bridge/<repo's number>/<xet hash>?Expires=<time>&Signature=<of both>
 */
#include "hub_endpoint.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_abort.h"
#include "hub_answer.h"
#include "hub_blob.h"
#include "hub_content.h"
#include "hub_route.h"
#include "hub_state.h"
#include "hub_tree.h"

#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIFETIME_S = 3600 };

/* The key is no secret; it only makes signatures that no client can guess. */
static const char KEY[] = "test hub";

/* An HMAC of path and expiry: another path or time needs another signature. */
static void cdn_signature(const char *path, const char *expires, char hex[65])
{
    HC_AUTO_FREE char *text = hub_format("%s?Expires=%s", path, expires);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (!HMAC(EVP_sha256(), KEY, sizeof KEY, (const unsigned char *)text, strlen(text),
              mac, &size))
        hub_abort("OpenSSL", "HMAC");
    for (unsigned i = 0; i < size; i++)
        (void)snprintf(hex + 2 * (size_t)i, 3, "%02x", mac[i]);
}

/* Neither a wrong signature nor one that has expired counts. */
static bool request_is_signed(const struct hub_request *request)
{
    const char *expires = hub_request_query(request, "Expires");
    const char *signature = hub_request_query(request, "Signature");
    char right[65];

    if (!expires || !signature)
        return false;
    cdn_signature(request->path, expires, right);
    return strcmp(signature, right) == 0 && strtoll(expires, NULL, 10) > time(NULL);
}

/* The absolute URL of a file of `repo`, valid for an hour; the caller frees. */
static char *cdn_sign(const struct test_hub *hub, const char *repo,
                      const struct hub_blob *blob)
{
    HC_AUTO_FREE char *path = NULL;
    HC_AUTO_FREE char *expires = NULL;
    char number[41], signature[65];

    hub_blob_name_text(repo, number);
    path = hub_format("/xet-bridge/%.24s/%s", number, blob->xet_hash);
    expires = hub_format("%lld", (long long)time(NULL) + LIFETIME_S);
    cdn_signature(path, expires, signature);
    return hub_format("%s%s?Expires=%s&Signature=%s", hub->cdn.url, path, expires,
                      signature);
}

/* An error in the Hub's form; `code` may be NULL. */
static void endpoint_refuse(struct hub_answer *answer, const struct hub_route *route,
                            unsigned status, const char *code, const char *message)
{
    if (route->is_api) {
        json_t *body = json_pack("{ss}", "error", message);

        hub_answer_json(answer, status, hub_require(json_dumps(body, 0)));
        json_decref(body);
    } else {
        hub_answer_text(answer, status, hub_strdup(message));
    }
    hub_answer_set(answer, "X-Error-Message", "%s", message);
    if (code)
        hub_answer_set(answer, "X-Error-Code", "%s", code);
    if (status == 401) {
        hub_answer_set(answer, "WWW-Authenticate",
                       "Bearer realm=\"Authentication required\", charset=\"UTF-8\"");
    }
}

static bool token_is_wrong(const struct hub_request *request)
{
    return request->token && request->hub->valid_token &&
           strcmp(request->token, request->hub->valid_token) != 0;
}

/* A missing repo gets the same answer as one that the client may not see. */
static bool endpoint_refuse_repo(const struct hub_request *request,
                                 const struct hub_route *route, bool is_there,
                                 struct hub_answer *answer)
{
    if (is_there)
        return false;
    if (request->token)
        endpoint_refuse(answer, route, 404, "RepoNotFound", "Repository not found");
    else
        endpoint_refuse(answer, route, 401, NULL, "Invalid username or password.");
    return true;
}

/* A gated repo's listings are public, as on the Hub, and so is its model card; only its
 * files need the token of an account that has access. */
static bool endpoint_refuse_access(const struct hub_request *request,
                                   const struct hub_route *route,
                                   enum test_hub_access access, struct hub_answer *answer)
{
    bool is_file =
        (route->kind == HUB_ROUTE_RESOLVE || route->kind == HUB_ROUTE_RESOLVE_CACHE) &&
        strcmp(route->path, "README.md") != 0;
    HC_AUTO_FREE char *message = NULL;

    if (access == TEST_HUB_DISABLED) {
        endpoint_refuse(answer, route, 403, NULL, "Access to this resource is disabled.");
        return true;
    }
    if (access != TEST_HUB_GATED || !is_file ||
        hub_content_is_granted(request->hub->content, route->repo, request->token))
        return false;
    message = hub_format("Access to %s is restricted. You must have access to it and be "
                         "authenticated to access it. Please log in.",
                         route->repo);
    endpoint_refuse(answer, route, 403, "GatedRepo", message);
    return true;
}

/* 307 keeps the method, so that a HEAD stays one; the query goes along. */
static void endpoint_answer_moved(const struct hub_request *request,
                                  const struct hub_route *route, const char *moved_to,
                                  struct hub_answer *answer)
{
    HC_AUTO_FREE char *path = hub_route_moved(route, moved_to);
    HC_AUTO_FREE char *location =
        hub_format("%s%s", path, request->target + strlen(request->path));

    hub_answer_redirect(answer, 307, location);
}

/* Redirects to the same file under its commit, where clients may cache it for ever. */
static void endpoint_answer_git(const struct hub_request *request,
                                const struct hub_route *route,
                                const struct hub_commit *commit,
                                const struct hub_blob *blob, struct hub_answer *answer)
{
    HC_AUTO_FREE char *repo = hub_url_encode(route->repo, "/");
    HC_AUTO_FREE char *path = hub_url_encode(route->path, "/");
    HC_AUTO_FREE char *asked = hub_url_encode(request->path, "");
    HC_AUTO_FREE char *location =
        hub_format("/api/resolve-cache/%s/%s/%s?%s=&etag=%%22%s%%22", repo, commit->hash,
                   path, asked, blob->git_oid);

    hub_answer_redirect(answer, 307, location);
    hub_answer_set(answer, "X-Linked-Etag", "\"%s\"", blob->git_oid);
}

/* Redirects to the CDN. The etag and size of the file are in X-Linked-…: those of the
 * redirect itself are not the file's. */
static void endpoint_answer_lfs(const struct hub_request *request,
                                const struct hub_route *route,
                                const struct hub_commit *commit,
                                const struct hub_blob *blob, struct hub_answer *answer)
{
    HC_AUTO_FREE char *location = cdn_sign(request->hub, route->repo, blob);

    hub_answer_redirect(answer, 302, location);
    hub_answer_set(answer, "X-Linked-Etag", "\"%s\"", blob->sha256);
    hub_answer_set(answer, "X-Linked-Size", "%" PRIu64, blob->size);
    if (request->hub->no_xet)
        return;
    hub_answer_set(answer, "X-Xet-Hash", "%s", blob->xet_hash);
    hub_answer_set(answer, "Link",
                   "</api/%s/xet-read-token/%s>; rel=\"xet-auth\", "
                   "<%s/v1/reconstructions/%s>; rel=\"xet-reconstruction-info\"",
                   route->repo, commit->hash, request->hub->cdn.url, blob->xet_hash);
}

static void endpoint_answer_file(const struct hub_request *request,
                                 const struct hub_route *route,
                                 const struct hub_commit *commit,
                                 struct hub_answer *answer)
{
    const struct hub_blob *blob = hub_commit_find(commit, route->path);

    if (!blob) {
        endpoint_refuse(answer, route, 404, "EntryNotFound", "Entry not found");
        if (request->hub->commit_on_404)
            hub_answer_set(answer, "X-Repo-Commit", "%s", commit->hash);
        return;
    }
    hub_answer_set(answer, "X-Repo-Commit", "%s", commit->hash);
    hub_answer_set(answer, "Accept-Ranges", "bytes");
    if (blob->is_lfs) {
        endpoint_answer_lfs(request, route, commit, blob, answer);
        return;
    }
    if (route->kind == HUB_ROUTE_RESOLVE) {
        endpoint_answer_git(request, route, commit, blob, answer);
        return;
    }
    hub_answer_set(answer, "ETag", "\"%s\"", blob->git_oid);
    hub_answer_blob(answer, blob, request->range);
}

static void endpoint_answer_view(const struct hub_request *request,
                                 const struct hub_route *route,
                                 const struct hub_view *view, struct hub_answer *answer)
{
    if (view->moved_to) {
        endpoint_answer_moved(request, route, view->moved_to, answer);
        return;
    }
    if (endpoint_refuse_access(request, route, view->access, answer))
        return;
    if (!view->commit) {
        HC_AUTO_FREE char *revision = hub_url_encode(route->revision, "/");
        HC_AUTO_FREE char *message = hub_format("Invalid rev id: %s", revision);

        endpoint_refuse(answer, route, 404, "RevisionNotFound", message);
        return;
    }
    if (route->kind == HUB_ROUTE_INFO)
        hub_tree_answer_info(route, view, answer);
    else if (route->kind != HUB_ROUTE_TREE)
        endpoint_answer_file(request, route, view->commit, answer);
    else if (!hub_tree_answer(request, route, view->commit, answer))
        endpoint_refuse(answer, route, 404, "EntryNotFound", "Entry not found");
}

static void endpoint_answer_route(const struct hub_request *request,
                                  const struct hub_route *route,
                                  struct hub_answer *answer)
{
    struct hub_view view;
    bool is_there;

    if (token_is_wrong(request)) {
        endpoint_refuse(answer, route, 401, NULL,
                        "Invalid credentials in Authorization header");
        return;
    }
    if (route->kind == HUB_ROUTE_NOWHERE) {
        endpoint_refuse(answer, route, 404, NULL,
                        "Sorry, we can't find the page you look for.");
        return;
    }
    is_there =
        hub_content_find(request->hub->content, route->repo, route->revision, &view) &&
        (view.access != TEST_HUB_PRIVATE ||
         hub_content_is_granted(request->hub->content, route->repo, request->token));
    if (!endpoint_refuse_repo(request, route, is_there, answer))
        endpoint_answer_view(request, route, &view, answer);
}

void hub_endpoint_answer(const struct hub_request *request, struct hub_answer *answer)
{
    HC_AUTO_VALUE(hub_route) route = {0};

    hub_route_parse(request->path, &route);
    endpoint_answer_route(request, &route, answer);
    if (!request->token) {
        hub_answer_set(answer, "X-Hf-Warning",
                       "unauthenticated; Set a token for higher rate limits.");
    }
}

/* The CDN knows neither repos nor tokens; its ETag is its own name for the file. */
void hub_cdn_answer(const struct hub_request *request, struct hub_answer *answer)
{
    const char *name = strrchr(request->path, '/');
    const struct hub_blob *blob;

    if (!hc_text_starts(request->path, "/xet-bridge/") || !request_is_signed(request)) {
        hub_answer_text(answer, 403, hub_strdup("Access denied"));
        return;
    }
    blob = hub_content_find_xet(request->hub->content, name + 1);
    if (!blob) {
        hub_answer_text(answer, 404, hub_strdup("No such object"));
        return;
    }
    hub_answer_set(answer, "ETag", "\"%s\"", blob->xet_hash);
    hub_answer_blob(answer, blob, request->range);
}
