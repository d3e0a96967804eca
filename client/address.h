/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a hubcached listens, as people write it ("host:port", "[::1]:port",
 * "unix:/path"), and as gRPC wants it: a URI. Only these two forms are taken; gRPC's
 * other schemes are not.
 */
#ifndef HC_CLIENT_ADDRESS_H
#define HC_CLIENT_ADDRESS_H

#include "base/error.h"

#include <stddef.h>

enum { HC_ADDRESS_URI_MAX = 1024 };

#define HC_ADDRESS_DEFAULT "127.0.0.1:50051"

/* INVALID_OPTIONS (field "server") unless `address` has one of the forms. */
int hc_address_to_uri(const char *address, char *uri, size_t size, struct hc_error *err);

#endif
