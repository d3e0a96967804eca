/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The credentials of the benchmarks' own client and server, of PEM files: TLS if there is
 * an authority or a certificate, else plaintext. A wrong file ends the program.
 */
#ifndef HC_BENCH_TLS_H
#define HC_BENCH_TLS_H

#include <grpc/credentials.h>

/* The texts stay; NULL: none. */
struct bench_tls {
    const char *ca; /* of the other side */
    const char *cert, *key;
};

/* The text of a file, which stays until the program ends. */
const char *bench_tls_read(const char *path);

grpc_channel_credentials *bench_tls_channel(const struct bench_tls *tls);

/* With an authority every client has to show a certificate. */
grpc_server_credentials *bench_tls_server(const struct bench_tls *tls);

#endif
