/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Growth of an array that has no member for its capacity: that follows from its count.
 */
#ifndef HC_BASE_LIST_H
#define HC_BASE_LIST_H

#include "error.h"

#include <stdlib.h>

/* The array, with room for one more item than `count`; NULL, and it stays as it is, when
 * memory is short. It was grown by this alone, one item at a time. */
static inline void *hc_list_grow(void *items, size_t count, size_t size,
                                 struct hc_error *err)
{
    void *grown;

    if (count & (count - 1))
        return items;
    grown = reallocarray(items, 2 * count + 1, size);
    if (!grown)
        (void)hc_fail_memory(err);
    return grown;
}

#endif
