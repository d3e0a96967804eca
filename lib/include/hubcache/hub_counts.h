/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a resolver has asked the Hub since it was opened, and what came of it.
 * Callable from any thread.
 */
#ifndef HUBCACHE_HUB_COUNTS_H
#define HUBCACHE_HUB_COUNTS_H

#include <hubcache/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hc_resolver;

/* What was asked for. */
enum hc_hub_request_kind { HC_HUB_METADATA, HC_HUB_LISTING, HC_HUB_BYTES, HC_HUB_KINDS };

/* Of which host: the endpoint, a mirror, or where redirects lead. */
enum hc_hub_host { HC_HUB_ENDPOINT, HC_HUB_MIRROR, HC_HUB_STORAGE, HC_HUB_HOSTS };

/* How the host answered: by the status, or not at all. */
enum hc_hub_answer {
    HC_HUB_ANSWER_2XX,
    HC_HUB_ANSWER_3XX,
    HC_HUB_ANSWER_4XX, /* without 429 */
    HC_HUB_ANSWER_429,
    HC_HUB_ANSWER_5XX,
    HC_HUB_ANSWER_NONE, /* no connection, or it broke; or the caller left */
    HC_HUB_ANSWERS
};

struct hc_hub_counts {
    uint64_t requests[HC_HUB_KINDS][HC_HUB_HOSTS][HC_HUB_ANSWERS]; /* redirects, too */
    uint64_t bytes[HC_HUB_HOSTS]; /* of files, useful or not */
};

HC_PUBLIC void hc_resolver_hub_counts(const struct hc_resolver *resolver,
                                      struct hc_hub_counts *counts);

/* What is known of the endpoint, of a mirror, or of an endpoint of the policy. `url` is
 * borrowed. */
struct hc_endpoint_state {
    const char *url;
    bool is_open;      /* its circuit is: it has failed, and is tried now and then */
    bool is_throttled; /* it has asked for a pause, from any caller */
};

/* Number 0 is the endpoint, then come the mirrors, then those of the policy. False: there
 * is none of that number. */
HC_PUBLIC bool hc_resolver_endpoint_state(const struct hc_resolver *resolver,
                                          size_t number, struct hc_endpoint_state *state);

#ifdef __cplusplus
}
#endif

#endif
