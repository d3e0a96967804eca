/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address of a hubcached, as callers write it and as gRPC takes it. Callable from any
 * thread.
 */
#ifndef HC_CLIENT_SERVER_ADDRESS_H
#define HC_CLIENT_SERVER_ADDRESS_H

#include <stdbool.h>

struct hc_error;

enum { HC_SERVER_URI_MAX = 1024 }; /* bytes, the NUL included */

struct hc_server_address {
    char uri[HC_SERVER_URI_MAX]; /* what gRPC takes */
    bool is_balanced;            /* calls go to all addresses of the name in turn */
    bool has_tls;                /* the address itself says so */
};

/*
 * Takes "host:port", "[::1]:port", "https://host:port" (with TLS), "dns:///host:port"
 * (balanced) and "unix:/path". INVALID_OPTIONS (field "server") for every other form,
 * gRPC's other schemes included.
 */
int hc_server_address_parse(const char *text, struct hc_server_address *address,
                            struct hc_error *err);

#endif
