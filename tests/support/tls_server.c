/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread serves one connection after the other, with one answer each.
 */
#include "tls_server.h"

#include "base/auto.h"
#include "cert_maker.h"
#include "hub_abort.h"
#include "temp_dir.h"

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUEST_MAX = 8192 };

/* The ETag is the git hash of the two bytes. */
static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n"
    "X-Repo-Commit: 0123456789abcdef0123456789abcdef01234567\r\n"
    "ETag: \"b5754e20373fdaa5331ef6e4623dbae636225e3b\"\r\n\r\nok";

struct tls_server {
    SSL_CTX *context;
    struct cert *cert;
    int listener;
    pthread_t thread;
    char *url;
};

/* OpenSSL returns 1 for success, and 0 or less for a failure. */
static void openssl_require(int is_done)
{
    if (is_done <= 0)
        hub_abort("OpenSSL", "making a certificate failed");
}

static SSL_CTX *tls_context_make(const struct cert *cert)
{
    SSL_CTX *context = hub_require(SSL_CTX_new(TLS_server_method()));

    openssl_require(SSL_CTX_use_certificate(context, cert->x509));
    openssl_require(SSL_CTX_use_PrivateKey(context, cert->key));
    return context;
}

static int tls_server_listen(char **url)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, SOMAXCONN) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        hub_abort("TLS server", "cannot listen");
    *url = hub_format("https://127.0.0.1:%u/", (unsigned)ntohs(address.sin_port));
    return listener;
}

/* A client that does not trust the certificate hangs up during the handshake. */
static void tls_server_answer(const struct tls_server *server, int connection)
{
    SSL *session = hub_require(SSL_new(server->context));
    char request[REQUEST_MAX];

    openssl_require(SSL_set_fd(session, connection));
    if (SSL_accept(session) == 1 && SSL_read(session, request, sizeof request) > 0 &&
        SSL_write(session, ANSWER, sizeof ANSWER - 1) > 0)
        (void)SSL_shutdown(session);
    SSL_free(session);
}

static void *tls_server_run(void *ctx)
{
    const struct tls_server *server = ctx;
    int connection;

    while ((connection = accept(server->listener, NULL, NULL)) >= 0) {
        tls_server_answer(server, connection);
        (void)close(connection);
    }
    return NULL;
}

/* SIGPIPE is ignored: OpenSSL writes to connections that clients have closed. */
struct tls_server *tls_server_start(const char *dir, const char *cert)
{
    struct tls_server *server = hub_require(calloc(1, sizeof *server));
    HC_AUTO_FREE char *pem = NULL;

    (void)signal(SIGPIPE, SIG_IGN);
    server->cert =
        cert_make(&(struct cert_wish){.common_name = "test authority",
                                      .is_authority = true,
                                      .names = {{.kind = CERT_IP, .text = "127.0.0.1"}}});
    pem = cert_pem(server->cert);
    temp_dir_write(dir, cert, pem);
    server->context = tls_context_make(server->cert);
    server->listener = tls_server_listen(&server->url);
    if (pthread_create(&server->thread, NULL, tls_server_run, server) != 0)
        hub_abort("TLS server", "no thread");
    return server;
}

void tls_server_stop(struct tls_server *server)
{
    (void)shutdown(server->listener, SHUT_RDWR);
    (void)pthread_join(server->thread, NULL);
    (void)close(server->listener);
    SSL_CTX_free(server->context);
    cert_free(server->cert);
    free(server->url);
    free(server);
}

const char *tls_server_url(const struct tls_server *server)
{
    return server->url;
}

char *tls_server_hashed_name(const struct tls_server *server)
{
    return hub_format("%08lx.0", X509_subject_name_hash(server->cert->x509));
}
