/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file is, and what a revision means: small answers that many callers want at the
 * same time, so they are asked for once. Questions are told apart by their URL.
 */
#include "ask.h"
#include "listing.h"
#include "url.h"

#include <base/error.h>

#include <string.h>

/* Who asks what. A question about a revision has no path. */
struct inquiry {
    struct hc_hub *hub;
    const struct hc_caller *caller;
    struct hc_question about;
    char url[HC_URL_MAX];
};

static int ask_head(void *ctx, void *answer, struct hc_error *err)
{
    const struct inquiry *inquiry = ctx;
    struct hc_metadata *metadata = answer;
    struct hc_ask ask;

    hc_ask_init(&ask, inquiry->hub, inquiry->caller, &inquiry->about);
    memcpy(ask.request.url, inquiry->url, sizeof inquiry->url);
    ask.request.is_head = true;
    if (hc_ask(&ask, NULL, err) < 0) {
        if (err->reason == HC_ENTRY_NOT_FOUND)
            memcpy(metadata->commit, ask.reply.commit, sizeof metadata->commit);
        return -1;
    }
    memcpy(metadata->location, ask.request.url, sizeof metadata->location);
    return hc_reply_metadata(&ask.reply, &ask.question, metadata, err);
}

static int ask_revision(void *ctx, void *answer, struct hc_error *err)
{
    const struct inquiry *inquiry = ctx;
    HC_AUTO_VALUE(hc_body) body = {0};
    struct hc_ask ask;

    hc_ask_init(&ask, inquiry->hub, inquiry->caller, &inquiry->about);
    memcpy(ask.request.url, inquiry->url, sizeof inquiry->url);
    if (hc_ask(&ask, &body, err) < 0)
        return -1;
    if (hc_listing_commit(body.bytes, body.used, answer, err) < 0)
        return hc_ask_fail(&ask, err);
    return 0;
}

int hc_hub_head(struct hc_hub *hub, const struct hc_place *place,
                const struct hc_caller *caller, struct hc_metadata *metadata,
                struct hc_error *err)
{
    struct inquiry inquiry = {.hub = hub,
                              .caller = caller,
                              .about = {.repo = place->repo,
                                        .revision = place->revision,
                                        .path = place->path}};
    const struct hc_shared_question question = {.name = inquiry.url,
                                                .caller = caller,
                                                .answer_size = sizeof *metadata,
                                                .ask = ask_head,
                                                .ctx = &inquiry};

    metadata->commit[0] = '\0';
    if (hc_url_resolve(inquiry.url, hc_hub_endpoint(hub), place->repo, place->revision,
                       place->path, err) < 0)
        return -1;
    return hc_questions_ask(hub->questions, &question, metadata, err);
}

int hc_hub_revision(struct hc_hub *hub, const struct hc_repo *repo, const char *revision,
                    const struct hc_caller *caller, char commit[HC_COMMIT_SIZE],
                    struct hc_error *err)
{
    struct inquiry inquiry = {.hub = hub,
                              .caller = caller,
                              .about = {.repo = repo, .revision = revision}};
    const struct hc_shared_question question = {.name = inquiry.url,
                                                .caller = caller,
                                                .answer_size = HC_COMMIT_SIZE,
                                                .ask = ask_revision,
                                                .ctx = &inquiry};

    if (hc_url_revision(inquiry.url, hc_hub_endpoint(hub), repo, revision, err) < 0)
        return -1;
    return hc_questions_ask(hub->questions, &question, commit, err);
}
