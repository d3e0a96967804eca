/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus' text exposition format 0.0.4. To be written: for each name its head once,
 * and then its samples.
 */
#ifndef HC_SERVER_EXPOSITION_H
#define HC_SERVER_EXPOSITION_H

#include <stdint.h>
#include <stdio.h>

void hc_exposition_head(FILE *out, const char *name, const char *type, const char *help);

/* The head and the only sample. */
void hc_exposition_counter(FILE *out, const char *name, const char *help, uint64_t value);
void hc_exposition_gauge(FILE *out, const char *name, const char *help, uint64_t value);

/* As those, of milliseconds: Prometheus' base unit is the second. */
void hc_exposition_seconds(FILE *out, const char *name, const char *help, uint64_t ms);

/* One of several samples, by a label; the value may be from outside. */
void hc_exposition_sample(FILE *out, const char *name, const char *label,
                          const char *value, uint64_t number);

/* The head of a counter and its samples by result: success, failure. */
void hc_exposition_results(FILE *out, const char *name, const char *help,
                           uint64_t succeeded, uint64_t failed);

/* The value of a label, from outside, between its quotes. */
void hc_exposition_label(FILE *out, const char *value);

/* process_*, named as Prometheus' own clients name them. `started_s` is since the
 * epoch. */
void hc_exposition_process(FILE *out, int64_t started_s);

#endif
