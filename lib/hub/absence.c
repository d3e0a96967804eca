/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The question about the revision is a shared one, under a name of its own: it is for one
 * endpoint, and its answer says only whether the revision is there.
 */
#include "absence.h"

#include "listing.h"
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <string.h>

enum { UNAUTHORIZED = 401, NOT_FOUND = 404 };

bool hc_absence_is_open(const struct hc_ask *ask)
{
    const struct hc_hub_response *response = &ask->response;

    return (response->status == NOT_FOUND || response->status == UNAUTHORIZED) &&
           !response->error_code[0] && !response->commit[0] &&
           hc_url_same_origin(ask->request.url, ask->target.endpoint);
}

int hc_absence_of_revision(const struct hc_ask *ask, struct hc_error *err)
{
    bool is_of_revision = strcasestr(ask->response.error_message, "revision") ||
                          strcasestr(ask->response.error_message, "rev id");

    if (ask->response.status != NOT_FOUND || !hc_absence_is_open(ask))
        return -1;
    return hc_hub_target_fail_absent(&ask->target,
                                     is_of_revision ? HC_REVISION_NOT_FOUND
                                                    : HC_REPO_NOT_FOUND,
                                     err);
}

/* 0 when the revision is there; the answer is empty. */
static int ask_revision(void *ctx, void *answer, struct hc_error *err)
{
    const struct hc_ask *asked = ctx;
    HC_AUTO(hc_tree) *siblings = NULL;
    struct hc_hub_target about = asked->target;
    HC_AUTO_VALUE(hc_buffer) body = {0};
    struct hc_revision revision;
    struct hc_ask ask;

    (void)answer;
    about.path = NULL;
    hc_ask_init(&ask, asked->hub, asked->credentials, &about);
    hc_ask_address(&ask, asked->endpoint);
    if (hc_url_revision(ask.request.url, about.endpoint, about.repo, about.revision,
                        err) < 0)
        return -1;
    if (hc_ask(&ask, &body, err) < 0)
        return hc_absence_of_revision(&ask, err);
    if (hc_listing_revision(body.bytes, body.used, &revision, &siblings, err) < 0)
        return hc_ask_fail(&ask, err);
    return 0;
}

/* Whether it says what is missing, or who may not see it. */
static bool is_an_answer(const struct hc_error *err)
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
static int fail_present(const struct hc_ask *ask, struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    if (ask->response.status == NOT_FOUND)
        return ask->target.path
                   ? hc_hub_target_fail_absent(&ask->target, HC_ENTRY_NOT_FOUND, err)
                   : -1;
    hc_hub_target_describe(&ask->target, text);
    return hc_fail(err, HC_HUB_UNAUTHORIZED,
                   "%s: %.100s shows the repo but refuses what is in it; %s", text,
                   ask->target.endpoint,
                   ask->target.had_token ? "check that the token may read it"
                                         : "it may need a token");
}

int hc_absence_explain(struct hc_ask *ask, struct hc_error *err)
{
    static const char purpose[] = "present ";
    char name[HC_URL_MAX + sizeof purpose] = "present ";
    char present;
    struct hc_error of_revision = {0};
    const struct hc_shared_question question = {.name = name,
                                                .credentials = ask->credentials,
                                                .answer_size = sizeof present,
                                                .ask = ask_revision,
                                                .ctx = ask};

    if (!ask->is_trusted || !hc_absence_is_open(ask) || ask->response.error_message[0] ||
        hc_url_revision(name + sizeof purpose - 1, ask->target.endpoint, ask->target.repo,
                        ask->target.revision, &of_revision) < 0)
        return -1;
    if (hc_questions_ask(ask->hub->questions, &question, &present, &of_revision) == 0)
        return fail_present(ask, err);
    if (is_an_answer(&of_revision))
        *err = of_revision;
    return -1;
}
