/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file is, and what a revision means: small answers that many callers want at the
 * same time, so they are shared queries, and told apart by their URL on the Hub,
 * whichever endpoint answers in the end. hc_not_found_explain() shares its own query
 * under another name: it is for one endpoint, and its answer says only whether the
 * revision is there.
 */
#include "metadata.h"

#include "listing.h"
#include "mirror.h"
#include "url.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <string.h>

enum { UNAUTHORIZED = 401, NOT_FOUND = 404 };

/* ---- what a revision means --------------------------------------------------------- */

void hc_repo_info_clear(struct hc_repo_info *info)
{
    hc_tree_free(info->siblings);
    *info = (struct hc_repo_info){0};
}

static void repo_info_copy(void *to, const void *from)
{
    const struct hc_repo_info *info = from;
    struct hc_repo_info *copy = to;

    *copy = *info;
    copy->siblings = hc_tree_share(info->siblings);
}

static void repo_info_drop(void *info)
{
    hc_repo_info_clear(info);
}

/* Whether the response is a 404 or 401 of the endpoint itself, without the Hub's
 * headers. */
static bool response_is_bare_refusal(const struct hc_hub_request *request)
{
    const struct hc_hub_response *response = &request->response;

    return (response->status == NOT_FOUND || response->status == UNAUTHORIZED) &&
           !response->error_code[0] && !response->commit[0] &&
           hc_url_same_origin(request->http.url, request->target.endpoint);
}

/* After a request about a revision that failed with `err`: a bare 404 becomes
 * REPO_NOT_FOUND, or REVISION_NOT_FOUND when its text says so. Always -1. */
static int request_fail_revision(const struct hc_hub_request *request,
                                 struct hc_error *err)
{
    const char *message = request->response.error_message;
    bool is_of_revision =
        strcasestr(message, "revision") || strcasestr(message, "rev id");

    if (request->response.status != NOT_FOUND || !response_is_bare_refusal(request))
        return -1;
    return hc_hub_target_fail_absent(&request->target,
                                     is_of_revision ? HC_REVISION_NOT_FOUND
                                                    : HC_REPO_NOT_FOUND,
                                     err);
}

static int request_revision(struct hc_hub_request *request, struct hc_repo_info *info,
                            struct hc_error *err)
{
    const struct hc_hub_target *target = &request->target;
    HC_AUTO_VALUE(hc_buffer) body = {0};

    if (hc_url_revision(request->http.url, target->endpoint, target->repo,
                        target->revision, err) < 0)
        return -1;
    if (hc_hub_request_perform(request, &body, err) < 0)
        return request_fail_revision(request, err);
    if (hc_listing_parse_revision(body.bytes, body.used, &info->revision, &info->siblings,
                                  err) < 0)
        return hc_hub_request_fail(request, err);
    return 0;
}

/* A revision that is a commit's hash can only mean itself: a response that names another
 * commit is of a proxy, or of a mirror that takes names as it likes. */
static int query_send_revision(void *ctx, struct hc_hub_request *request,
                               struct hc_error *err)
{
    const char *revision = request->target.revision;
    struct hc_repo_info *answer = ctx;
    HC_AUTO_VALUE(hc_repo_info) info = {0};

    if (request_revision(request, &info, err) < 0)
        return -1;
    if (hc_commit_is_valid(revision) && strcmp(info.revision.commit, revision) != 0) {
        (void)hc_fail(err, HC_BAD_HUB_REPLY, "it answers for commit %s instead",
                      info.revision.commit);
        return hc_hub_request_fail(request, err);
    }
    *answer = info;
    answer->revision.is_of_mirror = !request->is_trusted;
    info.siblings = NULL;
    return 0;
}

/* The run of a shared query: `answer` is the buffer of the caller that asks for all. */
static int query_run_shared(void *ctx, void *answer, struct hc_error *err)
{
    struct hc_hub_query *query = ctx;

    query->ctx = answer;
    return hc_hub_query_run(query, err);
}

int hc_hub_repo_info(struct hc_hub *hub, const struct hc_repo_file *file,
                     const struct hc_hub_credentials *credentials,
                     struct hc_repo_info *info, struct hc_error *err)
{
    struct hc_hub_query query = {.hub = hub,
                                 .credentials = credentials,
                                 .target = {.repo = file->repo,
                                            .revision = file->revision},
                                 .send = query_send_revision};
    char url[HC_URL_MAX];
    const struct hc_shared_query shared = {.name = url,
                                           .credentials = credentials,
                                           .answer_size = sizeof *info,
                                           .run = query_run_shared,
                                           .ctx = &query,
                                           .copy = repo_info_copy,
                                           .drop = repo_info_drop};

    *info = (struct hc_repo_info){0};
    if (hc_url_revision(url, hc_hub_endpoint(hub), file->repo, file->revision, err) < 0)
        return -1;
    return hc_shared_query_run(&hub->queries, &shared, info, err);
}

int hc_hub_revision(struct hc_hub *hub, const struct hc_repo *repo, const char *revision,
                    const struct hc_hub_credentials *credentials,
                    struct hc_revision *answer, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_repo_info) info = {0};
    const struct hc_repo_file file = {.repo = repo, .revision = revision};

    if (hc_hub_repo_info(hub, &file, credentials, &info, err) < 0)
        return -1;
    *answer = info.revision;
    return 0;
}

/* ---- what is not there ------------------------------------------------------------- */

/* 0 when the revision is there; the answer is empty. */
static int not_found_query_revision(void *ctx, void *answer, struct hc_error *err)
{
    const struct hc_hub_request *refused = ctx;
    struct hc_hub_target target = refused->target;
    HC_AUTO_VALUE(hc_repo_info) info = {0};
    struct hc_hub_request request;

    (void)answer;
    target.path = NULL;
    hc_hub_request_init(&request, refused->hub, refused->credentials, &target);
    hc_hub_request_set_endpoint(&request, refused->endpoint);
    return request_revision(&request, &info, err);
}

/* Whether a failure says what is missing, or that this caller may not see it. Others,
 * such as a timeout, explain nothing: the first failure stands. */
static bool failure_is_answer(const struct hc_error *err)
{
    switch (err->reason) {
    case HC_REPO_NOT_FOUND:
    case HC_REVISION_NOT_FOUND:
    case HC_GATED_REPO:
    case HC_REPO_DISABLED:
    case HC_HUB_UNAUTHORIZED:
        return true;
    default:
        return false;
    }
}

/* The revision is there: what was asked for is not, or not for this caller. */
static int not_found_fail_present(const struct hc_hub_request *request,
                                  struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    if (request->response.status == NOT_FOUND)
        return request->target.path
                   ? hc_hub_target_fail_absent(&request->target, HC_ENTRY_NOT_FOUND, err)
                   : -1;
    hc_hub_target_describe(&request->target, text);
    return hc_fail(err, HC_HUB_UNAUTHORIZED,
                   "%s: %.100s shows the repo but refuses what is in it; %s", text,
                   request->target.endpoint,
                   request->target.had_token ? "check that the token may read it"
                                             : "it may need a token");
}

int hc_not_found_explain(struct hc_hub_request *request, struct hc_error *err)
{
    static const char purpose[] = "present ";
    char name[HC_URL_MAX + sizeof purpose] = "present ";
    char present;
    struct hc_error of_revision = {0};
    const struct hc_shared_query shared = {.name = name,
                                           .credentials = request->credentials,
                                           .answer_size = sizeof present,
                                           .run = not_found_query_revision,
                                           .ctx = request};

    if (!request->is_trusted || !response_is_bare_refusal(request) ||
        request->response.error_message[0] ||
        hc_url_revision(name + sizeof purpose - 1, request->target.endpoint,
                        request->target.repo, request->target.revision, &of_revision) < 0)
        return -1;
    if (hc_shared_query_run(&request->hub->queries, &shared, &present, &of_revision) == 0)
        return not_found_fail_present(request, err);
    if (failure_is_answer(&of_revision))
        *err = of_revision;
    return -1;
}

/* ---- what a file is ---------------------------------------------------------------- */

/* An ETag that a mirror made up proves nothing of the bytes that come with it. */
static int mirror_etag_check(const struct hc_hub_request *request, const char *etag,
                             struct hc_error *err)
{
    if (hc_digest_kind_of(etag) != HC_DIGEST_NONE)
        return 0;
    (void)hc_fail(err, HC_BAD_HUB_REPLY, "a mirror's ETag is no hash");
    return hc_hub_request_fail(request, err);
}

/* The commit that lacks a file that was not found: as the response says, or as it was
 * asked for by its hash. Always -1. */
static int head_fail(struct hc_hub_request *request, struct hc_metadata *metadata,
                     struct hc_error *err)
{
    const char *revision = request->target.revision;
    bool is_bare = response_is_bare_refusal(request);

    (void)hc_not_found_explain(request, err);
    if (err->reason == HC_ENTRY_NOT_FOUND)
        memcpy(metadata->commit, request->response.commit, sizeof metadata->commit);
    if (err->reason == HC_ENTRY_NOT_FOUND && is_bare && hc_commit_is_valid(revision))
        memcpy(metadata->commit, revision, sizeof metadata->commit);
    return -1;
}

static int query_send_head(void *ctx, struct hc_hub_request *request,
                           struct hc_error *err)
{
    struct hc_metadata *metadata = ctx;
    const struct hc_hub_target *target = &request->target;

    request->http.is_head = true;
    if (hc_url_resolve(request->http.url, target->endpoint, target->repo,
                       target->revision, target->path, err) < 0)
        return -1;
    metadata->is_of_mirror = !request->is_trusted;
    if (hc_hub_request_perform(request, NULL, err) < 0)
        return head_fail(request, metadata, err);
    hc_url_copy(metadata->location, request->http.url);
    if (hc_hub_response_metadata(&request->response, target, metadata, err) < 0)
        return -1;
    return metadata->is_of_mirror ? mirror_etag_check(request, metadata->etag, err) : 0;
}

int hc_hub_head(struct hc_hub *hub, const struct hc_repo_file *file,
                const struct hc_hub_credentials *credentials,
                struct hc_metadata *metadata, struct hc_error *err)
{
    struct hc_hub_query query = {.hub = hub,
                                 .credentials = credentials,
                                 .target = {.repo = file->repo,
                                            .revision = file->revision,
                                            .path = file->path},
                                 .send = query_send_head};
    char url[HC_URL_MAX];
    const struct hc_shared_query shared = {.name = url,
                                           .credentials = credentials,
                                           .answer_size = sizeof *metadata,
                                           .run = query_run_shared,
                                           .ctx = &query};

    metadata->commit[0] = '\0';
    if (hc_url_resolve(url, hc_hub_endpoint(hub), file->repo, file->revision, file->path,
                       err) < 0)
        return -1;
    return hc_shared_query_run(&hub->queries, &shared, metadata, err);
}
