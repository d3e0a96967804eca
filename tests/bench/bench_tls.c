/* SPDX-License-Identifier: Apache-2.0 */
#include "bench_tls.h"

#include <stdio.h>
#include <stdlib.h>

enum { PEM_MAX = 64 * 1024 };

const char *bench_tls_read(const char *path)
{
    FILE *file = fopen(path, "re");
    char *text = calloc(1, PEM_MAX);

    if (!file || !text || fread(text, 1, PEM_MAX - 1, file) == 0) {
        (void)fprintf(stderr, "cannot read %s\n", path);
        exit(1); /* NOLINT(concurrency-mt-unsafe): there is one thread */
    }
    (void)fclose(file);
    return text;
}

grpc_channel_credentials *bench_tls_channel(const struct bench_tls *tls)
{
    grpc_ssl_pem_key_cert_pair pair = {.private_key = tls->key, .cert_chain = tls->cert};

    if (!tls->ca)
        return grpc_insecure_credentials_create();
    return grpc_ssl_credentials_create_ex(tls->ca, tls->cert ? &pair : NULL, NULL, NULL);
}

grpc_server_credentials *bench_tls_server(const struct bench_tls *tls)
{
    grpc_ssl_pem_key_cert_pair pair = {.private_key = tls->key, .cert_chain = tls->cert};

    if (!tls->cert)
        return grpc_insecure_server_credentials_create();
    return grpc_ssl_server_credentials_create_ex(
        tls->ca, &pair, 1,
        tls->ca ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
        NULL);
}
