/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of a call's connection. gRPC has names for connections:
 *
 *     "fd:7"                      not TLS: hubcached gave gRPC the descriptor alone
 *     "ipv4:10.0.0.7:43210"       TLS
 *     "ipv6:%5Bfd00::7%5D:43210"
 *
 * The connection may be closed by now, and its descriptor's number another one's; see
 * connections.c.
 */
#include "connections.h"
#include "rpc_core.h"
#include "tls.h"

#include <base/text.h>

#include <arpa/inet.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* The address and the port in the name of a TLS connection; false: it is no such name. */
static bool connection_name_split(const char *name, char host[INET6_ADDRSTRLEN],
                                  unsigned short *port)
{
    return sscanf(name, "ipv4:%45[0-9.]:%hu", host, port) == 2 ||           /* NOLINT */
           sscanf(name, "ipv6:%%5B%45[0-9a-f:.]%%5D:%hu", host, port) == 2; /* NOLINT */
}

/* False, too, for what is no address. */
static bool connection_name_parse(const char *name, struct sockaddr_in6 *address)
{
    char host[INET6_ADDRSTRLEN];
    char mapped[INET6_ADDRSTRLEN + sizeof "::ffff:"];
    unsigned short port;

    if (!connection_name_split(name, host, &port))
        return false;
    (void)hc_format(mapped, sizeof mapped, "%s%s",
                    strchr(host, ':') ? "" : "::ffff:", host);
    *address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    return inet_pton(AF_INET6, mapped, &address->sin6_addr) == 1;
}

/* -1: it is the name of no connection without TLS. */
static int connection_name_descriptor(const char *name)
{
    return strncmp(name, "fd:", 3) == 0 ? (int)strtol(name + 3, NULL, 10) : -1;
}

/* -1: the connection is not known. */
static int call_descriptor(const struct hc_rpc_call *call)
{
    char *name = grpc_call_get_peer(call->core);
    struct sockaddr_in6 address;
    int fd = name ? connection_name_descriptor(name) : -1;

    if (name && fd < 0 && connection_name_parse(name, &address))
        fd = hc_connections_find(hc_listener_connections(call->rpc->listener), &address);
    gpr_free(name);
    return fd;
}

void hc_rpc_count_abandoned(const struct hc_rpc_call *call)
{
    struct hc_rpc *rpc = call->rpc;

    atomic_fetch_add_explicit(&rpc->abandoned, 1, memory_order_relaxed);
    hc_connections_count_abandoned(hc_listener_connections(rpc->listener),
                                   call_descriptor(call),
                                   atomic_load(&rpc->useful_looks));
}

static void descriptor_write_address(int fd, char address[HC_RPC_PEER_MAX])
{
    struct sockaddr_storage socket = {.ss_family = AF_UNSPEC};
    socklen_t size = sizeof socket;

    if (getpeername(fd, (struct sockaddr *)&socket, &size) == 0)
        (void)getnameinfo((struct sockaddr *)&socket, size, address, HC_RPC_PEER_MAX,
                          NULL, 0, NI_NUMERICHOST);
}

/* The name of a TLS connection has the address, so that the connection need not be looked
 * for among all. */
void hc_rpc_call_peer(const struct hc_rpc_call *call, char address[HC_RPC_PEER_MAX])
{
    char *name = grpc_call_get_peer(call->core);
    int fd = name ? connection_name_descriptor(name) : -1;
    char host[INET6_ADDRSTRLEN];
    unsigned short port;

    *address = '\0';
    if (fd >= 0)
        descriptor_write_address(fd, address);
    else if (name && connection_name_split(name, host, &port))
        (void)hc_format(address, HC_RPC_PEER_MAX, "%s", host);
    gpr_free(name);
}

/*
 * The context is that of the connection, which the call holds; to take and release it
 * once more is two atomic operations.
 */
const char *hc_rpc_call_certificate(const struct hc_rpc_call *call, size_t *size)
{
    const struct hc_tls *tls = call->rpc->tls;
    const grpc_auth_property *property;
    grpc_auth_property_iterator properties;
    grpc_auth_context *context;

    if (!tls || hc_tls_clients(tls) == HC_TLS_NO_CLIENTS)
        return NULL;
    context = grpc_call_auth_context(call->core);
    if (!context)
        return NULL;
    properties =
        grpc_auth_context_find_properties_by_name(context,
                                                  GRPC_X509_PEM_CERT_PROPERTY_NAME);
    property = grpc_auth_property_iterator_next(&properties);
    grpc_auth_context_release(context);
    *size = property ? property->value_length : 0;
    return property ? property->value : NULL;
}

/* gRPC allocates the name of a connection, so it is asked only if there are unix sockets.
 */
bool hc_rpc_call_uid(const struct hc_rpc_call *call, uid_t *uid)
{
    struct hc_listener *listener = call->rpc->listener;
    char *name;
    int fd;

    if (!hc_listener_has_path(listener))
        return false;
    name = grpc_call_get_peer(call->core);
    fd = name ? connection_name_descriptor(name) : -1;
    gpr_free(name);
    return hc_connections_uid(hc_listener_connections(listener), fd, uid);
}
