/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs are cut while they are still encoded: a "%2F" in a revision is no separator.
 */
#include "hub_place.h"

#include "base/text.h"
#include "hub_must.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const TYPES[] = {"models/", "datasets/", "spaces/", "kernels/"};

/* Advances past a repo type: "models/" and so on. NULL: there is none. */
static const char *read_type(const char **text)
{
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        if (!hc_text_starts(*text, TYPES[i]))
            continue;
        *text += strlen(TYPES[i]);
        return TYPES[i];
    }
    return NULL;
}

static void set_repo(struct hub_place *place, const char *type, const char *id,
                     size_t length)
{
    HC_AUTO_FREE char *decoded = hub_place_decode(id, length);

    place->repo = hub_text("%s%s", type, decoded);
    place->rest = hub_copy(id + length);
}

/* "<revision>[/<path>]" */
static void set_revision(struct hub_place *place, const char *text)
{
    size_t length = strcspn(text, "/");
    const char *path = text + length + (text[length] == '/');

    place->revision = hub_place_decode(text, length);
    place->path = hub_place_decode(path, strlen(path));
}

/* "<id>/resolve/<revision>/<path>" and its like; false when `verb` is not there. */
static bool read_verb(struct hub_place *place, const char *type, const char *id,
                      const char *verb)
{
    const char *found = strstr(id, verb);

    if (!found)
        return false;
    set_repo(place, type, id, (size_t)(found - id));
    set_revision(place, found + strlen(verb));
    return true;
}

/* "<id>/<commit>/<path>": the commit is the first segment that looks like one. */
static enum hub_place_kind read_resolve_cache(struct hub_place *place, const char *type,
                                              const char *id)
{
    for (const char *slash = strchr(id, '/'); slash; slash = strchr(slash + 1, '/')) {
        if (strspn(slash + 1, "0123456789abcdef") != 40 || slash[41] != '/')
            continue;
        set_repo(place, type, id, (size_t)(slash - id));
        set_revision(place, slash + 1);
        return HUB_PLACE_RESOLVE_CACHE;
    }
    return HUB_PLACE_NOWHERE;
}

static enum hub_place_kind read_api(struct hub_place *place, const char *text)
{
    bool is_cache = hc_text_starts(text, "resolve-cache/");
    const char *id = is_cache ? text + strlen("resolve-cache/") : text;
    const char *type = read_type(&id);

    if (!type)
        return HUB_PLACE_NOWHERE;
    if (is_cache)
        return read_resolve_cache(place, type, id);
    if (read_verb(place, type, id, "/tree/"))
        return HUB_PLACE_TREE;
    if (read_verb(place, type, id, "/revision/"))
        return HUB_PLACE_INFO;
    set_repo(place, type, id, strlen(id));
    place->revision = hub_copy("main");
    place->path = hub_copy("");
    return HUB_PLACE_INFO;
}

static enum hub_place_kind read_page(struct hub_place *place, const char *text)
{
    const char *id = text;
    const char *type = read_type(&id);

    if (read_verb(place, type ? type : "models/", id, "/resolve/"))
        return HUB_PLACE_RESOLVE;
    return HUB_PLACE_NOWHERE;
}

void hub_place_parse(const char *path, struct hub_place *place)
{
    *place = (struct hub_place){.is_api = hc_text_starts(path, "/api/")};
    if (place->is_api)
        place->kind = read_api(place, path + strlen("/api/"));
    else if (path[0] == '/')
        place->kind = read_page(place, path + 1);
}

void hub_place_clear(struct hub_place *place)
{
    free(place->repo);
    free(place->revision);
    free(place->path);
    free(place->rest);
}

char *hub_place_decode(const char *text, size_t length)
{
    char *decoded = hub_must(malloc(length + 1));
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

char *hub_place_encode(const char *text, const char *safe)
{
    char *encoded = NULL;
    size_t size = 0;
    FILE *stream = hub_must(open_memstream(&encoded, &size));

    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        if (isalnum(*s) || strchr("-_.~", *s) || strchr(safe, *s))
            (void)fputc(*s, stream);
        else
            (void)fprintf(stream, "%%%02X", *s);
    }
    (void)fclose(stream);
    return encoded;
}

char *hub_place_moved(const struct hub_place *place, const char *new_repo)
{
    HC_AUTO_FREE char *repo = hub_place_encode(new_repo, "/");
    const char *shown = repo;

    if (place->kind == HUB_PLACE_RESOLVE_CACHE)
        return hub_text("/api/resolve-cache/%s%s", repo, place->rest);
    if (place->is_api)
        return hub_text("/api/%s%s", repo, place->rest);
    if (hc_text_starts(shown, "models/"))
        shown += strlen("models/");
    return hub_text("/%s%s", shown, place->rest);
}
