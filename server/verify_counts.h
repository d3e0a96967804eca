/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What verifications and scrubs of this process have come to since its start, for the
 * metrics and the log. Zeroed memory is a set of counters at 0. Callable from any thread.
 */
#ifndef HC_SERVER_VERIFY_COUNTS_H
#define HC_SERVER_VERIFY_COUNTS_H

#include <hubcache/verification.h>

#include <stdatomic.h>
#include <stdio.h>

struct hc_verify_counts {
    atomic_uint_least64_t blobs, bytes, repaired, not_repaired;
    atomic_uint_least64_t findings[HC_FINDING_KINDS];
};

/* Also logs it, if it is a blob that is corrupt or cannot be read. */
void hc_verify_counts_add_finding(struct hc_verify_counts *counts,
                                  const struct hc_finding *finding);

/* All but the findings. */
void hc_verify_counts_add_result(struct hc_verify_counts *counts,
                                 const struct hc_verify_result *result);

void hc_verify_counts_write(struct hc_verify_counts *counts, FILE *out);

#endif
