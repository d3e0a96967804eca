/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The section of the status page about the cache: which kept revisions are not whole,
 * what the scrub has found, and the largest repos. Any thread.
 */
#ifndef HC_SERVER_STATUS_CACHE_H
#define HC_SERVER_STATUS_CACHE_H

#include "server_status.h"

void hc_status_cache_write(const struct hc_status_facts *facts, FILE *out);

#endif
