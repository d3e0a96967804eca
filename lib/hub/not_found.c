/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question about the revision is a shared one, under a name of its own: it is for one
 * endpoint, and its answer says only whether the revision is there.
 */
#include "not_found.h"

#include "listing.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <string.h>

enum { UNAUTHORIZED = 401, NOT_FOUND = 404 };

bool hc_not_found_is_ambiguous(const struct hc_hub_request *request)
{
    const struct hc_hub_response *response = &request->response;

    return (response->status == NOT_FOUND || response->status == UNAUTHORIZED) &&
           !response->error_code[0] && !response->commit[0] &&
           hc_url_same_origin(request->http.url, request->target.endpoint);
}

int hc_not_found_fail_revision(const struct hc_hub_request *request, struct hc_error *err)
{
    bool is_of_revision = strcasestr(request->response.error_message, "revision") ||
                          strcasestr(request->response.error_message, "rev id");

    if (request->response.status != NOT_FOUND || !hc_not_found_is_ambiguous(request))
        return -1;
    return hc_hub_target_fail_absent(&request->target,
                                     is_of_revision ? HC_REVISION_NOT_FOUND
                                                    : HC_REPO_NOT_FOUND,
                                     err);
}

/* 0 when the revision is there; the answer is empty. */
static int not_found_query_revision(void *ctx, void *answer, struct hc_error *err)
{
    const struct hc_hub_request *asked = ctx;
    HC_AUTO(hc_tree) *siblings = NULL;
    struct hc_hub_target about = asked->target;
    HC_AUTO_VALUE(hc_buffer) body = {0};
    struct hc_revision revision;
    struct hc_hub_request request;

    (void)answer;
    about.path = NULL;
    hc_hub_request_init(&request, asked->hub, asked->credentials, &about);
    hc_hub_request_set_endpoint(&request, asked->endpoint);
    if (hc_url_revision(request.http.url, about.endpoint, about.repo, about.revision,
                        err) < 0)
        return -1;
    if (hc_hub_request_perform(&request, &body, err) < 0)
        return hc_not_found_fail_revision(&request, err);
    if (hc_listing_parse_revision(body.bytes, body.used, &revision, &siblings, err) < 0)
        return hc_hub_request_fail(&request, err);
    return 0;
}

/* Whether it says what is missing, or who may not see it. */
static bool fail_is_an_answer(const struct hc_error *err)
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
    const struct hc_shared_query question = {.name = name,
                                             .credentials = request->credentials,
                                             .answer_size = sizeof present,
                                             .run = not_found_query_revision,
                                             .ctx = request};

    if (!request->is_trusted || !hc_not_found_is_ambiguous(request) ||
        request->response.error_message[0] ||
        hc_url_revision(name + sizeof purpose - 1, request->target.endpoint,
                        request->target.repo, request->target.revision, &of_revision) < 0)
        return -1;
    if (hc_shared_query_run(&request->hub->queries, &question, &present, &of_revision) ==
        0)
        return not_found_fail_present(request, err);
    if (fail_is_an_answer(&of_revision))
        *err = of_revision;
    return -1;
}
