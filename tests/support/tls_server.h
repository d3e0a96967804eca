/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server on loopback that speaks TLS with a certificate for 127.0.0.1 that it makes
 * itself, and answers every request with "ok", as a Hub would for a file of a commit.
 * Failures abort the test program. Started and stopped by one thread.
 */
#ifndef HC_SUPPORT_TLS_SERVER_H
#define HC_SUPPORT_TLS_SERVER_H

struct tls_server;

/* Writes the certificate, which is its own authority, in PEM to `<dir>/<cert>`. */
struct tls_server *tls_server_start(const char *dir, const char *cert);
void tls_server_stop(struct tls_server *server);

/* "https://127.0.0.1:<port>/", borrowed. */
const char *tls_server_url(const struct tls_server *server);

/* The name that the certificate has in a directory of authorities; the caller frees. */
char *tls_server_hashed_name(const struct tls_server *server);

#endif
