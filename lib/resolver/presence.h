/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files of a listing the cache has, whole. On a quick volume each selected file is
 * looked at, one after the other. On a slow one a proof (cache/proof.h) says it of files
 * that were looked at before, perhaps by another process; the others are looked at side
 * by side.
 */
#ifndef HC_RESOLVER_PRESENCE_H
#define HC_RESOLVER_PRESENCE_H

#include "resolution.h"

#include <policy/patterns.h>

enum hc_presence {
    HC_NOT_SELECTED,
    HC_SELECTED, /* not looked at yet */
    HC_ABSENT,
    HC_PRESENT,
    HC_PRESENT_APART /* its pointer leads elsewhere than to the repo's own blobs */
};

struct hc_presence_check {
    /* Required; borrowed. */
    const struct hc_resolution *resolution;
    const char *commit;
    const struct hc_tree *tree;
    struct hc_filter *filter;

    /* Set by hc_presence_find(). */
    uint8_t *files; /* an enum hc_presence for each entry, none of them HC_SELECTED */
    struct hc_strings excluded; /* selected, but denied by policy: the first names */
    unsigned excluded_total;
    bool is_old; /* it uses a proof, and the files should be looked at again */
};

/* -1: INVALID_PATTERN, a selected file whose name is unsafe, a volume that fails, or a
 * cancellation. The caller clears the check in every case. */
int hc_presence_find(struct hc_presence_check *check, struct hc_error *err);

/* The same without a look at the volume: the files that it would look at are
 * HC_SELECTED. */
int hc_presence_select(struct hc_presence_check *check, struct hc_error *err);

void hc_presence_check_clear(struct hc_presence_check *check);
HC_DEFINE_AUTO_VALUE(hc_presence_check, hc_presence_check_clear)

#endif
