/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a commit's tree is here and what is not: the proof of completeness.
 */
#ifndef HC_RESOLVER_COMPLETENESS_H
#define HC_RESOLVER_COMPLETENESS_H

#include "batch.h"

#include <policy/patterns.h>

/* A request for a snapshot, with its names checked. */
struct hc_snapshot_lookup {
    struct hc_resolution resolution;
    const struct hc_snapshot_request *request;
    struct hc_cancellation *cancellation; /* whose request it is; may be NULL */
    struct hc_filter *filter;             /* the request's patterns */
};

static inline void hc_snapshot_lookup_clear(struct hc_snapshot_lookup *lookup)
{
    hc_filter_free(lookup->filter);
}

HC_DEFINE_AUTO_VALUE(hc_snapshot_lookup, hc_snapshot_lookup_clear)

struct hc_completeness_check {
    struct hc_snapshot
        *answer;               /* figures, and with list_files the files, are filled in */
    struct hc_strings missing; /* the first HC_MISSING_MAX names */
    struct hc_missing_blob *blobs; /* all that are missing; borrow from the tree */
    size_t count;
    uint64_t missing_bytes;
};

int hc_completeness_check_tree(const struct hc_snapshot_lookup *lookup,
                               const char *commit, const struct hc_tree *tree,
                               struct hc_completeness_check *check, struct hc_error *err);

/* Makes it the answer to a dry run, which may miss files. */
void hc_completeness_answer_partial(struct hc_completeness_check *check);

void hc_completeness_check_clear(struct hc_completeness_check *check);
HC_DEFINE_AUTO_VALUE(hc_completeness_check, hc_completeness_check_clear)

#endif
