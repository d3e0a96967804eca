/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room on the volume, before it is needed and when it is missed.
 */
#ifndef HC_CLAIM_FREE_SPACE_H
#define HC_CLAIM_FREE_SPACE_H

#include <base/error.h>

#include <stdint.h>

enum {
    HC_RESERVATION_MIN_BYTES = 1024 * 1024
}; /* for fewer nobody asks what others need */

/*
 * NO_SPACE, with both figures, when the volume of `fd` has fewer than `needed` bytes
 * beyond those `reserved` for others. A volume that cannot say is taken to have enough.
 */
int hc_free_space_check(int fd, uint64_t needed, uint64_t reserved, struct hc_error *err);

/* Adds the figures to a NO_SPACE that a write met with; other errors stay as they are. */
void hc_free_space_describe(int fd, uint64_t needed, struct hc_error *err);

#endif
