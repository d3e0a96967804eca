/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The forms that are understood, "[…]" being optional and TYPES the plural of a type:
 *
 *   [hf://][TYPES/][org/]name[@revision][/path]
 *   TYPE/org/name[@revision][/path], as `hf cache ls` and `hubcache ls` write it
 *   https://host/[TYPES/][org/]name[/(blob|raw|resolve|tree)/revision[/path]]
 *
 * A revision of the first form ends at a slash, but for refs/pr/N and refs/convert/NAME;
 * in the second form it is percent-encoded. A path that ends in a slash, or comes after
 * "tree", is a directory.
 */
#include "suggestion.h"

#include "base/text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { PART_MAX = 512 };

struct repo_name {
    char id[2 * PART_MAX];
    enum hc_repo_type type;  /* HC_REPO_DEFAULT: it is not said */
    char revision[PART_MAX]; /* "": it is not said */
    char path[PART_MAX];     /* "": none */
    bool is_directory;
};

/* Moves `*rest` to the first of `ends`, and copies what it passes. */
static void part_take(const char **rest, const char *ends, char part[PART_MAX])
{
    size_t length = strcspn(*rest, ends);

    (void)snprintf(part, PART_MAX, "%.*s", (int)length, *rest);
    *rest += length;
}

static bool part_skip(const char **rest, char end)
{
    if (**rest != end)
        return false;
    ++*rest;
    return true;
}

/* Decodes %XX in place. */
static void part_decode(char *part)
{
    char *to = part;

    for (const char *from = part; *from; from++) {
        char byte = *from;

        if (byte == '%' && isxdigit((unsigned char)from[1]) &&
            isxdigit((unsigned char)from[2])) {
            const char digits[] = {from[1], from[2], '\0'};

            byte = (char)(unsigned char)strtoul(digits, NULL, 16);
            from += 2;
        }
        *to++ = byte;
    }
    *to = '\0';
}

/* "datasets/" and so on, if a name follows; also "dataset/", which `hubcache ls` writes
 * and which may be an organization's name otherwise: then one slash follows, not two. */
static void name_take_type(struct repo_name *name, const char **rest)
{
    for (int i = HC_REPO_MODEL; i <= HC_REPO_KERNEL; i++) {
        const char *type = hc_repo_type_name((enum hc_repo_type)i);
        const char *end = *rest + strlen(type);
        bool is_plural = hc_text_starts(*rest, type) && *end == 's';

        if (!hc_text_starts(*rest, type) || end[is_plural] != '/' ||
            (!is_plural && !strchr(end + 1, '/')))
            continue;
        name->type = (enum hc_repo_type)i;
        *rest = end + is_plural + 1;
        return;
    }
}

/* The part of a page's address that says what it shows of a revision. */
static bool part_is_view(const char *part)
{
    static const char *const views[] = {"blob/", "raw/", "resolve/", "tree/"};

    for (size_t i = 0; i < sizeof views / sizeof *views; i++) {
        if (hc_text_starts(part, views[i]))
            return true;
    }
    return false;
}

static bool name_take_id(struct repo_name *name, const char **rest, bool is_page)
{
    char org[PART_MAX], repo[PART_MAX];

    part_take(rest, "/@", org);
    if (**rest != '/' || (is_page && part_is_view(*rest + 1)))
        return hc_format(name->id, sizeof name->id, "%s", org) > 0;
    ++*rest;
    part_take(rest, "/@", repo);
    return org[0] != '\0' && repo[0] != '\0' &&
           hc_format(name->id, sizeof name->id, "%s/%s", org, repo) > 0;
}

/* What follows the id of a page. */
static void name_take_view(struct repo_name *name, const char **rest)
{
    char view[PART_MAX];

    if (!part_skip(rest, '/') || !part_is_view(*rest))
        return;
    part_take(rest, "/", view);
    ++*rest;
    part_take(rest, "/", name->revision);
    part_decode(name->revision);
    name->is_directory = strcmp(view, "tree") == 0;
}

/* What follows the id of a name. */
static void name_take_revision(struct repo_name *name, const char **rest)
{
    size_t length;

    if (!part_skip(rest, '@'))
        return;
    length = strcspn(*rest, "/");
    for (int i = 0; i < 2 && hc_text_starts(*rest, "refs/"); i++) {
        if ((*rest)[length] == '/')
            length += 1 + strcspn(*rest + length + 1, "/");
    }
    (void)snprintf(name->revision, sizeof name->revision, "%.*s", (int)length, *rest);
    *rest += length;
}

static void name_take_path(struct repo_name *name, const char **rest)
{
    if (!part_skip(rest, '/'))
        return;
    part_take(rest, "", name->path);
    if (hc_text_ends(name->path, "/")) {
        name->is_directory = true;
        name->path[strlen(name->path) - 1] = '\0';
    }
}

bool hc_suggestion_is_address(const char *repo)
{
    return strstr(repo, "://") != NULL;
}

/* False for an id, and for what is named in no form that is understood. */
static bool name_parse(struct repo_name *name, const char *text)
{
    char address[PART_MAX];
    bool is_page = hc_suggestion_is_address(text) && !hc_text_starts(text, "hf://");
    const char *rest = hc_suggestion_is_address(text) ? strstr(text, "://") + 3 : text;

    if (strlen(text) >= PART_MAX) /* else every part fits */
        return false;
    if (is_page) {
        part_take(&rest, "/", address); /* the host */
        if (!part_skip(&rest, '/'))
            return false;
        part_take(&rest, "?#", address);
        rest = address;
    }
    name_take_type(name, &rest);
    if (!name_take_id(name, &rest, is_page))
        return false;
    if (is_page)
        name_take_view(name, &rest);
    else
        name_take_revision(name, &rest);
    name_take_path(name, &rest);
    if (is_page)
        part_decode(name->path);
    return hc_suggestion_is_address(text) || name->type != HC_REPO_DEFAULT ||
           name->revision[0] != '\0';
}

/* Writes a word, in quotes if a shell would take it for something else. */
static void word_write(FILE *out, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                "0123456789-_./:@%+=,";
    bool is_plain = word[0] != '\0' && word[strspn(word, plain)] == '\0';

    (void)fputs(is_plain ? " " : " '", out);
    for (const char *s = word; *s; s++)
        (void)fprintf(out, *s == '\'' ? "'\\%c'" : "%c", *s);
    (void)fputs(is_plain ? "" : "'", out);
}

static void option_write(FILE *out, const char *name, const char *value)
{
    if (!value || value[0] == '\0')
        return;
    (void)fprintf(out, " --%s", name);
    word_write(out, value);
}

/* A page or name with a path means one file, or the files below a directory. */
static void path_write(FILE *out, const struct repo_name *name, bool has_names)
{
    char pattern[PART_MAX + 2];

    (void)snprintf(pattern, sizeof pattern, "%s%s", name->path,
                   name->is_directory ? "/*" : "");
    if (has_names)
        word_write(out, name->path);
    else
        option_write(out, "include", pattern);
}

static void command_write(FILE *out, const char *subcommand, const struct repo_name *name,
                          const struct hc_resolve_options *options)
{
    enum hc_repo_type type = name->type ? name->type : options->repo.type;
    bool is_pull = strcmp(subcommand, "pull") == 0;
    bool is_one = name->path[0] != '\0' && !name->is_directory;

    if (is_one && strcmp(subcommand, "snapshot") == 0)
        subcommand = "file";
    if (name->path[0] != '\0' && name->is_directory && !is_pull)
        subcommand = "snapshot";
    (void)fprintf(out, "hubcache %s", subcommand);
    word_write(out, name->id);
    for (size_t i = 0; i < options->filename_count; i++)
        word_write(out, options->filenames[i]);
    if (name->path[0] != '\0')
        path_write(out, name, is_one && !is_pull);
    if (type != HC_REPO_DEFAULT)
        option_write(out, "repo-type", hc_repo_type_name(type));
    option_write(out, "revision",
                 name->revision[0] ? name->revision : options->repo.revision);
    option_write(out, "subfolder", options->subfolder);
    option_write(out, "to", options->target);
}

bool hc_suggestion_make(const char *subcommand, const struct hc_resolve_options *options,
                        char text[HC_SUGGESTION_MAX])
{
    struct repo_name name = {.type = HC_REPO_DEFAULT};
    FILE *out;

    text[0] = '\0';
    if (!name_parse(&name, options->repo.id))
        return false;
    out = fmemopen(text, HC_SUGGESTION_MAX, "w");
    if (!out)
        return false;
    command_write(out, subcommand, &name, options);
    if (fclose(out) == 0)
        return true;
    text[0] = '\0'; /* it is too long */
    return false;
}
