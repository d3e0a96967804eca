/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs are put together by hand, since the Hub wants "/" encoded in a revision and kept
 * in a file name (hf_hub_url() of the reference client), and taken apart by curl, so that
 * what is compared here is what curl will connect to: two parsers that disagree about a
 * host are how tokens get lost.
 *
 * All URLs have HC_URL_MAX bytes at most, with the NUL; a longer one is an error, never
 * cut.
 */
#include "url.h"

#include <base/error.h>
#include <base/text.h>

#include <curl/curl.h>
#include <string.h>
#include <strings.h>

static bool char_is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '-' || c == '.' || c == '_' || c == '~';
}

/* Appends `text`, percent-encoded (RFC 3986, 2.1), to the first `used` bytes of a URL.
 * The new length; -1 when it does not fit, or did not before. */
static int url_append(char url[HC_URL_MAX], int used, const char *text, bool keep_slash)
{
    static const char digits[] = "0123456789ABCDEF";

    for (; *text && used >= 0; text++) {
        bool is_kept = char_is_unreserved(*text) || (keep_slash && *text == '/');

        if (used + (is_kept ? 1 : 3) >= HC_URL_MAX)
            return -1;
        if (is_kept) {
            url[used++] = *text;
        } else {
            url[used++] = '%';
            url[used++] = digits[(unsigned char)*text >> 4];
            url[used++] = digits[(unsigned char)*text & 0xf];
        }
        url[used] = '\0';
    }
    return used;
}

/* One part of a URL as curl sees it, with the default port of the scheme; NULL when there
 * is none. The caller frees it with curl_free(). */
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
    int used = hc_format(url, HC_URL_MAX, "%s/%s%s/resolve/", endpoint,
                         hc_repo_url_prefix(repo), repo->id);

    used = url_append(url, used, revision, false);
    used = url_append(url, used, "/", true);
    used = url_append(url, used, path, true);
    if (used >= 0)
        return 0;
    return hc_fail_field(err, HC_INVALID_FILENAME, "filename",
                         "file name too long: its URL has more than %d bytes",
                         HC_URL_MAX - 1);
}

/* Ends an API's URL, of which the first `used` bytes are there (-1: they did not fit). */
static int url_end_api(char url[HC_URL_MAX], int used, const char *revision,
                       const char *query, struct hc_error *err)
{
    used = url_append(url, used, revision, false);
    if (used >= 0)
        used = hc_format(url + used, HC_URL_MAX - (size_t)used, "%s", query);
    if (used >= 0)
        return 0;
    return hc_fail_field(err, HC_INVALID_REVISION, "revision",
                         "revision too long: its URL has more than %d bytes",
                         HC_URL_MAX - 1);
}

int hc_url_revision(char url[HC_URL_MAX], const char *endpoint,
                    const struct hc_repo *repo, const char *revision,
                    struct hc_error *err)
{
    int used = hc_format(url, HC_URL_MAX, "%s/api/%s/%s/revision/", endpoint,
                         hc_repo_collection(repo), repo->id);

    return url_end_api(url, used, revision, "", err);
}

int hc_url_tree(char url[HC_URL_MAX], const char *endpoint, const struct hc_repo *repo,
                const char *commit, struct hc_error *err)
{
    int used = hc_format(url, HC_URL_MAX, "%s/api/%s/%s/tree/", endpoint,
                         hc_repo_collection(repo), repo->id);

    return url_end_api(url, used, commit, "?recursive=true&expand=false", err);
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
    int used = url_append(part, hc_format(part, sizeof part, "/tree/"), revision, false);
    const char *found = used < 0 ? NULL : strcasestr(path, part);

    return found && found + used <= end && (found[used] == '/' || found + used == end);
}

/* Proxies and gateways put the API under a path of their own: the last "/api/" counts. */
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

/* As a browser does it, but only to http and https, and without a fragment. */
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
