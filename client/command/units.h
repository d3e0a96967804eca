/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes and times as `hf cache ls` takes and shows them. Callable from any thread.
 */
#ifndef HC_COMMAND_UNITS_H
#define HC_COMMAND_UNITS_H

#include "output.h"

#include <google/protobuf/timestamp.pb-c.h>

/* "500", "1GB", "1.5 G", "2T": decimal units, of either case, "B" or not. -1 for any
 * other text. */
int hc_bytes_parse(const char *text, uint64_t *bytes);

/* "7d", "2w", "3mo", "1y", "12h", "30m", "90s": -1 for any other text. */
int hc_age_parse(const char *text, int64_t *seconds);

/* "a few seconds ago", "3 days ago"; "" for no time. */
void hc_age_format(char text[HC_UNITS_TEXT_MAX], const Google__Protobuf__Timestamp *time,
                   int64_t now_s);

/* "2026-03-01T12:00:00.123Z" (RFC 3339); "" for no time. */
void hc_time_format(char text[HC_UNITS_TEXT_MAX],
                    const Google__Protobuf__Timestamp *time);

#endif
