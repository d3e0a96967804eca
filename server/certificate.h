/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Says whom the certificate of a client names. TLS has checked it against the authorities
 * before; here only its names and its end count. The caller's name is, as it stands in
 * the subject alternative names, the URI, such as a SPIFFE id, else the first DNS name,
 * else the first e-mail address. The common name is never looked at: it has no form, and
 * authorities do not check it. Decided without I/O; hostile bytes are fine.
 *
 * The groups of "spiffe://td/ns/n/sa/s", the form of Kubernetes' meshes, are
 * "spiffe://td" and "spiffe://td/ns/n"; of other SPIFFE ids only the first.
 */
#ifndef HC_SERVER_CERTIFICATE_H
#define HC_SERVER_CERTIFICATE_H

#include "caller.h"

/* Whom it names, or why it names no caller. */
struct hc_certificate_result {
    struct hc_caller *caller; /* the calling function holds it */
    int64_t end_s;            /* when the certificate expires */
    const char *flaw;         /* for the caller; static */
};

/*
 * 1: `caller` and `end_s` are set. -1: `flaw` is set. `pem` has `size` bytes; `now_s` is
 * in seconds since the epoch.
 */
int hc_certificate_identify(const char *pem, size_t size, int64_t now_s,
                            struct hc_certificate_result *result);

#endif
