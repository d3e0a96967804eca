/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes texts and figures into HTML. Nothing in a text can begin markup or end an
 * attribute, and nothing in it changes the direction or the lines of the page.
 */
#ifndef HC_SERVER_HTML_H
#define HC_SERVER_HTML_H

#include <hubcache/repo.h>

#include <stdint.h>
#include <stdio.h>

/* For elements and for attributes in quotes. */
void hc_html_text(FILE *out, const char *text);

/* "1,234,567". */
void hc_html_count(FILE *out, uint64_t count);

/* "14.5 GB", in powers of 1000. */
void hc_html_bytes(FILE *out, uint64_t bytes);

/* "3 d 4 h", "2 min 5 s", "0 s": two units at most. */
void hc_html_duration(FILE *out, int64_t ms);

/* A duration, and "ago". */
void hc_html_age(FILE *out, int64_t now_ms, int64_t then_ms);

/* "org/name", with its type unless that is model. */
void hc_html_repo(FILE *out, enum hc_repo_type type, const char *id);

/* A time element, "2026-11-29 11:07:25" in UTC. */
void hc_html_time(FILE *out, int64_t epoch_ms);

/* The same time as RFC 3339 has it, "2026-11-29T11:07:25Z"; "" after the year 9999. */
void hc_html_time_text(char buffer[32], int64_t epoch_ms);

#endif
