/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A URL is split before it is decoded, because a "%2F" in a revision is no separator.
 */
#include "hub_route.h"

#include "base/text.h"
#include "hub_abort.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const TYPES[] = {"models/", "datasets/", "spaces/", "kernels/"};

/* Advances past a repo type: "models/" and so on. NULL: there is none. */
static const char *route_read_type(const char **text)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        if (!hc_text_starts(*text, TYPES[i]))
            continue;
        *text += strlen(TYPES[i]);
        return TYPES[i];
    }
    return NULL;
}

/* Decodes the id, and keeps the rest encoded for a redirect. */
static void route_set_repo(struct hub_route *route, const char *type, const char *id,
                           size_t length)
{
    HC_AUTO_FREE char *decoded = hub_url_decode(id, length);

    route->repo = hub_format("%s%s", type, decoded);
    route->rest = hub_strdup(id + length);
}

/* "<revision>[/<path>]" */
static void route_set_revision(struct hub_route *route, const char *text)
{
    size_t length = strcspn(text, "/");
    const char *path = text + length + (text[length] == '/');

    route->revision = hub_url_decode(text, length);
    route->path = hub_url_decode(path, strlen(path));
}

/* "<id>/resolve/<revision>/<path>" and the like; false when `verb` does not occur. */
static bool route_read_verb(struct hub_route *route, const char *type, const char *id,
                            const char *verb)
{
    const char *found = strstr(id, verb);

    if (!found)
        return false;
    route_set_repo(route, type, id, (size_t)(found - id));
    route_set_revision(route, found + strlen(verb));
    return true;
}

/* "<id>/<commit>/<path>"; the commit is the first part with 40 hexadecimal digits. */
static enum hub_route_kind route_read_resolve_cache(struct hub_route *route,
                                                    const char *type, const char *id)
{
    for (const char *slash = strchr(id, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (strspn(slash + 1, "0123456789abcdef") != 40 || slash[41] != '/')
            continue;
        route_set_repo(route, type, id, (size_t)(slash - id));
        route_set_revision(route, slash + 1);
        return HUB_ROUTE_RESOLVE_CACHE;
    }
    return HUB_ROUTE_NOWHERE;
}

/* "/api/…": the repo's type is always there, in the plural. */
static enum hub_route_kind route_read_api(struct hub_route *route, const char *text)
{
    bool is_cache = hc_text_starts(text, "resolve-cache/");
    const char *id = is_cache ? text + strlen("resolve-cache/") : text;
    const char *type = route_read_type(&id);

    if (!type)
        return HUB_ROUTE_NOWHERE;
    if (is_cache)
        return route_read_resolve_cache(route, type, id);
    if (route_read_verb(route, type, id, "/tree/"))
        return HUB_ROUTE_TREE;
    if (route_read_verb(route, type, id, "/revision/"))
        return HUB_ROUTE_INFO;
    route_set_repo(route, type, id, strlen(id));
    route->revision = hub_strdup("main");
    route->path = hub_strdup("");
    return HUB_ROUTE_INFO;
}

/* "/…": a model's id stands without a type, as on the Hub. */
static enum hub_route_kind route_read_page(struct hub_route *route, const char *text)
{
    const char *id = text;
    const char *type = route_read_type(&id);

    if (route_read_verb(route, type ? type : "models/", id, "/resolve/"))
        return HUB_ROUTE_RESOLVE;
    return HUB_ROUTE_NOWHERE;
}

void hub_route_parse(const char *path, struct hub_route *route)
{
    *route = (struct hub_route){.is_api = hc_text_starts(path, "/api/")};
    if (route->is_api)
        route->kind = route_read_api(route, path + strlen("/api/"));
    else if (path[0] == '/')
        route->kind = route_read_page(route, path + 1);
}

void hub_route_clear(struct hub_route *route)
{
    free(route->repo);
    free(route->revision);
    free(route->path);
    free(route->rest);
}

/* A "%" that two digits do not follow stays as it is. */
char *hub_url_decode(const char *text, size_t length)
{
    char *decoded = hub_require(malloc(length + 1));
    size_t count = 0;

    for (size_t i = 0; i < length; i++) {
        if (text[i] == '%' && i + 2 < length && isxdigit((unsigned char)text[i + 1]) &&
            isxdigit((unsigned char)text[i + 2])) {
            const char digits[3] = {text[i + 1], text[i + 2], '\0'};

            decoded[count++] = (char)strtoul(digits, NULL, 16);
            i += 2;
            continue;
        }
        decoded[count++] = text[i];
    }
    decoded[count] = '\0';
    return decoded;
}

char *hub_url_encode(const char *text, const char *safe)
{
    char *encoded = NULL;
    size_t size = 0;
    FILE *stream = hub_require(open_memstream(&encoded, &size));

    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (isalnum(*s) || strchr("-_.~", *s) || strchr(safe, *s))
            (void)fputc(*s, stream);
        else
            (void)fprintf(stream, "%%%02X", *s);
    }
    (void)fclose(stream);
    return encoded;
}

char *hub_route_moved(const struct hub_route *route, const char *new_repo)
{
    HC_AUTO_FREE char *repo = hub_url_encode(new_repo, "/");
    const char *shown = repo;

    if (route->kind == HUB_ROUTE_RESOLVE_CACHE)
        return hub_format("/api/resolve-cache/%s%s", repo, route->rest);
    if (route->is_api)
        return hub_format("/api/%s%s", repo, route->rest);
    if (hc_text_starts(shown, "models/"))
        shown += strlen("models/");
    return hub_format("/%s%s", shown, route->rest);
}
