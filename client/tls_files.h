/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a connection over TLS is made with: the authorities that may have signed the
 * server's certificate, and the client's own certificate with its key, read from files.
 * The files are checked as they are read, because gRPC says of a bad one only that the
 * connection failed. Callable from any thread, one object from one thread at a time.
 */
#ifndef HC_CLIENT_TLS_FILES_H
#define HC_CLIENT_TLS_FILES_H

#include "base/auto.h"
#include "base/error.h"

#include <stdbool.h>

struct hc_client_options;

struct hc_tls_files { /* all texts are owned */
    bool is_wanted;
    char *ca_file;     /* NULL: the system's authorities */
    char *cert_file;   /* NULL: the client shows no certificate */
    char *key_file;    /* with cert_file */
    char *server_name; /* NULL: the host of the address */
};

/* The content of the files. */
struct hc_tls_texts {
    char *ca, *cert, *key; /* PEM; NULL for a file that was not named */
};

/*
 * Copies what the options say about TLS. INVALID_OPTIONS (field "tls_cert_file" or
 * "tls_key_file") for the one without the other.
 */
int hc_tls_files_init(struct hc_tls_files *tls, const struct hc_client_options *options,
                      struct hc_error *err);
void hc_tls_files_clear(struct hc_tls_files *tls);

/*
 * INVALID_OPTIONS with the field and the path when a file cannot be read, holds no
 * certificate or no key, or when the key is not that of the certificate. `content` is
 * left alone then.
 */
int hc_tls_files_read(const struct hc_tls_files *tls, struct hc_tls_texts *content,
                      struct hc_error *err);

bool hc_tls_texts_is_equal(const struct hc_tls_texts *one,
                           const struct hc_tls_texts *other);

/*
 * Why no server may take these at the moment, for the message of a failed connection.
 * Static; NULL when nothing is known.
 */
const char *hc_tls_texts_flaw(const struct hc_tls_texts *texts);

/* Wipes the key. */
void hc_tls_texts_clear(struct hc_tls_texts *content);
HC_DEFINE_AUTO_VALUE(hc_tls_texts, hc_tls_texts_clear)

#endif
