/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an answer means: which failure it is, in which words, and what it says of a file.
 */
#include "reply.h"

#include <base/error.h>
#include <base/size.h>
#include <base/text.h>
#include <repo/name.h>

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* How many bytes of `text` to show: at most `max`, ending with a whole character. */
static int shown(const char *text, int max)
{
    size_t length = strnlen(text, (size_t)max + 1);

    if (length <= (size_t)max)
        return (int)length;
    while (max > 0 && ((unsigned char)text[max] & 0xc0) == 0x80)
        max--;
    return max;
}

void hc_reply_clear(struct hc_reply *reply)
{
    memset(reply, 0, offsetof(struct hc_reply, location));
    reply->location[0] = '\0';
    reply->next_page[0] = '\0';
}

void hc_question_describe(const struct hc_question *question,
                          char subject[HC_SUBJECT_SIZE])
{
    const struct hc_repo *repo = question->repo;
    const char *path = question->path;
    int used = 0;

    if (path)
        used = hc_format(subject, HC_SUBJECT_SIZE, "file '%.*s' of ", shown(path, 120),
                         path);
    (void)hc_format(subject + used, HC_SUBJECT_SIZE - (size_t)used,
                    "%s '%.120s' at revision '%.*s'", hc_repo_type_name(repo->type),
                    repo->id, shown(question->revision, 60), question->revision);
}

/* A revision that the Hub says it does not have is news that the cache must not hide. */
static int fail_finally(enum hc_reason reason, const char *subject, const char *advice,
                        struct hc_error *err)
{
    (void)hc_fail(err, reason, "%s: %s", subject, advice);
    err->is_final = true;
    return -1;
}

static int fail_gated(const struct hc_question *question, const char *subject,
                      struct hc_error *err)
{
    const struct hc_repo *repo = question->repo;

    (void)
        hc_fail(err, HC_GATED_REPO,
                "%s: access is gated; ask for it on the repo's page and use the token of "
                "an account that has it",
                subject);
    (void)hc_format(err->link, sizeof err->link, "%s/%s%s", question->endpoint,
                    hc_repo_url_prefix(repo), repo->id);
    return -1;
}

static int fail_disabled(const struct hc_question *question, const char *subject,
                         struct hc_error *err)
{
    const struct hc_repo *repo = question->repo;

    (void)hc_fail(err, HC_REPO_DISABLED,
                  "%s: the Hub has disabled access to this repo; its page may say why",
                  subject);
    (void)hc_format(err->link, sizeof err->link, "%s/%s%s", question->endpoint,
                    hc_repo_url_prefix(repo), repo->id);
    return -1;
}

static int fail_no_repo(const struct hc_question *question, const char *subject,
                        struct hc_error *err)
{
    return hc_fail(
        err, HC_REPO_NOT_FOUND,
        "%s: the repo does not exist, or is private and %s; check its id and type",
        subject, question->had_token ? "this token may not see it" : "needs a token");
}

int hc_reply_fail_absent(const struct hc_question *question, enum hc_reason reason,
                         struct hc_error *err)
{
    char subject[HC_SUBJECT_SIZE];

    hc_question_describe(question, subject);
    if (reason == HC_REPO_NOT_FOUND)
        return fail_no_repo(question, subject, err);
    return fail_finally(reason, subject,
                        reason == HC_REVISION_NOT_FOUND
                            ? "the repo has no such revision; check branch, tag or commit"
                            : "the revision has no such file; check its name",
                        err);
}

/* X-Error-Code and the Hub's text, in the order in which they count; 0: neither decides.
 */
static int fail_by_code(const struct hc_reply *reply, const struct hc_question *question,
                        const char *subject, struct hc_error *err)
{
    const char *code = reply->error_code;
    bool is_denied = reply->status == 401 || reply->status == 403;

    if (strcmp(code, "RevisionNotFound") == 0)
        return hc_reply_fail_absent(question, HC_REVISION_NOT_FOUND, err);
    if (strcmp(code, "EntryNotFound") == 0)
        return hc_reply_fail_absent(question, HC_ENTRY_NOT_FOUND, err);
    if (is_denied && strcmp(code, "GatedRepo") == 0)
        return fail_gated(question, subject, err);
    if (reply->status / 100 == 4 && strcasestr(reply->error_message, "disabled"))
        return fail_disabled(question, subject, err);
    if (strcmp(code, "RepoNotFound") == 0 ||
        (reply->status == 401 && !question->had_token))
        return fail_no_repo(question, subject, err);
    return 0;
}

static enum hc_reason reason_of_status(const struct hc_reply *reply)
{
    if (reply->status == 401 || reply->status == 403)
        return HC_HUB_UNAUTHORIZED;
    if (reply->status == 429)
        return HC_HUB_RATE_LIMITED;
    if (reply->status == 407 || hc_reply_may_pass(reply))
        return HC_HUB_UNREACHABLE;
    return HC_BAD_HUB_REPLY;
}

enum { PROXY_REFUSES = 407 };

static const char *advice_of(const struct hc_reply *reply,
                             const struct hc_question *question)
{
    if (reply->status == PROXY_REFUSES)
        return "a proxy refuses; check http_proxy and https_proxy";
    switch (reason_of_status(reply)) {
    case HC_HUB_UNAUTHORIZED:
        return question->had_token
                   ? "the token is refused; check that it is valid and may read this repo"
                   : "access is refused; it may need a token";
    case HC_HUB_RATE_LIMITED:
        return question->storage
                   ? "too many requests; wait"
                   : "too many requests; wait, or use a token to get a higher limit";
    case HC_HUB_UNREACHABLE:
        return "it is out of order; try again later";
    default:
        return "the Hub's answer makes no sense; check the endpoint and what is in "
               "between";
    }
}

int hc_reply_fail(const struct hc_reply *reply, const struct hc_question *question,
                  struct hc_error *err)
{
    char subject[HC_SUBJECT_SIZE];
    size_t used;

    hc_question_describe(question, subject);
    if (!question->storage && fail_by_code(reply, question, subject, err) < 0)
        return -1;
    (void)hc_fail(err, reason_of_status(reply), "%s: %.100s answers HTTP %ld: %s",
                  subject, question->storage ? question->storage : question->endpoint,
                  reply->status, advice_of(reply, question));
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof err->message - used, "%s%.*s%s%s",
                   reply->error_message[0] ? ". It says: " : "",
                   shown(reply->error_message, 80), reply->error_message,
                   reply->request_id[0] ? ". Request id " : "", reply->request_id);
    err->is_final = reply->status == PROXY_REFUSES; /* it will not pass */
    err->retry_after_ms = reply->retry_after_ms;
    return -1;
}

int hc_reply_check_commit(const struct hc_reply *reply,
                          const struct hc_question *question, struct hc_error *err)
{
    if (!reply->commit[0] || !hc_commit_is_valid(question->revision) ||
        strcmp(reply->commit, question->revision) == 0)
        return 0;
    return hc_fail(err, HC_BAD_HUB_REPLY, "it answers for commit %s instead",
                   reply->commit);
}

bool hc_reply_may_pass(const struct hc_reply *reply)
{
    return reply->status == 408 || reply->status == 429 ||
           (reply->status >= 500 && reply->status != 501);
}

static int fail_metadata(const struct hc_question *question, const char *cause,
                         struct hc_error *err)
{
    char subject[HC_SUBJECT_SIZE];

    hc_question_describe(question, subject);
    return hc_fail(
        err, HC_BAD_HUB_REPLY,
        "%s: %.100s answers %s; check the endpoint, and whether a proxy strips or "
        "changes headers",
        subject, question->endpoint, cause);
}

/* X-Linked-Size, or the length of an answer that is no redirect: that has its own. Many a
 * gateway says 0 or nothing for a HEAD. */
static uint64_t size_told(const struct hc_reply *reply)
{
    if (reply->has_linked_size)
        return reply->linked_size;
    return reply->has_length && reply->status / 100 != 3 ? reply->content_length
                                                         : HC_SIZE_UNKNOWN;
}

int hc_reply_metadata(const struct hc_reply *reply, const struct hc_question *question,
                      struct hc_metadata *metadata, struct hc_error *err)
{
    const char *etag = reply->linked_etag[0] ? reply->linked_etag : reply->etag;

    if (!reply->commit[0])
        return fail_metadata(question,
                             reply->has_bad_commit
                                 ? "with an X-Repo-Commit that is no commit"
                                 : "without X-Repo-Commit",
                             err);
    if (!etag[0])
        return fail_metadata(question, "without an ETag", err);
    if (!hc_etag_parse(etag, metadata->etag))
        return fail_metadata(question, "with an ETag that cannot name a file", err);
    metadata->size = hc_blob_size_of(metadata->etag, size_told(reply));
    memcpy(metadata->commit, reply->commit, sizeof metadata->commit);
    return hc_etag_bind(metadata->etag, metadata->commit, question->path, err);
}
