/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection after the other, one answer each.
 */
#include "tls_site.h"

#include "base/auto.h"
#include "hub_abort.h"

#include <netinet/in.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LIFETIME_S = 3600, REQUEST_MAX = 8192 };

static const char ANSWER[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                             "Connection: close\r\n\r\nok";

struct tls_site {
    SSL_CTX *context;
    X509 *cert;
    int listener;
    pthread_t thread;
    char *url;
};

static void must(int is_done)
{
    if (is_done <= 0)
        hub_abort("OpenSSL", "a certificate of our own");
}

static void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, nid, value);

    must(extension != NULL);
    must(X509_add_ext(cert, extension, -1));
    X509_EXTENSION_free(extension);
}

static X509 *make_cert(EVP_PKEY *key)
{
    X509 *cert = hub_require(X509_new());
    X509_NAME *name = X509_get_subject_name(cert);

    must(X509_set_version(cert, X509_VERSION_3));
    must(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1));
    must(X509_gmtime_adj(X509_getm_notBefore(cert), 0) != NULL);
    must(X509_gmtime_adj(X509_getm_notAfter(cert), LIFETIME_S) != NULL);
    must(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                    (const unsigned char *)"test authority", -1, -1, 0));
    must(X509_set_issuer_name(cert, name));
    must(X509_set_pubkey(cert, key));
    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(cert, NID_subject_alt_name, "IP:127.0.0.1");
    must(X509_sign(cert, key, EVP_sha256()));
    return cert;
}

static void write_cert(X509 *cert, const char *path)
{
    HC_AUTO_FCLOSE FILE *file = hub_require(fopen(path, "we"));

    must(PEM_write_X509(file, cert));
}

static SSL_CTX *make_context(X509 *cert, EVP_PKEY *key)
{
    SSL_CTX *context = hub_require(SSL_CTX_new(TLS_server_method()));

    must(SSL_CTX_use_certificate(context, cert));
    must(SSL_CTX_use_PrivateKey(context, key));
    return context;
}

static int listen_anywhere(char **url)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) < 0 ||
        listen(listener, SOMAXCONN) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0)
        hub_abort("TLS site", "cannot listen");
    *url = hub_format("https://127.0.0.1:%u/", (unsigned)ntohs(address.sin_port));
    return listener;
}

/* A peer that does not trust us leaves in the middle of it. */
static void answer(const struct tls_site *site, int connection)
{
    SSL *session = hub_require(SSL_new(site->context));
    char request[REQUEST_MAX];

    must(SSL_set_fd(session, connection));
    if (SSL_accept(session) == 1 && SSL_read(session, request, sizeof request) > 0 &&
        SSL_write(session, ANSWER, sizeof ANSWER - 1) > 0)
        (void)SSL_shutdown(session);
    SSL_free(session);
}

static void *serve(void *ctx)
{
    const struct tls_site *site = ctx;
    int connection;

    while ((connection = accept(site->listener, NULL, NULL)) >= 0) {
        answer(site, connection);
        (void)close(connection);
    }
    return NULL;
}

struct tls_site *tls_site_start(const char *dir, const char *cert)
{
    struct tls_site *site = hub_require(calloc(1, sizeof *site));
    HC_AUTO_FREE char *path = hub_format("%s/%s", dir, cert);
    EVP_PKEY *key = hub_require(EVP_EC_gen("P-256"));

    (void)signal(SIGPIPE, SIG_IGN);
    site->cert = make_cert(key);
    write_cert(site->cert, path);
    site->context = make_context(site->cert, key);
    EVP_PKEY_free(key);
    site->listener = listen_anywhere(&site->url);
    if (pthread_create(&site->thread, NULL, serve, site) != 0)
        hub_abort("TLS site", "no thread");
    return site;
}

void tls_site_stop(struct tls_site *site)
{
    (void)shutdown(site->listener, SHUT_RDWR);
    (void)pthread_join(site->thread, NULL);
    (void)close(site->listener);
    SSL_CTX_free(site->context);
    X509_free(site->cert);
    free(site->url);
    free(site);
}

const char *tls_site_url(const struct tls_site *site)
{
    return site->url;
}

char *tls_site_hashed_name(const struct tls_site *site)
{
    return hub_format("%08lx.0", X509_subject_name_hash(site->cert));
}
