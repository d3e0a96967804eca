/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts that the Hub's redirects lead to, its storage: what one of them tells one
 * caller (Retry-After, RateLimit) is heeded by all, as with the Hub itself. Callable from
 * any thread.
 */
#ifndef HC_HUB_STORAGE_HOSTS_H
#define HC_HUB_STORAGE_HOSTS_H

#include "endpoint.h"

enum { HC_STORAGE_HOSTS_MAX = 32 };

struct hc_storage_hosts;

struct hc_storage_hosts *hc_storage_hosts_new(struct hc_error *err);
void hc_storage_hosts_free(struct hc_storage_hosts *hosts);
HC_DEFINE_AUTO(hc_storage_hosts, hc_storage_hosts_free)

/* The one of `url`, until hc_storage_hosts_free(); NULL when there are too many to keep. */
struct hc_endpoint *hc_storage_hosts_find(struct hc_storage_hosts *hosts,
                                          const char *url);

#endif
