/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses that a public Hub has no reason to lead to: those of this machine, of its
 * networks and of their services. A redirect to one of them would let a response reach
 * what only hubcache can reach (server-side request forgery). Nothing is looked up here;
 * callable from any thread.
 */
#ifndef HC_HUB_ADDRESS_H
#define HC_HUB_ADDRESS_H

#include <stdbool.h>

struct sockaddr;

/* Private, loopback, link-local, shared (CGNAT), multicast, unspecified or reserved, of
 * IPv4 or IPv6, in IPv6 also as an IPv4 address; and those of metadata services. */
bool hc_address_is_private(const struct sockaddr *address);

/* Whether the host of a URL is such an address, or a name of this machine. False for
 * other names: what they mean is known when a connection is made. */
bool hc_address_url_is_private(const char *url);

/*
 * Whether a connection for `url` to `address` may be one to a proxy that the environment
 * names. Curl does not tell; the port does, unless the URL has the same one and there are
 * exceptions (no_proxy).
 */
bool hc_address_is_of_proxy(const struct sockaddr *address, const char *url);

#endif
