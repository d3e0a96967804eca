/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificate that hubcached shows over TLS, its key, and the authorities whose
 * clients it lets in, read from files that may be replaced while it runs. A thread of its
 * own looks at them every two seconds. Certificate, key and authorities are taken into
 * use together, if all are right; else the old ones stay, and the log says why. Callable
 * from any thread.
 */
#ifndef HC_SERVER_TLS_H
#define HC_SERVER_TLS_H

#include "tls_pem.h"

struct hc_tls;

/* Of the options; all texts Optional. */
struct hc_tls_settings {
    char *cert, *key; /* both, or none */
    char *client_ca;
    bool is_client_optional;
    bool allow_plaintext;
};

/* INVALID_OPTIONS: settings that contradict each other. */
int hc_tls_settings_check(const struct hc_tls_settings *settings, struct hc_error *err);

/*
 * Reads the files. `settings` is borrowed, and has a certificate. INVALID_OPTIONS names a
 * wrong file.
 */
struct hc_tls *hc_tls_open(const struct hc_tls_settings *settings, struct hc_error *err);
void hc_tls_close(struct hc_tls *tls);
HC_DEFINE_AUTO(hc_tls, hc_tls_close)

/*
 * Reads the files now. 1: they have replaced those in use; 0: they are those in use; -1:
 * INVALID_OPTIONS names a wrong one, and those in use stay.
 */
int hc_tls_read(struct hc_tls *tls, struct hc_error *err);

/* What the thread of file_watcher.h does every two seconds, and no other. */
void hc_tls_look(struct hc_tls *tls);

enum hc_tls_clients { HC_TLS_NO_CLIENTS, HC_TLS_OPTIONAL_CLIENTS, HC_TLS_ALL_CLIENTS };

/* Which clients have to show a certificate. */
enum hc_tls_clients hc_tls_clients(const struct hc_tls *tls);

/*
 * True, and a copy, which the caller clears, if what is in use is newer than that of
 * `*generation`, which is 0 at first. False: it is not, or memory is short.
 */
bool hc_tls_copy_newer(struct hc_tls *tls, uint64_t *generation, struct hc_tls_pem *copy);

/* For metrics and the status page. */
struct hc_tls_state {
    int64_t since_s; /* when what is in use was read, in seconds since the epoch */
    int64_t end_s;   /* when its certificate expires */
    uint64_t replaced, failed; /* since the start: how often they were, or were wrong */
    struct hc_error err;       /* "": the newest files are in use */
};

void hc_tls_look_at_state(struct hc_tls *tls, struct hc_tls_state *state);

#endif
