/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a failed call says: a status code and a text, and from a hubcached also a
 * google.rpc.Status whose details are turned back into the error that the server had.
 */
#ifndef HC_CLIENT_CHANNEL_STATUS_H
#define HC_CLIENT_CHANNEL_STATUS_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

struct hc_channel_status {
    int code;               /* google.rpc.Code, not OK */
    const char *text;       /* grpc-message */
    const uint8_t *details; /* grpc-status-details-bin; NULL when there is none */
    size_t details_size;
    const char *server; /* who was asked, for the message when nobody was there */
};

/* Fills `err` and returns -1. */
int hc_channel_status_fail(const struct hc_channel_status *status, struct hc_error *err);

#endif
