/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four layers, each of which replaces values of the one below: the table's own defaults,
 * the environment, the file, the flags. argp reads the flags first, because one of them
 * names the file; they are kept until the file has been read. A list that a layer gives
 * replaces the list of the layer below, so it is emptied at the first flag of that name.
 *
 * Checks that need more than one value come last, in options_complete().
 */
#include "options.h"

#include "listener.h"
#include "log.h"
#include "option.h"

#include <base/error.h>
#include <base/text.h>

#include <argp.h>
#include <errno.h>
#include <hubcache/resolver.h>
#include <inttypes.h>
#include <string.h>

enum {
    FIRST_KEY = 0x100,
    FLAGS_MAX = 256,
    EXIT_BAD_USAGE = 2,
    TAKEOVER_MIN_MS = 2000,
    KEEP_INTERVAL_MIN_MS = 1000
};

/* `flags` gets a name and a value for each flag, the first flag first. */
static error_t flag_take(int key, char *text, struct argp_state *state)
{
    struct hc_strings *flags = state->input;
    struct hc_error err;

    if (key == ARGP_KEY_ARG)
        argp_error(/* NOLINT(concurrency-mt-unsafe): before there are threads */
                   state, "'%s' is no flag", text);
    if (key < FIRST_KEY || (size_t)(key - FIRST_KEY) >= hc_option_count)
        return ARGP_ERR_UNKNOWN;
    if (flags->count == (size_t)2 * FLAGS_MAX)
        argp_error(/* NOLINT(concurrency-mt-unsafe) */
                   state, "more than %d flags", FLAGS_MAX);
    if (hc_strings_add(flags, hc_option_table[key - FIRST_KEY].name, &err) < 0 ||
        hc_strings_add(flags, text ? text : "true", &err) < 0)
        return ENOMEM;
    return 0;
}

static void print_version(FILE *out, struct argp_state *state)
{
    (void)state;
    (void)fprintf(out, "hubcached %s\n", hc_version());
}

static int read_flags(int argc, char **argv, struct hc_strings *flags,
                      struct hc_error *err)
{
    struct argp_option rows[64] = {0};
    const struct argp parser = {
        .options = rows,
        .parser = flag_take,
        .doc = "Resolves Hugging Face Hub files to paths on a shared cache volume, "
               "over gRPC.\vThe Hub's own variables (HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, "
               "HF_TOKEN, HF_HUB_OFFLINE, ...) give the defaults, a configuration file "
               "replaces them, and flags replace both.",
    };

    for (size_t i = 0; i < hc_option_count; i++)
        rows[i] = (struct argp_option){.name = hc_option_table[i].name,
                                       .key = FIRST_KEY + (int)i,
                                       .arg = hc_option_table[i].value,
                                       .doc = hc_option_table[i].help};
    argp_err_exit_status = EXIT_BAD_USAGE;
    argp_program_version_hook = print_version;
    if (argp_parse(/* NOLINT(concurrency-mt-unsafe) */
                   &parser, argc, argv, 0, NULL, flags) != 0)
        return hc_fail_memory(err);
    return 0;
}

static int set_defaults(struct hc_options *options, struct hc_error *err)
{
    if (hc_settings_load(&options->settings, err) < 0)
        return -1;
    for (size_t i = 0; i < hc_option_count; i++) {
        const struct hc_option *option = &hc_option_table[i];

        if (option->fallback && hc_option_set(options, option, option->fallback, err) < 0)
            return -1;
    }
    return 0;
}

/* True: no flag before that of index `at` has the same name. */
static bool flag_is_first(const struct hc_strings *flags, size_t at)
{
    for (size_t i = 0; i < at; i += 2) {
        if (strcmp(flags->items[i], flags->items[at]) == 0)
            return false;
    }
    return true;
}

static int set_flags(struct hc_options *options, const struct hc_strings *flags,
                     bool flag_only, struct hc_error *err)
{
    for (size_t i = 0; i < flags->count; i += 2) {
        const struct hc_option *option = hc_option_find(flags->items[i]);

        if (option->is_flag_only != flag_only)
            continue;
        if (flag_is_first(flags, i))
            hc_option_restart(options, option);
        if (hc_option_set(options, option, flags->items[i + 1], err) < 0)
            return hc_context(err, "--%s", option->name);
    }
    return 0;
}

/*
 * Checks the endpoint or a mirror, and cuts slashes at its end. A URL is printed and
 * logged, so it must not contain credentials.
 */
static int options_check_url(const char *name, char *url, struct hc_error *err)
{
    size_t length = strlen(url);

    while (length > 0 && url[length - 1] == '/')
        url[--length] = '\0';
    if (strchr(url, '@'))
        return hc_fail_field(err, HC_INVALID_OPTIONS, name,
                             "%s: no credentials in the URL, use a token file", name);
    if (strpbrk(url, "?# ") ||
        (!hc_text_starts(url, "http://") && !hc_text_starts(url, "https://")))
        return hc_fail_field(err, HC_INVALID_OPTIONS, name,
                             "%s: '%s' is no http or https URL without query", name, url);
    return 0;
}

/*
 * A single file has to be readable. Of several directories some may be missing, as for
 * OpenSSL: the start of the resolver finds out.
 */
static int options_check_ca_file(const char *path, struct hc_error *err)
{
    if (!path || strchr(path, ':') || access(path, R_OK) == 0)
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "ca-file",
                         "ca-file: cannot read '%s': %s", path, strerrordesc_np(errno));
}

/*
 * A hubcached has a heartbeat a second: sooner, a process that is only slow would lose.
 */
static int options_check_takeover_limit(int64_t takeover_ms, struct hc_error *err)
{
    if (takeover_ms >= TAKEOVER_MIN_MS)
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "takeover-after",
                         "takeover-after: %" PRId64 "ms is less than 2s", takeover_ms);
}

static int options_check_keep_interval(int64_t interval_ms, struct hc_error *err)
{
    if (interval_ms >= KEEP_INTERVAL_MIN_MS)
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "keep-interval",
                         "keep-interval: %" PRId64 "ms is less than 1s", interval_ms);
}

/* A file that an option names replaces HF_TOKEN, and has to exist. */
static int options_use_token_file(struct hc_settings *settings, struct hc_error *err)
{
    HC_AUTO_FCLOSE FILE *file = fopen(settings->token_file, "re");

    if (!file)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "token-file",
                             "token-file: cannot read '%s': %s", settings->token_file,
                             strerrordesc_np(errno));
    hc_text_wipe(hc_take(&settings->token));
    settings->no_implicit_token = false;
    return 0;
}

static int options_add_mirrors(struct hc_options *options, struct hc_error *err)
{
    for (size_t i = 0; i < options->mirrors.count; i++) {
        char *url = options->mirrors.items[i];

        if (options_check_url("mirror", url, err) < 0 ||
            hc_settings_add_mirror(&options->settings, url, err) < 0)
            return -1;
    }
    return 0;
}

static int options_check_auth(const struct hc_options *options, struct hc_error *err)
{
    bool knows_peers = options->tls.client_ca;

    for (size_t i = 0; i < options->listen.count; i++)
        knows_peers = knows_peers || hc_text_starts(options->listen.items[i], "unix:");
    return hc_auth_settings_check(&options->auth, knows_peers, err);
}

/* Options that depend on more than one layer or member. */
static int options_complete(struct hc_options *options, const char *implicit_token_file,
                            struct hc_error *err)
{
    struct hc_settings *settings = &options->settings;
    const char *file = settings->token_file;

    for (size_t i = 0; i < options->local_roots.count; i++) {
        if (hc_settings_add_local_root(settings, options->local_roots.items[i], err) < 0)
            return -1;
    }
    if (options_add_mirrors(options, err) < 0 ||
        options_check_url("endpoint", settings->endpoint, err) < 0 ||
        options_check_ca_file(settings->ca_file, err) < 0 ||
        options_check_takeover_limit(settings->takeover_ms, err) < 0 ||
        options_check_keep_interval(options->keep_interval_ms, err) < 0 ||
        hc_tls_settings_check(&options->tls, err) < 0 ||
        options_check_auth(options, err) < 0)
        return -1;
    settings->hub_access = strcmp(options->hub_access, "caller") == 0
                               ? HC_HUB_ACCESS_CALLER
                               : HC_HUB_ACCESS_SERVER;
    if (!options->log_format) {
        const char *format = isatty(STDERR_FILENO) ? "text" : "json";

        options->log_format = hc_text_copy(format, err);
    }
    if (!options->log_format)
        return -1;
    if (file && (!implicit_token_file || strcmp(file, implicit_token_file) != 0))
        return options_use_token_file(settings, err);
    return 0;
}

/* `options` is zeroed, or has the flags alone. */
static int options_fill(struct hc_options *options, const struct hc_strings *flags,
                        struct hc_error *err)
{
    HC_AUTO_FREE char *implicit_token_file = NULL;

    if (set_defaults(options, err) < 0)
        return -1;
    if (options->settings.token_file) {
        implicit_token_file = hc_text_copy(options->settings.token_file, err);
        if (!implicit_token_file)
            return -1;
    }
    if (set_flags(options, flags, true, err) < 0)
        return -1;
    if (options->config && hc_config_load(options, err) < 0)
        return -1;
    if (set_flags(options, flags, false, err) < 0)
        return -1;
    return options_complete(options, implicit_token_file, err);
}

int hc_options_load(struct hc_options *options, int argc, char **argv,
                    struct hc_error *err)
{
    *options = (struct hc_options){0};
    if (read_flags(argc, argv, &options->flags, err) < 0)
        return -1;
    return options_fill(options, &options->flags, err);
}

/*
 * The environment is read, and the user database if HOME is not set. No thread changes
 * the former, and no other one asks the latter.
 */
int hc_options_load_again(struct hc_options *options, const struct hc_options *first,
                          struct hc_error *err)
{
    *options = (struct hc_options){0};
    return options_fill(options, &first->flags, err);
}

int hc_options_check(const struct hc_options *options, struct hc_error *err)
{
    bool may_be_plain = options->tls.cert || options->tls.allow_plaintext;

    for (size_t i = 0; i < options->listen.count; i++) {
        const char *address = options->listen.items[i];

        if (hc_listener_check(address, "listen", err) < 0 ||
            (!may_be_plain && hc_listener_check_local(address, err) < 0))
            return -1;
    }
    if (strcmp(options->http_listen, "off") != 0 &&
        hc_listener_check(options->http_listen, "http-listen", err) < 0)
        return -1;
    return hc_resolver_check_settings(&options->settings, err);
}

void hc_options_clear(struct hc_options *options)
{
    hc_settings_clear(&options->settings);
    hc_strings_clear(&options->listen);
    hc_strings_clear(&options->local_roots);
    hc_strings_clear(&options->mirrors);
    hc_strings_clear(&options->flags);
    free(options->auth.mode);
    free(options->auth.tokens_file);
    free(options->auth.jwt_issuer);
    free(options->auth.jwt_audience);
    free(options->auth.jwt_keys);
    free(options->auth.jwt_keys_ca);
    free(options->auth.jwt_keys_token_file);
    free(options->tls.cert);
    free(options->tls.key);
    free(options->tls.client_ca);
    free(options->http_listen);
    free(options->hub_access);
    free(options->config);
    free(options->log_level);
    free(options->log_format);
    free(options->audit_log);
    free(options->sandbox);
    *options = (struct hc_options){0};
}

void hc_options_print(const struct hc_options *options, FILE *out)
{
    for (size_t i = 0; i < hc_option_count; i++) {
        if (!hc_option_table[i].is_flag_only)
            hc_option_print(options, &hc_option_table[i], out);
    }
}

void hc_options_set_log(const struct hc_options *options)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    enum hc_log_level level = HC_LOG_ERROR;

    while (strcmp(names[level], options->log_level) != 0)
        level++;
    hc_log_set(level, strcmp(options->log_format, "json") == 0);
}
