/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment as the reference client reads it when it is imported (§2.7): which
 * variable wins, what is expanded, and what a variable that is set but empty means, are
 * its rules, which in turn are those of Python's os.environ, os.path and int().
 *
 * All of this runs once at start-up, before there are threads: the environment and the
 * user database are read without a lock. A path is built step by step; each step makes a
 * new text and frees the one before, and passes on a NULL that an earlier step returned.
 */
#include <base/auto.h>
#include <base/error.h>
#include <base/text.h>
#include <hubcache/settings.h>

#include <ctype.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char default_endpoint[] = "https://huggingface.co";
static const char staging_endpoint[] = "https://hub-ci.huggingface.co";

enum {
    DEFAULT_TIMEOUT_S = 10,
    TIMEOUT_MAX_S = 1000000,
    DEFAULT_MAX_STALENESS_MS = 60000,
    DEFAULT_RETRIES = 5,
    DEFAULT_RETRY_BASE_MS = 250,
    DEFAULT_CONNECTIONS = 16
};

static const char *environment_value(const char *name)
{
    return getenv(name); // NOLINT(concurrency-mt-unsafe)
}

/* ---- Python's os.path.expanduser and os.path.expandvars ---------------------------- */

static const char word_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

/* The home of the user named in "~user", or one's own; NULL: not known. */
static const char *user_home(const char *user)
{
    const char *home = environment_value("HOME");
    const struct passwd *entry;

    if (user[0] == '\0' && home)
        return home;
    entry =
        user[0] ? getpwnam(user) : getpwuid(getuid()); // NOLINT(concurrency-mt-unsafe)
    return entry ? entry->pw_dir : NULL;
}

/* A copy of `path` with "~" or "~user" at its start expanded; an unknown user stays. */
static char *path_expand_user(const char *path, struct hc_error *err)
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
    const char *value = copy ? environment_value(copy) : NULL;

    if (value)
        (void)fputs(value, out);
    else
        (void)fwrite(text, 1, used ? used : 1, out);
    return used ? used : 1;
}

/* $NAME and ${NAME}; values are put in as they are and not expanded again, and unknown
 * variables stay as written. */
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

/* Expands the user and then the variables; frees `path`. NULL stays NULL. */
static char *path_expand(char *path, struct hc_error *err)
{
    HC_AUTO_FREE char *owned = path;
    HC_AUTO_FREE char *at_home = owned ? path_expand_user(owned, err) : NULL;

    return at_home ? variables_expand(at_home, err) : NULL;
}

/* ---- values of the environment ----------------------------------------------------- */

/* ENV_VARS_TRUE_VALUES of the reference client. */
static bool value_is_true(const char *value)
{
    return value && (strcmp(value, "1") == 0 || strcasecmp(value, "ON") == 0 ||
                     strcasecmp(value, "YES") == 0 || strcasecmp(value, "TRUE") == 0);
}

/* The first variable if it is set and not empty, else the second. */
static const char *environment_first_filled(const char *first, const char *second)
{
    const char *value = environment_value(first);

    return value && value[0] ? value : environment_value(second);
}

/* Python's int(): blanks around it, a sign, "_" between digits. */
static bool parse_integer(const char *text, long *number)
{
    char digits[32];
    size_t count = 0;
    char *end;

    while (isspace((unsigned char)*text))
        text++;
    for (; *text && !isspace((unsigned char)*text); text++) {
        bool is_separator = *text == '_' && count > 0 &&
                            isdigit((unsigned char)text[-1]) &&
                            isdigit((unsigned char)text[1]);

        if (count >= sizeof digits - 1)
            return false;
        if (!is_separator)
            digits[count++] = *text;
    }
    digits[count] = '\0';
    errno = 0;
    *number = strtol(digits, &end, 10);
    return count > 0 && *end == '\0' && errno == 0 &&
           text[strspn(text, " \t\n\r\f\v")] == '\0';
}

/* The reference client falls back to its default for 0, as `int(value) or default`
 * does. */
static int load_timeout(const char *name, unsigned *timeout_s, struct hc_error *err)
{
    const char *value = environment_value(name);
    long number = 0;

    *timeout_s = DEFAULT_TIMEOUT_S;
    if (!value)
        return 0;
    if (!parse_integer(value, &number) || number < 0 || number > TIMEOUT_MAX_S)
        return hc_fail_field(err, HC_INVALID_OPTIONS, name,
                             "%s: must be a whole number of seconds, 0 to %d", name,
                             TIMEOUT_MAX_S);
    if (number > 0)
        *timeout_s = (unsigned)number;
    return 0;
}

/* os.path.join(base, name); frees `base`, which may be NULL. */
static char *path_join(char *base, const char *name, struct hc_error *err)
{
    HC_AUTO_FREE char *owned = base;
    char *joined = NULL;
    const char *slash;

    if (!owned)
        return NULL;
    slash = owned[0] == '\0' || hc_text_ends(owned, "/") ? "" : "/";
    if (asprintf(&joined, "%s%s%s", owned, slash, name) < 0) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    return joined;
}

/* The variable's value, or `fallback`, which is freed when it is not used. */
static char *environment_value_or(const char *name, char *fallback, struct hc_error *err)
{
    const char *value = environment_value(name);

    if (!value)
        return fallback;
    free(fallback);
    return hc_text_copy(value, err);
}

/* ~/.cache/<name>, whatever XDG_CACHE_HOME says: so it is with the staging token. */
static char *user_cache_dir(const char *name, struct hc_error *err)
{
    return path_join(path_join(path_expand_user("~", err), ".cache", err), name, err);
}

/* HF_HOME, else $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface. */
static char *load_home(struct hc_error *err)
{
    char *cache =
        environment_value_or("XDG_CACHE_HOME",
                             path_join(path_expand_user("~", err), ".cache", err), err);

    return path_expand(environment_value_or("HF_HOME",
                                            path_join(cache, "huggingface", err), err),
                       err);
}

/* The cache root: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else <home>/hub. An empty
 * path is the working directory, as for Python's Path(""). */
static int load_cache_dir(struct hc_settings *settings, const char *home,
                          struct hc_error *err)
{
    char *dir = path_join(hc_text_copy(home, err), "hub", err);

    dir = environment_value_or("HUGGINGFACE_HUB_CACHE", dir, err);
    dir = path_expand(environment_value_or("HF_HUB_CACHE", dir, err), err);
    if (dir && dir[0] == '\0') {
        free(dir);
        dir = hc_text_copy(".", err);
    }
    settings->cache_dir = dir;
    return dir ? 0 : -1;
}

/* HUGGINGFACE_CO_STAGING wins over HF_ENDPOINT. Slashes at the end are cut off: paths are
 * appended with one. */
static int load_endpoint(struct hc_settings *settings, bool is_staging,
                         struct hc_error *err)
{
    const char *value = environment_value("HF_ENDPOINT");
    size_t length;

    if (!value)
        value = default_endpoint;
    settings->endpoint = hc_text_copy(is_staging ? staging_endpoint : value, err);
    if (!settings->endpoint)
        return -1;
    length = strlen(settings->endpoint);
    while (length > 0 && settings->endpoint[length - 1] == '/')
        settings->endpoint[--length] = '\0';
    return 0;
}

/* The value without the line ends and blanks that secrets come with. */
static int load_token(struct hc_settings *settings, struct hc_error *err)
{
    const char *value = environment_first_filled("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN");
    char *to;

    if (!value)
        return 0;
    settings->token = hc_text_copy(value, err);
    if (!settings->token)
        return -1;
    to = settings->token;
    for (const char *from = value; *from; from++) {
        if (*from != '\r' && *from != '\n')
            *to++ = *from;
    }
    *to = '\0';
    if (hc_text_trim(settings->token)[0] == '\0') {
        hc_text_wipe(hc_take(&settings->token));
    }
    return 0;
}

/* HF_TOKEN_PATH, else <home>/token; the staging site has a file of its own. */
static int load_token_file(struct hc_settings *settings, const char *home,
                           bool is_staging, struct hc_error *err)
{
    char *path = path_join(hc_text_copy(home, err), "token", err);

    path = path_expand(environment_value_or("HF_TOKEN_PATH", path, err), err);
    if (is_staging) {
        free(path);
        path = path_join(user_cache_dir("huggingface_staging", err), "token", err);
    }
    settings->token_file = path;
    return path ? 0 : -1;
}

/* The variables of the reference client's HTTP library come first, then those of the
 * library that older clients used. */
static int load_ca_file(struct hc_settings *settings, struct hc_error *err)
{
    static const char *const names[] = {"SSL_CERT_FILE", "SSL_CERT_DIR",
                                        "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = environment_value(names[i]);

        if (!value || !value[0])
            continue;
        settings->ca_file = hc_text_copy(value, err);
        return settings->ca_file ? 0 : -1;
    }
    return 0;
}

static int load_paths(struct hc_settings *settings, struct hc_error *err)
{
    HC_AUTO_FREE char *home = load_home(err);
    bool is_staging = value_is_true(environment_value("HUGGINGFACE_CO_STAGING"));

    if (!home || load_cache_dir(settings, home, err) < 0 ||
        load_endpoint(settings, is_staging, err) < 0 || load_token(settings, err) < 0 ||
        load_token_file(settings, home, is_staging, err) < 0 ||
        load_ca_file(settings, err) < 0)
        return -1;
    return 0;
}

int hc_settings_load(struct hc_settings *settings, struct hc_error *err)
{
    const char *origin = environment_value("HF_HUB_USER_AGENT_ORIGIN");

    *settings = (struct hc_settings){
        .offline = value_is_true(
            environment_first_filled("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
        .no_symlinks = value_is_true(environment_value("HF_HUB_DISABLE_SYMLINKS")),
        .no_implicit_token =
            value_is_true(environment_value("HF_HUB_DISABLE_IMPLICIT_TOKEN")),
        .max_staleness_ms = DEFAULT_MAX_STALENESS_MS,
        .retries = DEFAULT_RETRIES,
        .retry_base_ms = DEFAULT_RETRY_BASE_MS,
        .connections = DEFAULT_CONNECTIONS,
        .download_memory = HC_DOWNLOAD_MEMORY,
        .min_split_size = HC_MIN_SPLIT_SIZE,
        .tree_memory = HC_TREE_MEMORY,
        .confirm_after_ms = HC_CONFIRM_AFTER_MS,
        .takeover_ms = HC_TAKEOVER_MS,
        .max_lease_ms = HC_MAX_LEASE_MS,
        .leases_per_caller = HC_LEASES_PER_CALLER,
        .hub_access_ttl_ms = HC_HUB_ACCESS_TTL_MS,
    };
    if (load_timeout("HF_HUB_ETAG_TIMEOUT", &settings->metadata_timeout_s, err) < 0 ||
        load_timeout("HF_HUB_DOWNLOAD_TIMEOUT", &settings->download_timeout_s, err) < 0 ||
        load_paths(settings, err) < 0)
        return -1;
    settings->user_agent = hc_text_copy(origin, err);
    return origin && !settings->user_agent ? -1 : 0;
}

/* The list grows by one text; lists of settings are short. */
static int settings_append(char ***list, size_t *count, const char *text,
                           struct hc_error *err)
{
    char **longer = reallocarray(*list, *count + 1, sizeof *longer);

    if (!longer)
        return hc_fail_memory(err);
    *list = longer;
    longer[*count] = hc_text_copy(text, err);
    if (!longer[*count])
        return -1;
    (*count)++;
    return 0;
}

static void settings_clear_list(char **list, size_t count)
{
    while (count > 0)
        free(list[--count]);
    free(list);
}

int hc_settings_add_local_root(struct hc_settings *settings, const char *dir,
                               struct hc_error *err)
{
    return settings_append(&settings->local_roots, &settings->local_root_count, dir, err);
}

int hc_settings_add_mirror(struct hc_settings *settings, const char *url,
                           struct hc_error *err)
{
    return settings_append(&settings->mirrors, &settings->mirror_count, url, err);
}

void hc_settings_clear(struct hc_settings *settings)
{
    free(settings->cache_dir);
    free(settings->endpoint);
    hc_text_wipe(settings->token);
    free(settings->token_file);
    free(settings->user_agent);
    free(settings->ca_file);
    free(settings->policy_file);
    settings_clear_list(settings->local_roots, settings->local_root_count);
    settings_clear_list(settings->mirrors, settings->mirror_count);
    *settings = (struct hc_settings){0};
}
