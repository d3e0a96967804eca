/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durations and sizes as people write and read them.
 */
#ifndef HC_COMMAND_UNITS_H
#define HC_COMMAND_UNITS_H

#include <stddef.h>
#include <stdint.h>

enum { HC_UNITS_TEXT_MAX = 32 };

/* "500ms", "60s", "5m", "2h", "1d"; a bare number is seconds. -1 for anything else. */
int hc_duration_parse(const char *text, int64_t *milliseconds);

/* "0:42", "1:02:03". */
void hc_duration_format(char text[HC_UNITS_TEXT_MAX], uint64_t seconds);

/* "999 B", "1.5 kB", "12.3 GB": decimal units, as the Hub shows sizes. */
void hc_bytes_format(char text[HC_UNITS_TEXT_MAX], uint64_t bytes);

#endif
