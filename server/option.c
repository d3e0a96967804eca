/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of options, and the one place where their values are checked: every value is
 * text first, be it from the table, the configuration file or the command line.
 *
 * To add an option: a row here, a member of struct hc_options or of struct hc_settings,
 * and a paragraph in hubcached(8). The row gives the offset of the member, whose type
 * follows from the kind of the option.
 */
#include "option.h"

#include <base/error.h>
#include <base/quantity.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* The place of a value: option_value() adds it to the address of struct hc_options. */
#define AT(member) offsetof(struct hc_options, member)

const struct hc_option hc_option_table[] = {
    {"listen", HC_OPTION_LIST, AT(listen), "ADDRESS", "127.0.0.1:50051", NULL, false,
     "Serve gRPC on ADDRESS: host:port (port 0: any) or unix:/path. Repeatable"},
    {"http-listen", HC_OPTION_TEXT, AT(http_listen), "ADDRESS", "off", NULL, false,
     "Serve /metrics, /healthz, /readyz and a status page over HTTP, or off"},
    {"allow-plaintext", HC_OPTION_FLAG, AT(tls.allow_plaintext), NULL, NULL, NULL, false,
     "Serve gRPC without TLS on addresses that other machines reach"},
    {"tls-cert", HC_OPTION_TEXT, AT(tls.cert), "FILE", NULL, NULL, false,
     "Serve gRPC over TLS on host:port: the certificate and its chain, in PEM"},
    {"tls-key", HC_OPTION_TEXT, AT(tls.key), "FILE", NULL, NULL, false,
     "The certificate's key, in PEM"},
    {"tls-client-ca", HC_OPTION_TEXT, AT(tls.client_ca), "FILE", NULL, NULL, false,
     "Require clients' certificates, of these authorities, in PEM"},
    {"tls-client-optional", HC_OPTION_FLAG, AT(tls.is_client_optional), NULL, NULL, NULL,
     false, "Let clients in that show no certificate"},
    {"auth", HC_OPTION_TEXT, AT(auth.mode), "none", NULL, "none", false,
     "Say that any client which reaches the listeners may call"},
    {"auth-tokens", HC_OPTION_TEXT, AT(auth.tokens_file), "FILE", NULL, NULL, false,
     "Callers and their tokens: lines 'name sha256:<hex> [group...]'"},
    {"auth-jwt-issuer", HC_OPTION_TEXT, AT(auth.jwt_issuer), "URL", NULL, NULL, false,
     "Who signs callers' JSON Web Tokens (the claim iss)"},
    {"auth-jwt-audience", HC_OPTION_TEXT, AT(auth.jwt_audience), "TEXT", NULL, NULL,
     false, "For whom they must be (the claim aud)"},
    {"auth-jwt-keys", HC_OPTION_TEXT, AT(auth.jwt_keys), "FILE|URL", NULL, NULL, false,
     "The issuer's public keys, a JWKS"},
    {"auth-jwt-keys-ca", HC_OPTION_TEXT, AT(auth.jwt_keys_ca), "FILE", NULL, NULL, false,
     "Certificate authorities for that URL; default: the system's"},
    {"auth-jwt-keys-token-file", HC_OPTION_TEXT, AT(auth.jwt_keys_token_file), "FILE",
     NULL, NULL, false, "Holds the token to ask that URL with; default: none"},
    {"auth-required", HC_OPTION_FLAG, AT(auth.is_required), NULL, NULL, NULL, false,
     "Refuse calls that do not prove an identity"},
    {"hub-access", HC_OPTION_TEXT, AT(hub_access), "server|caller", "server",
     "server|caller", false,
     "Which callers get cached repos that are private or gated: all, or callers whose "
     "own "
     "Hub token may"},
    {"hub-access-ttl", HC_OPTION_DURATION, AT(settings.hub_access_ttl_ms), "DURATION",
     NULL, NULL, false, "How long the Hub's word for that is good; 0: once (10m)"},
    {"cache-dir", HC_OPTION_TEXT, AT(settings.cache_dir), "DIR", NULL, NULL, false,
     "The cache volume; default from HF_HUB_CACHE, HF_HOME"},
    {"endpoint", HC_OPTION_TEXT, AT(settings.endpoint), "URL", NULL, NULL, false,
     "The Hub; default from HF_ENDPOINT"},
    {"token-file", HC_OPTION_TEXT, AT(settings.token_file), "FILE", NULL, NULL, false,
     "Holds the Hub token; default from HF_TOKEN, HF_TOKEN_PATH"},
    {"policy", HC_OPTION_TEXT, AT(settings.policy_file), "FILE", NULL, NULL, false,
     "Which caller may have what: rules, aliases, quotas; read again when it changes"},
    {"ca-file", HC_OPTION_TEXT, AT(settings.ca_file), "FILE", NULL, NULL, false,
     "Certificate authorities for TLS; default from SSL_CERT_FILE, REQUESTS_CA_BUNDLE, "
     "..."},
    {"offline", HC_OPTION_FLAG, AT(settings.offline), NULL, NULL, NULL, false,
     "Never ask the Hub; default from HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE"},
    {"local-root", HC_OPTION_LIST, AT(local_roots), "DIR", NULL, NULL, false,
     "Repo ids may name directories below DIR. Repeatable"},
    {"max-staleness", HC_OPTION_DURATION, AT(settings.max_staleness_ms), "DURATION", NULL,
     NULL, false, "How old the Hub's answer about a branch may be (60s)"},
    {"mirror", HC_OPTION_LIST, AT(mirrors), "URL", NULL, NULL, false,
     "Ask URL when the endpoint cannot be reached, without the token. Repeatable"},
    {"allow-private-redirects", HC_OPTION_FLAG, AT(settings.allow_private_redirects),
     NULL, NULL, NULL, false, "Let a public endpoint redirect to private addresses"},
    {"connections", HC_OPTION_COUNT, AT(settings.connections), "N", NULL, NULL, false,
     "Connections for bytes, of all downloads together, at most (16)"},
    {"download-memory", HC_OPTION_SIZE, AT(settings.download_memory), "SIZE", NULL, NULL,
     false, "Memory for bytes on their way; when short, fewer connections (32 MiB)"},
    {"min-split-size", HC_OPTION_SIZE, AT(settings.min_split_size), "SIZE", NULL, NULL,
     false, "Larger files are fetched in parts over several connections (64 MiB)"},
    {"tree-memory", HC_OPTION_SIZE, AT(settings.tree_memory), "SIZE", NULL, NULL, false,
     "Memory for listings of commits that no call uses (64 MiB)"},
    {"confirm-after", HC_OPTION_DURATION, AT(settings.confirm_after_ms), "DURATION", NULL,
     NULL, false,
     "How old a remembered look at the volume may be; 0 to always look (1s)"},
    {"cache-limit", HC_OPTION_SIZE, AT(settings.cache_limit), "SIZE", NULL, NULL, false,
     "Bytes that the cache may take; evicts what was used least recently (no limit)"},
    {"free-floor", HC_OPTION_SIZE, AT(settings.free_floor), "SIZE", NULL, NULL, false,
     "Bytes of the volume that stay free; evicts as for cache-limit (none)"},
    {"takeover-after", HC_OPTION_DURATION, AT(settings.takeover_ms), "DURATION", NULL,
     NULL, false,
     "Take over another process's download that stalls so long; 2s at least (30s)"},
    {"max-lease", HC_OPTION_DURATION, AT(settings.max_lease_ms), "DURATION", NULL, NULL,
     false, "How long a lease may be for, from its last renewal on (24h)"},
    {"leases-per-caller", HC_OPTION_COUNT, AT(settings.leases_per_caller), "N", NULL,
     NULL, false, "Leases that one caller may have, at most (10000)"},
    {"requests-per-second", HC_OPTION_COUNT, AT(settings.requests_per_second), "N", NULL,
     NULL, false, "Requests to the endpoint a second, at most (no limit)"},
    {"bytes-per-second", HC_OPTION_SIZE, AT(settings.bytes_per_second), "SIZE", NULL,
     NULL, false, "Bytes fetched a second, at most, such as 100M (no limit)"},
    {"workers", HC_OPTION_COUNT, AT(workers), "N", "24", NULL, false,
     "Threads that wait for the Hub, at most"},
    {"disk-workers", HC_OPTION_COUNT, AT(disk_workers), "N", "8", NULL, false,
     "Threads that look at the cache volume, at most"},
    {"queue", HC_OPTION_COUNT, AT(queue), "N", "4096", NULL, false,
     "Jobs that may wait for either kind of thread; more are refused with BUSY"},
    {"client-connections", HC_OPTION_COUNT, AT(client_connections), "N", "4096", NULL,
     false, "gRPC connections, at most; fewer if descriptors are short"},
    {"max-connection-age", HC_OPTION_DURATION, AT(max_connection_age_ms), "DURATION",
     "30m", NULL, false,
     "Close gRPC connections of that age, a tenth more or less, when their calls are "
     "over; 0: never"},
    {"max-connection-idle", HC_OPTION_DURATION, AT(max_connection_idle_ms), "DURATION",
     "15m", NULL, false, "Close gRPC connections without calls for so long; 0: never"},
    {"grace-period", HC_OPTION_DURATION, AT(grace_period_ms), "DURATION", "30s", NULL,
     false, "How long running calls may go on after SIGTERM"},
    {"keep-interval", HC_OPTION_DURATION, AT(keep_interval_ms), "DURATION", "5m", NULL,
     false,
     "Ask the Hub so often about each revision that the policy keeps, a tenth more or "
     "less"},
    {"scrub-interval", HC_OPTION_DURATION, AT(scrub_interval_ms), "DURATION", "0", NULL,
     false, "Hash all blobs of the cache that often, such as 30d; 0: never"},
    {"scrub-rate", HC_OPTION_SIZE, AT(scrub_rate), "SIZE", "50M", NULL, false,
     "Bytes that a scrub reads a second, at most; 0: no limit"},
    {"log-level", HC_OPTION_TEXT, AT(log_level), "LEVEL", "info", "error|warn|info|debug",
     false, "error, warn, info or debug"},
    {"log-format", HC_OPTION_TEXT, AT(log_format), "FORMAT", NULL, "text|json", false,
     "text or json; default text on a terminal, else json"},
    {"sandbox", HC_OPTION_TEXT, AT(sandbox), "on|off", "on", "on|off", false,
     "Give up system calls that hubcached never needs, and new privileges"},
    {"allow-core-dumps", HC_OPTION_FLAG, AT(allow_core_dumps), NULL, NULL, NULL, false,
     "Allow core dumps and debuggers, which show the tokens in memory"},
    {"audit-log", HC_OPTION_TEXT, AT(audit_log), "FILE", NULL, NULL, false,
     "Append a line of JSON for each call to FILE: which caller got what"},
    {"config", HC_OPTION_TEXT, AT(config), "FILE", NULL, NULL, true,
     "Read options from the YAML file FILE; flags win"},
    {"check-config", HC_OPTION_FLAG, AT(check_config), NULL, NULL, NULL, true,
     "Print the options in effect and exit"},
};

const size_t hc_option_count = sizeof hc_option_table / sizeof *hc_option_table;

/* The type of the member is that of the option's kind: see option.h. */
static void *option_value(struct hc_options *options, const struct hc_option *option)
{
    return (char *)options + option->offset;
}

static const void *option_value_at(const struct hc_options *options,
                                   const struct hc_option *option)
{
    return (const char *)options + option->offset;
}

/* The value of an option is no secret: a failure may quote it. */
static int value_refuse(const struct hc_option *option, const char *text,
                        const char *wanted, struct hc_error *err)
{
    return hc_fail_field(err, HC_INVALID_OPTIONS, option->name, "%s: '%s' is not %s",
                         option->name, text, wanted);
}

static int set_flag(const struct hc_option *option, const char *text, bool *value,
                    struct hc_error *err)
{
    *value = strcmp(text, "true") == 0;
    if (!*value && strcmp(text, "false") != 0)
        return value_refuse(option, text, "true or false", err);
    return 0;
}

/* Whether `text` is one of the words of `choices`. */
static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);

    while (choices) {
        if (strncmp(choices, text, length) == 0 &&
            (choices[length] == '|' || choices[length] == '\0'))
            return true;
        choices = strchr(choices, '|');
        choices += choices != NULL;
    }
    return false;
}

/* Texts are printed and logged, so control characters are refused. */
static int set_text(const struct hc_option *option, const char *text, char **value,
                    struct hc_error *err)
{
    char *copy;

    if (!*text || !hc_text_is_printable(text))
        return value_refuse(option, text, "printable text", err);
    if (option->choices && !is_choice(option->choices, text))
        return value_refuse(option, text, option->choices, err);
    copy = hc_text_copy(text, err);
    if (!copy)
        return -1;
    free(*value);
    *value = copy;
    return 0;
}

/* True: digits that fit; `*rest` is the text after them. strtoull() would take "-1". */
static bool read_number(const char *text, uint64_t *number, char **rest)
{
    errno = 0;
    *number = strtoull(text, rest, 10);
    return isdigit((unsigned char)*text) && errno == 0;
}

static int set_count(const struct hc_option *option, const char *text, unsigned *value,
                     struct hc_error *err)
{
    const uint64_t most = 1000000;
    uint64_t number;
    char *rest;

    if (!read_number(text, &number, &rest) || *rest || number < 1 || number > most)
        return value_refuse(option, text, "a number from 1 to 1000000", err);
    *value = (unsigned)number;
    return 0;
}

static int set_size(const struct hc_option *option, const char *text, uint64_t *value,
                    struct hc_error *err)
{
    uint64_t bytes;

    if (hc_size_parse(text, &bytes) < 0 || bytes == 0)
        return value_refuse(option, text, "a size such as 1000, 10k, 10M, 10G or 2T",
                            err);
    *value = bytes;
    return 0;
}

/* 31 years are as good as for ever. */
static int set_duration(const struct hc_option *option, const char *text, int64_t *value,
                        struct hc_error *err)
{
    const int64_t most = INT64_C(1000000000000);
    int64_t milliseconds;

    if (hc_duration_parse(text, &milliseconds) < 0 || milliseconds > most)
        return value_refuse(option, text, "a duration such as 500ms, 60s, 5m, 1h or 30d",
                            err);
    *value = milliseconds;
    return 0;
}

const struct hc_option *hc_option_find(const char *name)
{
    for (size_t i = 0; i < hc_option_count; i++) {
        if (strcmp(hc_option_table[i].name, name) == 0)
            return &hc_option_table[i];
    }
    return NULL;
}

int hc_option_set(struct hc_options *options, const struct hc_option *option,
                  const char *text, struct hc_error *err)
{
    void *value = option_value(options, option);

    switch (option->kind) {
    case HC_OPTION_FLAG:
        return set_flag(option, text, value, err);
    case HC_OPTION_TEXT:
        return set_text(option, text, value, err);
    case HC_OPTION_LIST:
        if (!*text || !hc_text_is_printable(text))
            return value_refuse(option, text, "printable text", err);
        return hc_strings_add(value, text, err);
    case HC_OPTION_COUNT:
        return set_count(option, text, value, err);
    case HC_OPTION_SIZE:
        return set_size(option, text, value, err);
    case HC_OPTION_DURATION:
        return set_duration(option, text, value, err);
    }
    return hc_fail(err, HC_INTERNAL, "%s: no such kind of option", option->name);
}

static bool list_is_equal(const struct hc_strings *list, const struct hc_strings *other)
{
    if (list->count != other->count)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i], other->items[i]) != 0)
            return false;
    }
    return true;
}

bool hc_option_is_equal(const struct hc_options *options, const struct hc_options *other,
                        const struct hc_option *option)
{
    const void *value = option_value_at(options, option);
    const void *with = option_value_at(other, option);

    switch (option->kind) {
    case HC_OPTION_FLAG:
        return *(const bool *)value == *(const bool *)with;
    case HC_OPTION_TEXT:
        return hc_text_equals(*(char *const *)value, *(char *const *)with);
    case HC_OPTION_LIST:
        return list_is_equal(value, with);
    case HC_OPTION_COUNT:
        return *(const unsigned *)value == *(const unsigned *)with;
    case HC_OPTION_SIZE:
        return *(const uint64_t *)value == *(const uint64_t *)with;
    case HC_OPTION_DURATION:
        return *(const int64_t *)value == *(const int64_t *)with;
    }
    return false;
}

void hc_option_restart(struct hc_options *options, const struct hc_option *option)
{
    if (option->kind == HC_OPTION_LIST)
        hc_strings_clear(option_value(options, option));
}

/* A YAML list in one line, which hc_config_load() reads again. */
static void print_list(const struct hc_option *option, const struct hc_strings *list,
                       FILE *out)
{
    (void)fprintf(out, "%s: [", option->name);
    for (size_t i = 0; i < list->count; i++)
        (void)fprintf(out, "%s\"%s\"", i ? ", " : "", list->items[i]);
    (void)fputs("]\n", out);
}

/* YAML, so that the options that --check-config prints are a configuration file. */
void hc_option_print(const struct hc_options *options, const struct hc_option *option,
                     FILE *out)
{
    const void *value = option_value_at(options, option);
    const char *text;

    switch (option->kind) {
    case HC_OPTION_FLAG:
        (void)fprintf(out, "%s: %s\n", option->name,
                      *(const bool *)value ? "true" : "false");
        break;
    case HC_OPTION_TEXT:
        text = *(char *const *)value;
        if (text)
            (void)fprintf(out, "%s: \"%s\"\n", option->name, text);
        break;
    case HC_OPTION_LIST:
        print_list(option, value, out);
        break;
    case HC_OPTION_COUNT:
        (void)fprintf(out, "%s: %u\n", option->name, *(const unsigned *)value);
        break;
    case HC_OPTION_SIZE:
        (void)fprintf(out, "%s: %" PRIu64 "\n", option->name, *(const uint64_t *)value);
        break;
    case HC_OPTION_DURATION:
        (void)fprintf(out, "%s: %" PRId64 "ms\n", option->name, *(const int64_t *)value);
        break;
    }
}
