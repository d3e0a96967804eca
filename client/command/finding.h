/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Verify and Prune find, in words and as JSON. Callable from any thread.
 */
#ifndef HC_COMMAND_FINDING_H
#define HC_COMMAND_FINDING_H

#include <hubcache/v1/cache.pb-c.h>
#include <jansson.h>

/* "corrupt_blob" and so on; "unknown" for a kind of a newer server. */
const char *hc_finding_kind(const Hubcache__V1__Finding *finding);

/* The fields of Finding. NULL: no memory. */
json_t *hc_finding_json(const Hubcache__V1__Finding *finding);

#endif
