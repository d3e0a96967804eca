/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One row per repo type: its place in the Hub's URLs, and, with "--" behind it,
 * the start of its folder.
 */
#include "repo.h"

#include <base/error.h>
#include <base/text.h>

#include <stdbool.h>
#include <string.h>

struct type_row {
    const char *collection;
    const char *url_prefix;
};

static const struct type_row types[] = {
    [HC_REPO_DEFAULT] = {"models", ""},
    [HC_REPO_MODEL] = {"models", ""},
    [HC_REPO_DATASET] = {"datasets", "datasets/"},
    [HC_REPO_SPACE] = {"spaces", "spaces/"},
    [HC_REPO_KERNEL] = {"kernels", "kernels/"},
};

enum { TYPE_COUNT = sizeof types / sizeof *types, PART_MAX = 96 };

static const char word_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

static bool character_is_word(char character)
{
    return character != '\0' && strchr(word_characters, character);
}

/* A namespace or a name: the first `length` bytes of `part`. */
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

static bool repo_id_is_valid(const char *id)
{
    const char *slash = strchr(id, '/');
    const char *name = slash ? slash + 1 : id;

    if (slash && !repo_id_part_is_valid(id, (size_t)(slash - id)))
        return false;
    return repo_id_part_is_valid(name, strlen(name));
}

/* Ids come from outside: what is quoted in a message is short and printable. */
static int repo_id_refuse(struct hc_error *err, const char *id, const char *rule)
{
    bool is_quotable = hc_text_is_printable(id) && strlen(id) <= HC_REPO_ID_MAX;

    return hc_fail_field(err, HC_INVALID_REPO_ID, "repo_id", "repo id '%s': %s",
                         is_quotable ? id : "…", rule);
}

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
    (void)hc_format(repo->folder, sizeof repo->folder, "%s--%.*s%s%s",
                    types[type].collection, namespace_length, id, slash ? "--" : "",
                    slash ? slash + 1 : id);
    return 0;
}

/* An id has no "--" (hc_repo_init), so that the folder's last two parts are never mistaken:
 * "models--a--b" is "a/b" and nothing else. */
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
        if (hc_text_starts(folder, types[type].collection) &&
            hc_repo_init(repo, (enum hc_repo_type)type, id, &unused) == 0 &&
            strcmp(repo->folder, folder) == 0)
            return true;
    }
    return false;
}

const char *hc_repo_url_prefix(const struct hc_repo *repo)
{
    return types[repo->type].url_prefix;
}

const char *hc_repo_collection(const struct hc_repo *repo)
{
    return types[repo->type].collection;
}
