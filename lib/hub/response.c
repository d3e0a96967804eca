/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a response means: which failure it is, in which words, and what it says of a file.
 *
 * The order in which an error is told from another is the reference client's
 * (hf_raise_for_status() in utils/_http.py): X-Error-Code first, then "disabled" in the
 * Hub's text, then a 401, which the Hub gives for repos that do not exist as well; the
 * bare status comes last. Messages name the target, the cause and what to do, and quote
 * the Hub in characters that can be shown.
 */
#include "response.h"

#include <base/error.h>
#include <base/size.h>
#include <base/text.h>
#include <repo/name.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* How many bytes of `text` to show: at most `max`, ending with a whole character. */
static int text_shown_length(const char *text, int max)
{
    size_t length = strnlen(text, (size_t)max + 1);

    if (length <= (size_t)max)
        return (int)length;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

void hc_hub_response_clear(struct hc_hub_response *response)
{
    memset(response, 0, offsetof(struct hc_hub_response, location));
    response->location[0] = '\0';
    response->next_page[0] = '\0';
}

void hc_hub_target_describe(const struct hc_hub_target *target,
                            char text[HC_TARGET_TEXT_SIZE])
{
    const struct hc_repo *repo = target->repo;
    const char *path = target->path;
    int used = 0;

    if (path)
        used = hc_format(text, HC_TARGET_TEXT_SIZE, "file '%.*s' of ",
                         text_shown_length(path, 120), path);
    (void)hc_format(text + used, HC_TARGET_TEXT_SIZE - (size_t)used,
                    "%s '%.120s' at revision '%.*s'", hc_repo_type_name(repo->type),
                    repo->id, text_shown_length(target->revision, 60), target->revision);
}

/* For absence on the Hub's own word: no older answer of the cache may hide it. */
static int fail_final(enum hc_reason reason, const char *text, const char *advice,
                      struct hc_error *err)
{
    (void)hc_fail(err, reason, "%s: %s", text, advice);
    err->is_final = true;
    return -1;
}

static int target_fail_gated(const struct hc_hub_target *target, const char *text,
                             struct hc_error *err)
{
    const struct hc_repo *repo = target->repo;

    (void)
        hc_fail(err, HC_GATED_REPO,
                "%s: access is gated; ask for it on the repo's page and use the token of "
                "an account that has it",
                text);
    (void)hc_format(err->link, sizeof err->link, "%s/%s%s", target->endpoint,
                    hc_repo_url_prefix(repo), repo->id);
    return -1;
}

static int target_fail_disabled(const struct hc_hub_target *target, const char *text,
                                struct hc_error *err)
{
    const struct hc_repo *repo = target->repo;

    (void)hc_fail(err, HC_REPO_DISABLED,
                  "%s: the Hub has disabled access to this repo; its page may say why",
                  text);
    (void)hc_format(err->link, sizeof err->link, "%s/%s%s", target->endpoint,
                    hc_repo_url_prefix(repo), repo->id);
    return -1;
}

static int target_fail_no_repo(const struct hc_hub_target *target, const char *text,
                               struct hc_error *err)
{
    return hc_fail(
        err, HC_REPO_NOT_FOUND,
        "%s: the repo does not exist, or is private and %s; check its id and type", text,
        target->had_token ? "this token may not see it" : "needs a token");
}

int hc_hub_target_fail_absent(const struct hc_hub_target *target, enum hc_reason reason,
                              struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    hc_hub_target_describe(target, text);
    if (reason == HC_REPO_NOT_FOUND)
        return target_fail_no_repo(target, text, err);
    return fail_final(reason, text,
                      reason == HC_REVISION_NOT_FOUND
                          ? "the repo has no such revision; check branch, tag or commit"
                          : "the revision has no such file; check its name",
                      err);
}

/* By X-Error-Code and the Hub's text, in the order in which they count; 0: neither
 * decides.
 */
static int response_fail_by_code(const struct hc_hub_response *response,
                                 const struct hc_hub_target *target, const char *text,
                                 struct hc_error *err)
{
    const char *code = response->error_code;
    bool is_denied = response->status == 401 || response->status == 403;

    if (strcmp(code, "RevisionNotFound") == 0)
        return hc_hub_target_fail_absent(target, HC_REVISION_NOT_FOUND, err);
    if (strcmp(code, "EntryNotFound") == 0)
        return hc_hub_target_fail_absent(target, HC_ENTRY_NOT_FOUND, err);
    if (is_denied && strcmp(code, "GatedRepo") == 0)
        return target_fail_gated(target, text, err);
    if (response->status / 100 == 4 && strcasestr(response->error_message, "disabled"))
        return target_fail_disabled(target, text, err);
    if (strcmp(code, "RepoNotFound") == 0 ||
        (response->status == 401 && !target->had_token))
        return target_fail_no_repo(target, text, err);
    return 0;
}

/* By the bare status. 407 comes from a proxy; 501 will not pass; other 4xx and a 2xx or
 * 3xx that cannot be used are bad replies. */
static enum hc_reason response_reason(const struct hc_hub_response *response)
{
    if (response->status == 401 || response->status == 403)
        return HC_HUB_UNAUTHORIZED;
    if (response->status == 429)
        return HC_HUB_RATE_LIMITED;
    if (response->status == 407 || hc_hub_response_is_transient(response))
        return HC_HUB_UNREACHABLE;
    return HC_BAD_HUB_REPLY;
}

enum { PROXY_REFUSES = 407 };

static const char *response_advice(const struct hc_hub_response *response,
                                   const struct hc_hub_target *target)
{
    if (response->status == PROXY_REFUSES)
        return "a proxy refuses; check http_proxy and https_proxy";
    switch (response_reason(response)) {
    case HC_HUB_UNAUTHORIZED:
        return target->had_token
                   ? "the token is refused; check that it is valid and may read this repo"
                   : "access is refused; it may need a token";
    case HC_HUB_RATE_LIMITED:
        return target->storage
                   ? "too many requests; wait"
                   : "too many requests; wait, or use a token to get a higher limit";
    case HC_HUB_UNREACHABLE:
        return "it is out of order; try again later";
    default:
        return "the Hub's answer makes no sense; check the endpoint and what is in "
               "between";
    }
}

int hc_hub_response_fail(const struct hc_hub_response *response,
                         const struct hc_hub_target *target, struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];
    size_t used;

    hc_hub_target_describe(target, text);
    if (!target->storage && response_fail_by_code(response, target, text, err) < 0)
        return -1;
    (void)hc_fail(err, response_reason(response), "%s: %.100s answers HTTP %ld: %s", text,
                  target->storage ? target->storage : target->endpoint, response->status,
                  response_advice(response, target));
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof err->message - used, "%s%.*s%s%s",
                   response->error_message[0] ? ". It says: " : "",
                   text_shown_length(response->error_message, 80),
                   response->error_message,
                   response->request_id[0] ? ". Request id " : "", response->request_id);
    err->is_final =
        response->status == PROXY_REFUSES; /* a proxy that refuses will refuse again */
    err->retry_after_ms = response->retry_after_ms;
    return -1;
}

int hc_hub_response_check_commit(const struct hc_hub_response *response,
                                 const struct hc_hub_target *target, struct hc_error *err)
{
    if (!response->commit[0] || !hc_commit_is_valid(target->revision) ||
        strcmp(response->commit, target->revision) == 0)
        return 0;
    return hc_fail(err, HC_BAD_HUB_REPLY, "it answers for commit %s instead",
                   response->commit);
}

bool hc_hub_response_is_transient(const struct hc_hub_response *response)
{
    return response->status == 408 || response->status == 429 ||
           (response->status >= 500 && response->status != 501);
}

static int target_fail_metadata(const struct hc_hub_target *target, const char *cause,
                                struct hc_error *err)
{
    char text[HC_TARGET_TEXT_SIZE];

    hc_hub_target_describe(target, text);
    return hc_fail(
        err, HC_BAD_HUB_REPLY,
        "%s: %.100s answers %s; check the endpoint, and whether a proxy strips or "
        "changes headers",
        text, target->endpoint, cause);
}

/* X-Linked-Size, or the length of an answer that is no redirect: that has its own. Many a
 * gateway says 0 or nothing for a HEAD. */
static uint64_t response_size(const struct hc_hub_response *response)
{
    if (response->has_linked_size)
        return response->linked_size;
    return response->has_length && response->status / 100 != 3 ? response->content_length
                                                               : HC_SIZE_UNKNOWN;
}

/* The linked headers come first: on a redirect, ETag and Content-Length are those of the
 * redirect itself (file_download.py of the reference client, get_hf_file_metadata()). */
int hc_hub_response_metadata(const struct hc_hub_response *response,
                             const struct hc_hub_target *target,
                             struct hc_metadata *metadata, struct hc_error *err)
{
    const char *etag = response->linked_etag[0] ? response->linked_etag : response->etag;

    if (!response->commit[0])
        return target_fail_metadata(target,
                                    response->has_bad_commit
                                        ? "with an X-Repo-Commit that is no commit"
                                        : "without X-Repo-Commit",
                                    err);
    if (!etag[0])
        return target_fail_metadata(target, "without an ETag", err);
    if (!hc_etag_parse(etag, metadata->etag))
        return target_fail_metadata(target, "with an ETag that cannot name a file", err);
    metadata->size = hc_blob_size_from_head(metadata->etag, response_size(response));
    memcpy(metadata->commit, response->commit, sizeof metadata->commit);
    return hc_etag_make_unique(metadata->etag, metadata->commit, target->path, err);
}
