/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which entries of a list `hubcache ls` shows, and in which sequence, in the words of `hf
 * cache ls`: "size>1GB", "accessed>7d", "modified<=1h", "type=model", "refs=main"; and
 * beyond these "completeness=partial", "pinned=true", "leases>0". Callable from any
 * thread.
 */
#ifndef HC_COMMAND_REPO_FILTER_H
#define HC_COMMAND_REPO_FILTER_H

#include "repo_list.h"

#include <stdbool.h>
#include <stdint.h>

struct hc_repo_filter {
    enum hc_filter_key {
        HC_FILTER_SIZE,
        HC_FILTER_ACCESSED,
        HC_FILTER_MODIFIED,
        HC_FILTER_LEASES,
        HC_FILTER_TYPE,
        HC_FILTER_REFS,
        HC_FILTER_COMPLETENESS,
        HC_FILTER_PINNED
    } key;
    enum hc_filter_operator {
        HC_FILTER_EQUAL,
        HC_FILTER_DIFFERENT,
        HC_FILTER_LESS,
        HC_FILTER_MORE,
        HC_FILTER_AT_MOST,
        HC_FILTER_AT_LEAST
    } is;
    int64_t number;   /* bytes, seconds of age, or leases */
    const char *text; /* of the others; borrowed */
};

/* -1: the text is no filter; `*flaw` says why, static. `text` is borrowed. */
int hc_repo_filter_parse(const char *text, struct hc_repo_filter *filter,
                         const char **flaw);

bool hc_repo_filter_matches(const struct hc_repo_filter *filter,
                            const struct hc_repo_entry *entry, int64_t now_s);

struct hc_repo_order {
    enum hc_order_key {
        HC_ORDER_NAME,
        HC_ORDER_SIZE,
        HC_ORDER_ACCESSED,
        HC_ORDER_MODIFIED
    } key;
    bool is_descending;
};

/* "size", "name:desc": sizes and times the largest and newest first, unless it is said
 * otherwise. False: it is none. */
bool hc_repo_order_parse(const char *text, struct hc_repo_order *order);

/* Entries that are equal by the key are sorted by name. */
void hc_repo_order_sort(const struct hc_repo_order *order, struct hc_repo_entry *entries,
                        size_t count);

/* "complete", "partial", "unknown". */
const char *hc_completeness_word(Hubcache__V1__Completeness completeness);

#endif
