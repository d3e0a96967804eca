/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values are put in as they are and not expanded again; unknown variables stay as
 * written.
 */
#include "expand.h"

#include <base/auto.h>
#include <base/error.h>
#include <base/text.h>

#include <pwd.h>
#include <stdbool.h>
#include <string.h>

static const char word_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

/* The home of the user named in "~user", or one's own; NULL: not known. */
static const char *user_home(const char *user)
{
    const char *home = getenv("HOME"); // NOLINT(concurrency-mt-unsafe)
    const struct passwd *entry;

    if (user[0] == '\0' && home)
        return home;
    entry =
        user[0] ? getpwnam(user) : getpwuid(getuid()); // NOLINT(concurrency-mt-unsafe)
    return entry ? entry->pw_dir : NULL;
}

char *hc_path_expand_user(const char *path, struct hc_error *err)
{
    size_t user_end = strcspn(path, "/");
    HC_AUTO_FREE char *user = NULL;
    const char *home;
    char *expanded = NULL;
    int home_length;

    if (path[0] != '~')
        return hc_text_copy(path, err);
    user = strndup(path + 1, user_end - 1);
    if (!user) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    home = user_home(user);
    if (!home)
        return hc_text_copy(path, err);
    home_length = (int)strlen(home);
    while (home_length > 0 && home[home_length - 1] == '/')
        home_length--;
    if (home_length == 0 && path[user_end] == '\0')
        return hc_text_copy("/", err);
    if (asprintf(&expanded, "%.*s%s", home_length, home, path + user_end) < 0) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    return expanded;
}

/* The length of the "$NAME" or "${NAME}" at `text`, and where the name is; 0: neither. */
static size_t variable_name_find(const char *text, const char **name, size_t *length)
{
    bool is_braced = text[1] == '{';

    *name = text + (is_braced ? 2 : 1);
    *length = is_braced ? strcspn(*name, "}") : strspn(*name, word_characters);
    if (is_braced)
        return (*name)[*length] == '}' ? *length + 3 : 0;
    return *length > 0 ? *length + 1 : 0;
}

/* Writes what the reference at `text` stands for; how many bytes of `text` that used. */
static size_t variable_write(FILE *out, const char *text)
{
    const char *name;
    size_t length;
    size_t used = variable_name_find(text, &name, &length);
    HC_AUTO_FREE char *copy = used ? strndup(name, length) : NULL;
    const char *value = copy ? getenv(copy) : NULL; // NOLINT(concurrency-mt-unsafe)

    if (value)
        (void)fputs(value, out);
    else
        (void)fwrite(text, 1, used ? used : 1, out);
    return used ? used : 1;
}

static char *variables_expand(const char *path, struct hc_error *err)
{
    char *expanded = NULL;
    size_t size;
    FILE *out = open_memstream(&expanded, &size);
    bool is_whole;

    if (!out) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    while (*path) {
        size_t plain = strcspn(path, "$");

        (void)fwrite(path, 1, plain, out);
        path += plain;
        if (*path)
            path += variable_write(out, path);
    }
    is_whole = !ferror(out);
    if (fclose(out) == 0 && is_whole)
        return expanded;
    free(expanded);
    (void)hc_fail_memory(err);
    return NULL;
}

char *hc_path_expand(char *path, struct hc_error *err)
{
    HC_AUTO_FREE char *owned = path;
    HC_AUTO_FREE char *at_home = owned ? hc_path_expand_user(owned, err) : NULL;

    return at_home ? variables_expand(at_home, err) : NULL;
}
