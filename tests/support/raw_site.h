/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site on loopback that sends exactly the bytes it was given, whether or not they are
 * HTTP: for the headers that no HTTP library would send. One connection at a time, closed
 * after its answer. What cannot be done aborts the test program. Callable from any thread.
 */
#ifndef HC_SUPPORT_RAW_SITE_H
#define HC_SUPPORT_RAW_SITE_H

#include <stdbool.h>

struct raw_site;

/* Listens on 127.0.0.1. Answers 404 until it is told otherwise. */
struct raw_site *raw_site_start(void);
void raw_site_stop(struct raw_site *site);

/* "http://127.0.0.1:<port>", borrowed. */
const char *raw_site_url(const struct raw_site *site);

/* Answers requests that contain `text` with `bytes`, both copied; the newest answer that
 * matches is sent. */
void raw_site_answer(struct raw_site *site, const char *text, const char *bytes);

/* How many requests contained `text`, in their first line or a header. */
unsigned raw_site_count(struct raw_site *site, const char *text);

#endif
