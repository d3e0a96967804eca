/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tables: header name to the member it fills, and answer to failure. Values that do
 * not fit or are not what they should be count as absent, so that whoever needs them says
 * so.
 */
#include "reply.h"

#include <base/error.h>
#include <base/text.h>

#include <curl/curl.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { RETRY_AFTER_MAX_S = 86400 };

/* --- headers -------------------------------------------------------------------------
 */

/* Decimal digits at `text`; the first byte after them, NULL when there are none or too
 * many. */
static const char *take_number(const char *text, uint64_t *number)
{
    uint64_t value = 0;

    if (*text < '0' || *text > '9')
        return NULL;
    for (; *text >= '0' && *text <= '9'; text++) {
        if (value > (UINT64_MAX - 9) / 10)
            return NULL;
        value = value * 10 + (uint64_t)(*text - '0');
    }
    *number = value;
    return text;
}

/* 0 to 2^63-1, the sizes a file can have. */
static bool parse_size(const char *text, uint64_t *size)
{
    const char *end = take_number(text, size);

    return end && *end == '\0' && *size <= INT64_MAX;
}

/* "bytes 100-199/1000" */
static void parse_range(struct hc_reply *reply, const char *value)
{
    uint64_t start, last, total;
    const char *next = hc_text_starts(value, "bytes ") ? value + 6 : NULL;

    next = next ? take_number(next, &start) : NULL;
    next = next && *next == '-' ? take_number(next + 1, &last) : NULL;
    next = next && *next == '/' ? take_number(next + 1, &total) : NULL;
    if (!next || *next || start > last || last >= total)
        return;
    reply->has_range = true;
    reply->range_start = start;
    reply->range_total = total;
}

static unsigned seconds_to_ms(uint64_t seconds)
{
    return (unsigned)(seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S) * 1000;
}

/* Seconds, or a date. */
static void parse_retry_after(struct hc_reply *reply, const char *value)
{
    uint64_t seconds;
    time_t now, then;

    if (parse_size(value, &seconds)) {
        reply->retry_after_ms = seconds_to_ms(seconds);
        return;
    }
    now = time(NULL);
    then = curl_getdate(value, NULL);
    if (then > now)
        reply->retry_after_ms = seconds_to_ms((uint64_t)(then - now));
}

/* `"api";r=0;t=55`; Retry-After wins when both are there. */
static void parse_rate_limit(struct hc_reply *reply, const char *value)
{
    const char *left = strstr(value, "r=");
    const char *reset = strstr(value, "t=");
    uint64_t remaining, seconds;

    if (left && reset && take_number(left + 2, &remaining) && remaining == 0 &&
        take_number(reset + 2, &seconds) && reply->retry_after_ms == 0)
        reply->retry_after_ms = seconds_to_ms(seconds);
}

/* Whether the parameters between `text` and `end` say rel="next". */
static bool is_next(const char *text, const char *end)
{
    const char *rel = strcasestr(text, "rel=");

    if (!rel || rel >= end)
        return false;
    rel += 4;
    if (*rel == '"')
        rel++;
    return strncasecmp(rel, "next", 4) == 0 &&
           !strchr("abcdefghijklmnopqrstuvwxyz-", rel[4]);
}

/* <url>; rel="next", <url>; rel="xet-auth" */
static void parse_link(struct hc_reply *reply, const char *value)
{
    const char *open = strchr(value, '<');

    while (open) {
        const char *close = strchr(open, '>');
        const char *following = close ? strchr(close, '<') : NULL;
        const char *end = following ? following : value + strlen(value);

        if (!close)
            return;
        if (is_next(close, end))
            (void)hc_format(reply->next_page, sizeof reply->next_page, "%.*s",
                            (int)(close - open - 1), open + 1);
        open = following;
    }
}

static void parse_commit(struct hc_reply *reply, const char *value)
{
    reply->has_bad_commit = !hc_commit_is_valid(value);
    (void)hc_format(reply->commit, sizeof reply->commit, "%s",
                    reply->has_bad_commit ? "" : value);
}

/* Text of the Hub's that ends up in messages: whatever cannot be shown becomes "?". */
static void keep_message(struct hc_reply *reply, const char *value)
{
    bool is_utf8;

    (void)snprintf(reply->error_message, sizeof reply->error_message, "%s", value);
    is_utf8 = hc_text_is_utf8(reply->error_message);
    for (char *c = reply->error_message; *c; c++) {
        unsigned char byte = (unsigned char)*c;

        if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !is_utf8))
            *c = '?';
    }
}

static void keep_request_id(struct hc_reply *reply, const char *value)
{
    if (!reply->request_id[0] && hc_text_is_utf8(value) && hc_text_is_printable(value))
        (void)hc_format(reply->request_id, sizeof reply->request_id, "%s", value);
}

static void keep_length(struct hc_reply *reply, const char *value)
{
    reply->has_length = parse_size(value, &reply->content_length);
}

static void keep_linked_size(struct hc_reply *reply, const char *value)
{
    reply->has_linked_size = parse_size(value, &reply->linked_size);
}

static void keep_etag(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->etag, sizeof reply->etag, "%s", value);
}

static void keep_linked_etag(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->linked_etag, sizeof reply->linked_etag, "%s", value);
}

static void keep_location(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->location, sizeof reply->location, "%s", value);
}

static void keep_code(struct hc_reply *reply, const char *value)
{
    (void)hc_format(reply->error_code, sizeof reply->error_code, "%s", value);
}

static const struct {
    const char *name;
    void (*keep)(struct hc_reply *reply, const char *value);
} headers[] = {
    {"Content-Length", keep_length},
    {"Content-Range", parse_range},
    {"ETag", keep_etag},
    {"Link", parse_link},
    {"Location", keep_location},
    {"RateLimit", parse_rate_limit},
    {"Retry-After", parse_retry_after},
    {"X-Amz-Cf-Id", keep_request_id},
    {"X-Amzn-Trace-Id", keep_request_id},
    {"X-Error-Code", keep_code},
    {"X-Error-Message", keep_message},
    {"X-Linked-Etag", keep_linked_etag},
    {"X-Linked-Size", keep_linked_size},
    {"X-Repo-Commit", parse_commit},
    {"X-Request-Id", keep_request_id},
};

void hc_reply_header(struct hc_reply *reply, const char *line, size_t length)
{
    char text[HC_HEADER_MAX];
    char *value;

    if (length >= sizeof text || memchr(line, '\0', length))
        return;
    memcpy(text, line, length);
    text[length] = '\0';
    value = strchr(text, ':');
    if (!value)
        return;
    *value++ = '\0';
    (void)hc_text_trim(value);
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        if (strcasecmp(headers[i].name, text) == 0)
            headers[i].keep(reply, value);
    }
}

void hc_reply_body(struct hc_reply *reply, const char *bytes, size_t count)
{
    json_t *root = reply->error_message[0] ? NULL : json_loadb(bytes, count, 0, NULL);
    const char *message = json_string_value(json_object_get(root, "error"));

    if (message)
        keep_message(reply, message);
    json_decref(root);
}

/* --- meaning -------------------------------------------------------------------------
 */

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

static int fail_absent(const struct hc_question *question, const char *subject,
                       struct hc_error *err)
{
    return hc_fail(
        err, HC_REPO_NOT_FOUND,
        "%s: the repo does not exist, or is private and %s; check its id and type",
        subject, question->had_token ? "this token may not see it" : "needs a token");
}

/* X-Error-Code and the Hub's text, in the order in which they count; 0: neither decides.
 */
static int fail_by_code(const struct hc_reply *reply, const struct hc_question *question,
                        const char *subject, struct hc_error *err)
{
    const char *code = reply->error_code;
    bool is_denied = reply->status == 401 || reply->status == 403;

    if (strcmp(code, "RevisionNotFound") == 0)
        return fail_finally(HC_REVISION_NOT_FOUND, subject,
                            "the repo has no such revision; check branch, tag or commit",
                            err);
    if (strcmp(code, "EntryNotFound") == 0)
        return fail_finally(HC_ENTRY_NOT_FOUND, subject,
                            "the revision has no such file; check its name", err);
    if (is_denied && strcmp(code, "GatedRepo") == 0)
        return fail_gated(question, subject, err);
    if (reply->status / 100 == 4 && strcasestr(reply->error_message, "disabled"))
        return fail_disabled(question, subject, err);
    if (strcmp(code, "RepoNotFound") == 0 ||
        (reply->status == 401 && !question->had_token))
        return fail_absent(question, subject, err);
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

static const char *advice_of(enum hc_reason reason, bool had_token)
{
    switch (reason) {
    case HC_HUB_UNAUTHORIZED:
        return had_token
                   ? "the token is refused; check that it is valid and may read this repo"
                   : "access is refused; it may need a token";
    case HC_HUB_RATE_LIMITED:
        return "too many requests; wait, or use a token to get a higher limit";
    case HC_HUB_UNREACHABLE:
        return "the Hub is out of order; try again later";
    default:
        return "the Hub's answer makes no sense; check the endpoint and what is in "
               "between";
    }
}

int hc_reply_fail(const struct hc_reply *reply, const struct hc_question *question,
                  struct hc_error *err)
{
    char subject[HC_SUBJECT_SIZE];
    enum hc_reason reason = reason_of_status(reply);
    size_t used;

    hc_question_describe(question, subject);
    if (fail_by_code(reply, question, subject, err) < 0)
        return -1;
    (void)hc_fail(err, reason, "%s: %.100s answers HTTP %ld: %s", subject,
                  question->endpoint, reply->status,
                  advice_of(reason, question->had_token));
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof err->message - used, "%s%.*s%s%s",
                   reply->error_message[0] ? ". It says: " : "",
                   shown(reply->error_message, 80), reply->error_message,
                   reply->request_id[0] ? ". Request id " : "", reply->request_id);
    err->is_final = reply->status == 407; /* a proxy's refusal will not pass */
    err->retry_after_ms = reply->retry_after_ms;
    return -1;
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

int hc_reply_metadata(const struct hc_reply *reply, const struct hc_question *question,
                      struct hc_metadata *metadata, struct hc_error *err)
{
    const char *etag = reply->linked_etag[0] ? reply->linked_etag : reply->etag;
    bool is_redirect = reply->status / 100 == 3;

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
    if (!reply->has_linked_size && (is_redirect || !reply->has_length))
        return fail_metadata(question, "without the file's size", err);
    metadata->size = reply->has_linked_size ? reply->linked_size : reply->content_length;
    memcpy(metadata->commit, reply->commit, sizeof metadata->commit);
    return 0;
}
