/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address of a hubcached, as callers write it and as gRPC takes it. Callable from any
 * thread.
 */
#ifndef HC_CLIENT_SERVER_ADDRESS_H
#define HC_CLIENT_SERVER_ADDRESS_H

#include <stddef.h>

struct hc_error;

enum { HC_SERVER_URI_MAX = 1024 }; /* bytes, the NUL included */

/*
 * Writes to `uri` what gRPC takes for `address`, which is "host:port", "[::1]:port" or
 * "unix:/path". INVALID_OPTIONS (field "server") for every other form, gRPC's other
 * schemes included.
 */
int hc_server_address_uri(const char *address, char *uri, size_t size,
                          struct hc_error *err);

#endif
