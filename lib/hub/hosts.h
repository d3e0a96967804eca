/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts that the Hub's redirects lead to, its storage: what one of them tells one
 * caller (Retry-After, RateLimit) is heeded by all, as with the Hub itself. Callable from
 * any thread.
 */
#ifndef HC_HUB_HOSTS_H
#define HC_HUB_HOSTS_H

#include "endpoint.h"

enum { HC_HOSTS_MAX = 32 };

struct hc_hosts;

struct hc_hosts *hc_hosts_new(struct hc_error *err);
void hc_hosts_free(struct hc_hosts *hosts);
HC_DEFINE_AUTO(hc_hosts, hc_hosts_free)

/* The one of `url`, until hc_hosts_free(); NULL when there are too many to keep. */
struct hc_endpoint *hc_hosts_find(struct hc_hosts *hosts, const char *url);

#endif
