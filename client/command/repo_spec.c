/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A spec is cut at its first "@"; what stands before it is type and id, what stands after
 * it is the revision, and of an hf:// name the path. There, a revision ends at the first
 * "/", unless it is one of the Hub's own refs ("refs/pr/1", "refs/convert/parquet") or
 * has its slashes written as "%2F".
 */
#include "repo_spec.h"

#include "base/error.h"
#include "base/text.h"

#include <repo/repo.h>
#include <stdlib.h>
#include <string.h>

/* Takes "dataset/" or "datasets/" off the start. HC_REPO_DEFAULT: there is no type. */
static enum hc_repo_type type_take(const char **text)
{
    for (int type = HC_REPO_MODEL; type <= HC_REPO_KERNEL; type++) {
        const char *name = hc_repo_type_name((enum hc_repo_type)type);
        const char *rest = *text + strlen(name);

        if (!hc_text_starts(*text, name))
            continue;
        rest += *rest == 's';
        if (*rest != '/' || rest[1] == '\0')
            continue;
        *text = rest + 1;
        return (enum hc_repo_type)type;
    }
    return HC_REPO_DEFAULT;
}

/* Decodes "%2F", which keeps the slash of a revision from ending it. */
static void slashes_decode(char *text)
{
    char *out = text;

    for (; *text; text++) {
        bool is_slash = strncasecmp(text, "%2f", 3) == 0;

        *out = *text;
        if (is_slash) {
            *out = '/';
            text += 2;
        }
        out++;
    }
    *out = '\0';
}

/* The end of the revision that an hf:// name has at `text`. */
static const char *revision_end(const char *text)
{
    bool is_ref =
        hc_text_starts(text, "refs/pr/") || hc_text_starts(text, "refs/convert/");
    const char *from = is_ref ? strchr(text + strlen("refs/"), '/') + 1 : text;
    const char *slash = strchr(from, '/');

    return slash ? slash : text + strlen(text);
}

/* The end of the id, of which an hf:// name has two parts before its path. */
static const char *id_end(const char *text, bool is_uri)
{
    const char *end = text + strcspn(text, "@");
    const char *slash = is_uri ? memchr(text, '/', (size_t)(end - text)) : NULL;

    slash = slash ? memchr(slash + 1, '/', (size_t)(end - slash - 1)) : NULL;
    return slash ? slash : end;
}

static int spec_fail(const char *text, struct hc_error *err)
{
    return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id",
                         "'%.200s' names no repo: write org/name, dataset/org/name or "
                         "org/name@revision",
                         text);
}

/* 0: what the text does not say is set as `defaults` has it. */
static int spec_fill(struct hc_repo_spec *spec, const struct hc_client_repo *defaults)
{
    const char *revision = defaults ? defaults->revision : NULL;

    if (spec->type == HC_REPO_DEFAULT && defaults)
        spec->type = defaults->type;
    if (spec->type == HC_REPO_DEFAULT)
        spec->type = HC_REPO_MODEL;
    if (spec->revision[0] || !revision)
        return 0;
    return hc_format(spec->revision, sizeof spec->revision, "%s", revision) < 0 ? -1 : 0;
}

int hc_repo_spec_parse(const char *text, const struct hc_client_repo *defaults,
                       struct hc_repo_spec *spec, struct hc_error *err)
{
    bool is_uri = hc_text_starts(text, "hf://");
    const char *at = is_uri ? text + strlen("hf://") : text;
    struct hc_error invalid;
    struct hc_repo repo;
    const char *end;

    *spec = (struct hc_repo_spec){.type = type_take(&at)};
    end = id_end(at, is_uri);
    if (hc_format(spec->id, sizeof spec->id, "%.*s", (int)(end - at), at) < 0)
        return spec_fail(text, err);
    if (*end == '@') {
        at = end + 1;
        end = is_uri ? revision_end(at) : at + strlen(at);
        if (hc_format(spec->revision, sizeof spec->revision, "%.*s", (int)(end - at),
                      at) <= 0)
            return spec_fail(text, err);
        if (is_uri)
            slashes_decode(spec->revision);
    }
    if (*end == '/' && hc_format(spec->path, sizeof spec->path, "%s", end + 1) < 0)
        return spec_fail(text, err);
    if (spec_fill(spec, defaults) < 0 ||
        hc_repo_init(&repo, spec->type, spec->id, &invalid) < 0)
        return spec_fail(text, err);
    return 0;
}

int hc_repo_specs_parse(struct hc_repo_specs *specs, const char *const *texts,
                        size_t count, const struct hc_client_repo *defaults,
                        struct hc_error *err)
{
    specs->items = calloc(count + 1, sizeof *specs->items);
    specs->ids = calloc(count + 1, sizeof *specs->ids);
    if (!specs->items || !specs->ids)
        return hc_fail_memory(err);
    for (; specs->count < count; specs->count++) {
        struct hc_repo_spec *spec = &specs->items[specs->count];

        if (hc_repo_spec_parse(texts[specs->count], defaults, spec, err) < 0)
            return -1;
        specs->ids[specs->count] = spec->id;
    }
    return 0;
}

void hc_repo_specs_clear(struct hc_repo_specs *specs)
{
    free(specs->items);
    free(specs->ids);
}

void hc_repo_spec_format(enum hc_repo_type type, const char *id, char text[256])
{
    const char *name = hc_repo_type_name(type);

    (void)hc_format(text, 256, "%s/%s", name ? name : "model", id);
}
