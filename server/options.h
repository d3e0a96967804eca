/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of hubcached: the Hub's environment variables give the defaults, the
 * configuration file replaces them, and flags replace both. Secrets come from files or
 * the environment only: other users of the machine can read command lines.
 */
#ifndef HC_SERVER_OPTIONS_H
#define HC_SERVER_OPTIONS_H

#include "auth.h"
#include "tls.h"

#include <base/text.h>

#include <hubcache/settings.h>
#include <stdio.h>

struct hc_options {
    struct hc_settings settings;
    struct hc_auth_settings auth;
    struct hc_tls_settings tls;
    struct hc_strings listen, local_roots, mirrors;
    struct hc_strings flags; /* the command line: name, value, name, value... */
    char *http_listen, *config, *log_level, *log_format;
    char *audit_log; /* Optional */
    char *sandbox;
    bool check_config, allow_core_dumps;
    char *hub_access;
    unsigned workers, disk_workers, queue, client_connections;
    int64_t max_connection_age_ms, max_connection_idle_ms; /* 0: no limit */
    int64_t grace_period_ms;
    int64_t keep_interval_ms;  /* a second at least */
    int64_t scrub_interval_ms; /* 0: never */
    uint64_t scrub_rate;       /* bytes a second; 0: no limit */
};

/*
 * Ends the program for --help, --version and, with status 2, for bad usage. -1 for a bad
 * value or configuration file; clear in every case.
 */
int hc_options_load(struct hc_options *options, int argc, char **argv,
                    struct hc_error *err);

/*
 * The same for a program that runs: what the environment, the configuration file of now
 * and the command line of `first` say. One thread at a time.
 */
int hc_options_load_again(struct hc_options *options, const struct hc_options *first,
                          struct hc_error *err);

/*
 * What else is wrong, and only the start would find out: looks up the names of listeners,
 * which may take a while. Files of callers are not read: see hc_auth_open().
 */
int hc_options_check(const struct hc_options *options, struct hc_error *err);
void hc_options_clear(struct hc_options *options);
HC_DEFINE_AUTO_VALUE(hc_options, hc_options_clear)

/* Sets level and format of the log. */
void hc_options_set_log(const struct hc_options *options);

/* Prints "name: value" lines, without secrets. */
void hc_options_print(const struct hc_options *options, FILE *out);

#endif
