/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file is, and what a revision means: small answers that many callers want at the
 * same time, so they are asked for once. Questions are told apart by their URL
 * on the Hub, whoever answers in the end.
 */
#include "listing.h"
#include "mirror.h"
#include "not_found.h"
#include "url.h"

#include <base/error.h>
#include <base/hash.h>

#include <string.h>

/* A name that a mirror made up proves nothing of the bytes that come with it. */
static int mirror_etag_check(const struct hc_hub_request *request, const char *etag,
                             struct hc_error *err)
{
    if (hc_digest_kind_of(etag) != HC_DIGEST_NONE)
        return 0;
    (void)hc_fail(err, HC_BAD_HUB_REPLY, "a mirror's ETag is no hash");
    return hc_hub_request_fail(request, err);
}

static int query_send_head(void *ctx, struct hc_hub_request *request,
                           struct hc_error *err)
{
    struct hc_metadata *metadata = ctx;
    const struct hc_hub_target *about = &request->target;

    request->http.is_head = true;
    if (hc_url_resolve(request->http.url, about->endpoint, about->repo, about->revision,
                       about->path, err) < 0)
        return -1;
    metadata->is_of_mirror = !request->is_trusted;
    if (hc_hub_request_perform(request, NULL, err) < 0) {
        bool is_open = hc_not_found_is_ambiguous(request);

        (void)hc_not_found_explain(request, err);
        if (err->reason == HC_ENTRY_NOT_FOUND)
            memcpy(metadata->commit, request->response.commit, sizeof metadata->commit);
        if (err->reason == HC_ENTRY_NOT_FOUND && is_open &&
            hc_commit_is_valid(about->revision))
            memcpy(metadata->commit, about->revision, sizeof metadata->commit);
        return -1;
    }
    hc_url_copy(metadata->location, request->http.url);
    if (hc_hub_response_metadata(&request->response, about, metadata, err) < 0)
        return -1;
    return metadata->is_of_mirror ? mirror_etag_check(request, metadata->etag, err) : 0;
}

static int query_send_revision(void *ctx, struct hc_hub_request *request,
                               struct hc_error *err)
{
    const struct hc_hub_target *about = &request->target;
    struct hc_repo_info *answer = ctx;
    HC_AUTO_VALUE(hc_repo_info) heard = {0};
    HC_AUTO_VALUE(hc_buffer) body = {0};

    if (hc_url_revision(request->http.url, about->endpoint, about->repo, about->revision,
                        err) < 0)
        return -1;
    if (hc_hub_request_perform(request, &body, err) < 0)
        return hc_not_found_fail_revision(request, err);
    if (hc_listing_parse_revision(body.bytes, body.used, &heard.revision, &heard.siblings,
                                  err) < 0)
        return hc_hub_request_fail(request, err);
    if (hc_commit_is_valid(about->revision) &&
        strcmp(heard.revision.commit, about->revision) != 0) {
        (void)hc_fail(err, HC_BAD_HUB_REPLY, "it answers for commit %s instead",
                      heard.revision.commit);
        return hc_hub_request_fail(request, err);
    }
    heard.revision.is_of_mirror = !request->is_trusted;
    *answer = heard;
    heard.siblings = NULL;
    return 0;
}

static void repo_info_copy(void *to, const void *from)
{
    const struct hc_repo_info *info = from;
    struct hc_repo_info *copy = to;

    *copy = *info;
    copy->siblings = hc_tree_share(info->siblings);
}

static void repo_info_drop(void *answer)
{
    hc_repo_info_clear(answer);
}

static int query_run_shared(void *ctx, void *answer, struct hc_error *err)
{
    struct hc_hub_query *query = ctx;

    query->ctx = answer;
    return hc_hub_query_run(query, err);
}

int hc_hub_head(struct hc_hub *hub, const struct hc_repo_file *place,
                const struct hc_hub_credentials *credentials,
                struct hc_metadata *metadata, struct hc_error *err)
{
    struct hc_hub_query query = {.hub = hub,
                                 .credentials = credentials,
                                 .target = {.repo = place->repo,
                                            .revision = place->revision,
                                            .path = place->path},
                                 .send = query_send_head};
    char url[HC_URL_MAX];
    const struct hc_shared_query question = {.name = url,
                                             .credentials = credentials,
                                             .answer_size = sizeof *metadata,
                                             .run = query_run_shared,
                                             .ctx = &query};

    metadata->commit[0] = '\0';
    if (hc_url_resolve(url, hc_hub_endpoint(hub), place->repo, place->revision,
                       place->path, err) < 0)
        return -1;
    return hc_shared_query_run(&hub->queries, &question, metadata, err);
}

int hc_hub_repo_info(struct hc_hub *hub, const struct hc_repo_file *place,
                     const struct hc_hub_credentials *credentials,
                     struct hc_repo_info *info, struct hc_error *err)
{
    struct hc_hub_query query = {.hub = hub,
                                 .credentials = credentials,
                                 .target = {.repo = place->repo,
                                            .revision = place->revision},
                                 .send = query_send_revision};
    char url[HC_URL_MAX];
    const struct hc_shared_query question = {.name = url,
                                             .credentials = credentials,
                                             .answer_size = sizeof *info,
                                             .run = query_run_shared,
                                             .ctx = &query,
                                             .copy = repo_info_copy,
                                             .drop = repo_info_drop};

    *info = (struct hc_repo_info){0};
    if (hc_url_revision(url, hc_hub_endpoint(hub), place->repo, place->revision, err) < 0)
        return -1;
    return hc_shared_query_run(&hub->queries, &question, info, err);
}

int hc_hub_revision(struct hc_hub *hub, const struct hc_repo *repo, const char *revision,
                    const struct hc_hub_credentials *credentials,
                    struct hc_revision *answer, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_repo_info) info = {0};
    const struct hc_repo_file place = {.repo = repo, .revision = revision};

    if (hc_hub_repo_info(hub, &place, credentials, &info, err) < 0)
        return -1;
    *answer = info.revision;
    return 0;
}

void hc_repo_info_clear(struct hc_repo_info *info)
{
    hc_tree_free(info->siblings);
    *info = (struct hc_repo_info){0};
}
