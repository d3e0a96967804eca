/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a removal took and left, as a table with notes, or as JSON: for commands whose
 * responses have lists of Removed and Kept. Used by the main thread.
 */
#ifndef HC_COMMAND_REMOVAL_OUTPUT_H
#define HC_COMMAND_REMOVAL_OUTPUT_H

#include "base/error.h"

#include <hubcache/v1/cache.pb-c.h>
#include <jansson.h>

/* Borrows the lists of a response. */
struct hc_removal_output {
    Hubcache__V1__Removed *const *removed;
    size_t removed_count;
    Hubcache__V1__Kept *const *kept;
    size_t kept_count;
    uint64_t freed_bytes;
    bool is_planned; /* nothing has gone yet */
    uint64_t removed_total, kept_total;
};

/* The table, and on standard error a note for each that is kept, and what is free. */
int hc_removal_print(const struct hc_removal_output *output, struct hc_error *err);

/* `removed`, `kept`, their totals, `freed_bytes` and `dry_run`. NULL: no memory. */
json_t *hc_removal_json(const struct hc_removal_output *output);

/* Whether something is kept that could not be removed or read. */
bool hc_removal_has_failed(const struct hc_removal_output *output);

#endif
