/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that say which files of which repo are asked for, and how. The names of
 * `hf download` are aliases. Each group is a list of options for argp, whose input is a
 * struct hc_resolve_options. Used by the main thread.
 */
#ifndef HC_COMMAND_RESOLVE_OPTIONS_H
#define HC_COMMAND_RESOLVE_OPTIONS_H

#include "command.h"

#include "base/auto.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

/* The texts are those of argv; the lists of patterns are owned. */
struct hc_resolve_options {
    struct hc_command_options *common;
    struct hc_client_repo repo;
    struct hc_client_fetch fetch;
    const char *subfolder;
    const char *const *filenames;
    size_t filename_count;
    struct hc_strings include;
    struct hc_strings exclude;
    const char *target; /* where `pull` puts the files */
    bool list_files;
    bool require_complete;
    bool is_quiet;
};

/* The request that the options say, which borrows from them. */
void hc_resolve_options_request(const struct hc_resolve_options *options,
                                struct hc_client_snapshot_request *request);

void hc_resolve_options_clear(struct hc_resolve_options *options);
HC_DEFINE_AUTO_VALUE(hc_resolve_options, hc_resolve_options_clear)

extern const struct argp hc_repo_argp;     /* --revision, --repo-type; its input is a
                                              struct hc_client_repo */
extern const struct argp hc_resolve_argp;  /* these and others, of every call */
extern const struct argp hc_names_argp;    /* --subfolder */
extern const struct argp hc_patterns_argp; /* --include, --exclude */
extern const struct argp hc_warm_argp;     /* --warm */
extern const struct argp hc_lease_argp;    /* --lease */
extern const struct argp hc_snapshot_argp; /* --dry-run and others */
extern const struct argp hc_target_argp;   /* --to */
extern const struct argp hc_refused_argp;  /* options of `hf download` that are refused */

#endif
