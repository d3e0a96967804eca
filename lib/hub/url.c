/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs are put together by hand, since the Hub wants "/" encoded in a revision and kept
 * in a file name, and taken apart by curl, so that what is judged here is what curl will
 * connect to: two parsers that disagree about a host are how tokens get lost.
 */
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

/* A URL being written into HC_URL_MAX bytes. */
struct draft {
    char *url;
    size_t used;
    bool is_full;
};

static void draft_put(struct draft *draft, char c)
{
    if (draft->used + 1 >= HC_URL_MAX) {
        draft->is_full = true;
        return;
    }
    draft->url[draft->used++] = c;
    draft->url[draft->used] = '\0';
}

static void draft_put_text(struct draft *draft, const char *text)
{
    for (; *text; text++)
        draft_put(draft, *text);
}

static bool char_is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

static void draft_put_encoded(struct draft *draft, const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text; text++) {
        if (char_is_unreserved(*text) || (keep_slash && *text == '/')) {
            draft_put(draft, *text);
            continue;
        }
        draft_put(draft, '%');
        draft_put(draft, digits[(unsigned char)*text >> 4]);
        draft_put(draft, digits[(unsigned char)*text & 0xf]);
    }
}

/* One part of a URL as curl sees it, "" when there is none; curl_free() it. */
static char *curl_url_part(CURLU *url, CURLUPart part)
{
    char *text = NULL;

    return curl_url_get(url, part, &text, CURLU_DEFAULT_PORT) == CURLUE_OK ? text : NULL;
}

static CURLU *curl_url_parse(const char *text)
{
    CURLU *url = curl_url();

    if (url && curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK) {
        curl_url_cleanup(url);
        return NULL;
    }
    return url;
}

static bool curl_url_same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *left = curl_url_part(a, part);
    char *right = curl_url_part(b, part);
    bool is_same = left && right && strcasecmp(left, right) == 0;

    curl_free(left);
    curl_free(right);
    return is_same;
}

static bool curl_url_is_http(CURLU *url)
{
    char *scheme = curl_url_part(url, CURLUPART_SCHEME);
    bool result = scheme && (strcasecmp(scheme, "http") == 0 || //
                             strcasecmp(scheme, "https") == 0);

    curl_free(scheme);
    return result;
}

int hc_url_resolve(char url[HC_URL_MAX], const char *endpoint, const struct hc_repo *repo,
                   const char *revision, const char *path, struct hc_error *err)
{
    struct draft draft = {.url = url};

    draft_put_text(&draft, endpoint);
    draft_put(&draft, '/');
    draft_put_text(&draft, hc_repo_url_prefix(repo));
    draft_put_text(&draft, repo->id);
    draft_put_text(&draft, "/resolve/");
    draft_put_encoded(&draft, revision, false);
    draft_put(&draft, '/');
    draft_put_encoded(&draft, path, true);
    if (!draft.is_full)
        return 0;
    return hc_fail_field(err, HC_INVALID_FILENAME, "filename",
                         "file name too long: its URL has more than %d bytes",
                         HC_URL_MAX - 1);
}

/* <endpoint>/api/<collection>/<id>/<kind>/<revision>, to be continued. */
static void draft_put_api(struct draft *draft, const char *endpoint,
                          const struct hc_repo *repo, const char *kind,
                          const char *revision)
{
    draft_put_text(draft, endpoint);
    draft_put_text(draft, "/api/");
    draft_put_text(draft, hc_repo_collection(repo));
    draft_put(draft, '/');
    draft_put_text(draft, repo->id);
    draft_put(draft, '/');
    draft_put_text(draft, kind);
    draft_put(draft, '/');
    draft_put_encoded(draft, revision, false);
}

static int draft_finish_api(const struct draft *draft, struct hc_error *err)
{
    if (!draft->is_full)
        return 0;
    return hc_fail_field(err, HC_INVALID_REVISION, "revision",
                         "revision too long: its URL has more than %d bytes",
                         HC_URL_MAX - 1);
}

int hc_url_revision(char url[HC_URL_MAX], const char *endpoint,
                    const struct hc_repo *repo, const char *revision,
                    struct hc_error *err)
{
    struct draft draft = {.url = url};

    draft_put_api(&draft, endpoint, repo, "revision", revision);
    return draft_finish_api(&draft, err);
}

int hc_url_tree(char url[HC_URL_MAX], const char *endpoint, const struct hc_repo *repo,
                const char *commit, struct hc_error *err)
{
    struct draft draft = {.url = url};

    draft_put_api(&draft, endpoint, repo, "tree", commit);
    draft_put_text(&draft, "?recursive=true&expand=false");
    return draft_finish_api(&draft, err);
}

/* The part after the host of a URL that curl has put together; NULL when it has none. */
static const char *url_path(const char *url)
{
    const char *host = strstr(url, "://");

    return host ? strchr(host + 3, '/') : NULL;
}

/* Whether the path that ends at `end` has the part "/tree/<revision>", and nothing behind
 * it but directories. */
static bool url_lists_revision(const char *path, const char *end, const char *revision)
{
    char part[HC_URL_MAX];
    struct draft draft = {.url = part};
    const char *found;

    draft_put_text(&draft, "/tree/");
    draft_put_encoded(&draft, revision, false);
    found = strcasestr(path, part);
    return found && found + draft.used <= end &&
           (found[draft.used] == '/' || found + draft.used == end);
}

bool hc_url_page(char url[HC_URL_MAX], const char *endpoint, const char *revision,
                 const char *link)
{
    const char *path = url_path(link);
    const char *end = path ? path + strcspn(path, "?#") : NULL;
    const char *start = NULL;

    for (const char *api = path; api && api < end; api = strstr(api + 1, "/api/")) {
        if (hc_text_starts(api, "/api/"))
            start = api;
    }
    return start && url_lists_revision(start, end, revision) &&
           hc_format(url, HC_URL_MAX, "%s%s", endpoint, start) >= 0;
}

void hc_url_copy(char url[HC_URL_MAX], const char *from)
{
    size_t size = strnlen(from, HC_URL_MAX - 1);

    memcpy(url, from, size);
    url[size] = '\0';
}

bool hc_url_join(char url[HC_URL_MAX], const char *base, const char *location)
{
    /* curl would send the user name of a redirect as credentials. */
    const unsigned flags = CURLU_URLENCODE | CURLU_ALLOW_SPACE | CURLU_DISALLOW_USER;
    CURLU *target = location[0] ? curl_url_parse(base) : NULL;
    char *text = NULL;
    bool is_good = target &&
                   curl_url_set(target, CURLUPART_URL, location, flags) == CURLUE_OK &&
                   curl_url_set(target, CURLUPART_FRAGMENT, NULL, 0) == CURLUE_OK &&
                   curl_url_is_http(target) &&
                   curl_url_get(target, CURLUPART_URL, &text, 0) == CURLUE_OK &&
                   hc_format(url, HC_URL_MAX, "%s", text) >= 0;

    curl_free(text);
    curl_url_cleanup(target);
    return is_good;
}

bool hc_url_same_origin(const char *a, const char *b)
{
    CURLU *left = curl_url_parse(a);
    CURLU *right = curl_url_parse(b);
    bool is_same = left && right && curl_url_same_part(left, right, CURLUPART_SCHEME) &&
                   curl_url_same_part(left, right, CURLUPART_HOST) &&
                   curl_url_same_part(left, right, CURLUPART_PORT);

    curl_url_cleanup(left);
    curl_url_cleanup(right);
    return is_same;
}
