/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source that speaks HTTP: the Hub's endpoint, its mirrors, and the storage that they
 * redirect to. All connections of a blob share the address once one of them has found it,
 * and what has been seen of the server: whether it sends ranges.
 */
#ifndef HC_TRANSFER_HTTP_SOURCE_H
#define HC_TRANSFER_HTTP_SOURCE_H

#include "segmented_download.h"

#include <pthread.h>

/* What has been seen of a server that was asked for a range. */
enum hc_http_server_kind {
    HC_HTTP_SERVER_UNKNOWN,
    HC_HTTP_SERVER_SENDS_RANGES,
    HC_HTTP_SERVER_SENDS_ALL /* whatever is asked for, from the first byte on */
};

struct hc_http_source {
    struct hc_byte_source base;
    const struct hc_segmented_download *download;
    struct hc_hub *hub;
    struct hc_hub_credentials credentials;
    struct {
        pthread_mutex_t lock;
        enum hc_http_server_kind kind;
        unsigned requests;         /* under way */
        bool has_wrong_bytes;      /* bytes were written that are not the blob's */
        bool is_locating;          /* one request asks the Hub for the address */
        unsigned address_number;   /* which one it is, counted as they are found */
        char location[HC_URL_MAX]; /* "": ask the Hub */
    } shared;
};

/* For the request and the ingest of `download`, which is borrowed until it is cleared, as
 * is what the credentials point to. The first address is the request's, if it has one. */
void hc_http_source_init(struct hc_http_source *source,
                         const struct hc_segmented_download *download,
                         const struct hc_hub_credentials *credentials);
void hc_http_source_clear(struct hc_http_source *source);

/* The blob is fetched anew, from its first byte. No read may be running. */
void hc_http_source_restart(struct hc_http_source *source);

#endif
