/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of the edge, by gRPC's own handshakes. grpc_server_add_channel_from_fd(), by which
 * unix sockets and clear text come in, takes no other credentials than the insecure ones,
 * and makes no handshake. gRPC's C++ interface has a way to hand accepted connections to
 * a port with credentials (AddExternalConnectionAcceptor()): a port "external:…", and a
 * channel argument of the same name, in which gRPC leaves an object that takes them. The
 * first two are plain C; the object is a C++ one with a virtual function, so its table of
 * functions is written down here, as the C++ ABI of Linux lays it out (Itanium C++ ABI,
 * 2.5.2: a virtual destructor takes two places). It is the same from gRPC 1.19 to 1.85.
 *
 * gRPC asks for the certificate at each handshake. It makes a new context of OpenSSL when
 * there is a newer one; the connections that are open keep theirs. Handshakes that are
 * not over after HC_RPC_HANDSHAKE_MS end by gRPC's clock, at any of their bytes.
 */
#include "rpc_core.h"
#include "tls.h"

#include <base/error.h>

#include <grpc/credentials.h>
#include <grpc/grpc_security_constants.h>
#include <stddef.h>

static const char PORT[] = "external:tls";

/* gRPC's class TcpServerFdHandler. */
struct hc_rpc_acceptor {
    const struct {
        void (*destroy)(struct hc_rpc_acceptor *acceptor);
        void (*delete)(struct hc_rpc_acceptor *acceptor);
        void (*handle)(struct hc_rpc_acceptor *acceptor, int listener_fd, int fd,
                       grpc_byte_buffer *already_read);
    } *functions;
};

static void *pointer_copy(void *pointer)
{
    return pointer;
}

static void pointer_destroy(void *pointer)
{
    (void)pointer;
}

static int pointer_compare(void *pointer, void *other)
{
    return (pointer > other) - (pointer < other);
}

grpc_arg hc_rpc_tls_arg(struct hc_rpc *rpc)
{
    static const grpc_arg_pointer_vtable functions = {pointer_copy, pointer_destroy,
                                                      pointer_compare};

    return (grpc_arg){.type = GRPC_ARG_POINTER,
                      .key = hc_unconst(PORT),
                      .value.pointer = {&rpc->acceptor, &functions}};
}

/* For each handshake, and at first; gRPC holds a lock. */
static grpc_ssl_certificate_config_reload_status
certificate_fetch(void *ctx, grpc_ssl_server_certificate_config **config)
{
    struct hc_rpc *rpc = ctx;
    HC_AUTO_VALUE(hc_tls_pem) pem = {.cert = NULL};
    grpc_ssl_pem_key_cert_pair pair;

    if (!hc_tls_copy_newer(rpc->tls, &rpc->tls_generation, &pem))
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    pair = (grpc_ssl_pem_key_cert_pair){.private_key = pem.key, .cert_chain = pem.cert};
    /* gRPC 1.51 demands authorities, also if it asks no client for a certificate. */
    *config = grpc_ssl_server_certificate_config_create(pem.client_ca ? pem.client_ca
                                                                      : pem.cert,
                                                        &pair, 1);
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

static grpc_server_credentials *credentials_create(struct hc_rpc *rpc)
{
    static const grpc_ssl_client_certificate_request_type requests[] = {
        [HC_TLS_NO_CLIENTS] = GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
        [HC_TLS_OPTIONAL_CLIENTS] = GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY,
        [HC_TLS_ALL_CLIENTS] = GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY,
    };

    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            requests[hc_tls_clients(rpc->tls)], certificate_fetch, rpc));
}

int hc_rpc_use_tls(struct hc_rpc *rpc, struct hc_tls *tls, struct hc_error *err)
{
    rpc->tls = tls;
    rpc->secure = credentials_create(rpc);
    (void)grpc_server_add_http2_port(rpc->server, PORT, rpc->secure); /* has no number */
    if (!rpc->acceptor)
        return hc_fail(err, HC_INTERNAL, "gRPC refuses the certificate");
    return 0;
}

/* gRPC wants the number of a listening socket, of which it makes no use. */
void hc_rpc_tls_accept(struct hc_rpc *rpc, int fd)
{
    rpc->acceptor->functions->handle(rpc->acceptor, fd, fd, NULL);
}
