/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What verifications and scrubs of this process have done since its start, for the
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

/* What of one verification has been counted: zero at first. */
struct hc_verified {
    uint64_t blobs, bytes;
};

/* Counts what has been hashed since the call before, of the same verification. */
void hc_verify_counts_follow(struct hc_verify_counts *counts,
                             struct hc_verified *verified, uint64_t blobs,
                             uint64_t bytes);

/* The same at its end, with the repairs. */
void hc_verify_counts_end(struct hc_verify_counts *counts, struct hc_verified *verified,
                          const struct hc_verify_result *result);

void hc_verify_counts_write(struct hc_verify_counts *counts, FILE *out);

#endif
