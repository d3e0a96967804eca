/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and durations as people write them on a command line and in a file: digits and a
 * unit. Neither has a sign, blanks or a fraction. Callable from any thread.
 */
#ifndef HC_BASE_QUANTITY_H
#define HC_BASE_QUANTITY_H

#include <stdint.h>

/* "1000", "10k", "10M", "10G", "2T": powers of 1000, as disks and networks are sold by.
 * -1, and nothing set, for other text and what 64 bits cannot hold. */
int hc_size_parse(const char *text, uint64_t *bytes);

/* "500ms", "60s", "5m", "2h", "1d"; without a unit, seconds. -1 likewise. */
int hc_duration_parse(const char *text, int64_t *milliseconds);

#endif
