/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder of a repo is its collection in the Hub's URLs and the parts of its id,
 * joined by "--". The rules for ids are those of the reference client's validate_repo_id
 * (§2.1 step 1), except that letters are ASCII: Python's \w takes others, the Hub does
 * not.
 */
#include "repo.h"

#include <base/error.h>
#include <base/text.h>

#include <stdbool.h>
#include <string.h>

static const char *const collections[] = {
    [HC_REPO_DEFAULT] = "models",   [HC_REPO_MODEL] = "models",
    [HC_REPO_DATASET] = "datasets", [HC_REPO_SPACE] = "spaces",
    [HC_REPO_KERNEL] = "kernels",
};

enum { TYPE_COUNT = sizeof collections / sizeof *collections, PART_MAX = 96 };

static const char word_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

static bool character_is_word(char character)
{
    return character != '\0' && strchr(word_characters, character);
}

/* Whether the first `length` bytes of `part` may be a namespace or a name. */
static bool repo_id_part_is_valid(const char *part, size_t length)
{
    if (length == 0 || length > PART_MAX)
        return false;
    for (size_t i = 0; i < length; i++) {
        if (!character_is_word(part[i]) && part[i] != '-' && part[i] != '.')
            return false;
    }
    return character_is_word(part[0]) && character_is_word(part[length - 1]);
}

/* One "/" at most: a name cannot have any. */
static bool repo_id_is_valid(const char *id)
{
    const char *slash = strchr(id, '/');
    const char *name = slash ? slash + 1 : id;

    if (slash && !repo_id_part_is_valid(id, (size_t)(slash - id)))
        return false;
    return repo_id_part_is_valid(name, strlen(name));
}

/* Ids come from callers: one is quoted in a message only when it is short and
 * printable. */
static int repo_id_refuse(struct hc_error *err, const char *id, const char *rule)
{
    bool is_quotable = hc_text_is_printable(id) && strlen(id) <= HC_REPO_ID_MAX;

    return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id", "repo id '%s': %s",
                         is_quotable ? id : "…", rule);
}

/* Both parts together have at most 193 bytes, so that id and folder always fit. An
 * unknown type comes from a client of a later version that knows more of them. */
int hc_repo_init(struct hc_repo *repo, enum hc_repo_type type, const char *id,
                 struct hc_error *err)
{
    const char *slash = strchr(id, '/');
    int namespace_length = slash ? (int)(slash - id) : 0;

    if ((unsigned)type >= TYPE_COUNT)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "repo_type",
                             "repo type %d: there is none of that number", (int)type);
    if (!repo_id_is_valid(id))
        return repo_id_refuse(
            err, id,
            "must be 'name' or 'namespace/name', each 1 to 96 letters, digits, "
            "'_', '-' or '.', starting and ending with a letter, digit or '_'");
    if (strstr(id, "--") || strstr(id, ".."))
        return repo_id_refuse(err, id, "must not contain '--' or '..'");
    if (hc_text_ends(id, ".git"))
        return repo_id_refuse(err, id, "must not end in '.git'");

    repo->type = type == HC_REPO_DEFAULT ? HC_REPO_MODEL : type;
    (void)hc_format(repo->id, sizeof repo->id, "%s", id);
    (void)hc_format(repo->folder, sizeof repo->folder, "%s--%.*s%s%s", collections[type],
                    namespace_length, id, slash ? "--" : "", slash ? slash + 1 : id);
    return 0;
}

bool hc_repo_has_type(const struct hc_repo *repo, const enum hc_repo_type *types,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (repo->type == (types[i] == HC_REPO_DEFAULT ? HC_REPO_MODEL : types[i]))
            return true;
    }
    return count == 0;
}

/* No id has a "--", so that a folder has only one reading: "models--a--b" is "a/b". The
 * folder is made again and compared, so that no other spelling passes. */
bool hc_repo_parse_folder(struct hc_repo *repo, const char *folder)
{
    const char *rest = strstr(folder, "--");
    const char *name = rest ? strstr(rest + 2, "--") : NULL;
    char id[HC_REPO_ID_MAX + 1];
    struct hc_error unused;

    if (!rest || hc_format(id, sizeof id, "%.*s%s%s", name ? (int)(name - rest - 2) : 0,
                           rest + 2, name ? "/" : "", name ? name + 2 : rest + 2) < 0)
        return false;
    for (int type = HC_REPO_MODEL; type < TYPE_COUNT; type++) {
        if (hc_text_starts(folder, collections[type]) &&
            hc_repo_init(repo, (enum hc_repo_type)type, id, &unused) == 0 &&
            strcmp(repo->folder, folder) == 0)
            return true;
    }
    return false;
}

const char *hc_repo_url_prefix(const struct hc_repo *repo)
{
    static const char *const prefixes[TYPE_COUNT] = {
        [HC_REPO_MODEL] = "",
        [HC_REPO_DATASET] = "datasets/",
        [HC_REPO_SPACE] = "spaces/",
        [HC_REPO_KERNEL] = "kernels/",
    };

    return prefixes[repo->type]; /* it is never HC_REPO_DEFAULT */
}

const char *hc_repo_collection(const struct hc_repo *repo)
{
    return collections[repo->type];
}
