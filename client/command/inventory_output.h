/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `hubcache ls` and `hubcache du` print: tables for people, JSON and names for
 * programs. Used by one thread.
 */
#ifndef HC_COMMAND_INVENTORY_OUTPUT_H
#define HC_COMMAND_INVENTORY_OUTPUT_H

#include "repo_list.h"

/* The object that hubcache(1) describes. Of entries that are revisions, each
 * repo has those alone. */
int hc_inventory_print_json(const struct hc_repo_entry *entries, size_t count,
                            struct hc_error *err);

/* "model/org/name" of repos, and commits of revisions. */
int hc_inventory_print_names(const struct hc_repo_entry *entries, size_t count,
                             struct hc_error *err);

int hc_inventory_print_table(const struct hc_repo_entry *entries, size_t count,
                             bool has_revisions, struct hc_error *err);

struct hc_file_style {
    bool is_json, is_quiet; /* neither: a table */
};

/* Fetches and prints the files that `request` asks for. */
int hc_inventory_print_files(struct hc_client *client,
                             Hubcache__V1__ListFilesRequest *request,
                             const struct hc_file_style *style, struct hc_error *err);

enum hc_usage_key { HC_USAGE_BY_REPO, HC_USAGE_BY_CALLER, HC_USAGE_BY_RULE };

/* "repo", "caller" or "rule". False: it is none of them. */
bool hc_usage_key_parse(const char *text, enum hc_usage_key *key);

/* What callers, or rules, have had fetched. */
int hc_inventory_print_fetched(const Hubcache__V1__GetUsageResponse *usage,
                               enum hc_usage_key key, struct hc_error *err);

/* The first `count` of its repos. */
int hc_inventory_print_usage(const Hubcache__V1__GetUsageResponse *usage, size_t count,
                             struct hc_error *err);
int hc_inventory_print_usage_json(const Hubcache__V1__GetUsageResponse *usage,
                                  size_t count, struct hc_error *err);

#endif
