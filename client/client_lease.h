/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renewing and releasing leases with a limit of their own: the call is made once, and
 * takes so many milliseconds at most. Callable from any thread.
 */
#ifndef HC_CLIENT_CLIENT_LEASE_H
#define HC_CLIENT_CLIENT_LEASE_H

#include <hubcache/error.h>

#include <stdint.h>

struct hc_client;

/* As hc_client_renew_lease() and hc_client_release_lease(), whose `limit_ms` is 0: no
 * limit, and the call is repeated like others. */
int hc_lease_renew_within(struct hc_client *client, const char *lease_id,
                          int64_t lease_ms, int64_t limit_ms, struct hc_error *err);
int hc_lease_release_within(struct hc_client *client, const char *lease_id,
                            int64_t limit_ms, struct hc_error *err);

#endif
