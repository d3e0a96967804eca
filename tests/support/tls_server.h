/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A site on loopback that speaks TLS with a certificate of its own making, for 127.0.0.1,
 * and answers every request with "ok". What cannot be done aborts the test program. One
 * thread may start and stop it.
 */
#ifndef HC_SUPPORT_TLS_SERVER_H
#define HC_SUPPORT_TLS_SERVER_H

struct tls_server;

/* Writes the certificate, in PEM, to `<dir>/<cert>`, which makes its authority. */
struct tls_server *tls_server_start(const char *dir, const char *cert);
void tls_server_stop(struct tls_server *server);

/* "https://127.0.0.1:<port>/", borrowed. */
const char *tls_server_url(const struct tls_server *server);

/* What a directory of authorities calls the certificate; the caller frees. */
char *tls_server_hashed_name(const struct tls_server *server);

#endif
