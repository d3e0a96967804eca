/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status of a failed call, and the error made of it. A status has a code and a text;
 * a hubcached also sends a google.rpc.Status, whose details become the error that the
 * server had. Callable from any thread.
 */
#ifndef HC_CLIENT_CHANNEL_STATUS_H
#define HC_CLIENT_CHANNEL_STATUS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hc_channel_status {
    int code;               /* google.rpc.Code, not OK */
    const char *text;       /* grpc-message */
    const uint8_t *details; /* grpc-status-details-bin; NULL when there is none */
    size_t details_size;
    const char *server; /* the address that was called, for the message */
    bool has_tls;       /* the connection is one over TLS, or should be */
    const char *flaw;   /* of the client's own files; NULL: none is known */
};

/* Whether the two sides could not agree on TLS, which a repetition does not change. */
bool hc_channel_status_is_tls_failure(const struct hc_channel_status *status);

/* Fills `err` and returns -1. */
int hc_channel_status_fail(const struct hc_channel_status *status, struct hc_error *err);

#endif
