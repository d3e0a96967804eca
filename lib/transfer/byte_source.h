/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the bytes of one blob come from: an address that all its connections share once
 * one of them has found it, and whether the server there sends parts. Callable from any
 * thread.
 */
#ifndef HC_TRANSFER_BYTE_SOURCE_H
#define HC_TRANSFER_BYTE_SOURCE_H

#include "transfer.h"

#include <hub/response.h>
#include <store/ingest.h>

#include <pthread.h>
#include <stdatomic.h>

/* What has been seen of a server that was asked for a part. */
enum hc_byte_source_kind {
    HC_BYTE_SOURCE_UNKNOWN,
    HC_BYTE_SOURCE_SENDS_RANGES,
    HC_BYTE_SOURCE_SENDS_ALL /* whatever is asked for, from the first byte on */
};

/* The length of the pieces that parts are made of. */
uint64_t hc_byte_source_piece_length(uint64_t min_split_size);

struct hc_byte_source {
    struct hc_hub *hub;
    const struct hc_blob_request *request;
    struct hc_ingest *ingest;
    struct hc_hub_credentials credentials;
    atomic_uint *retries;    /* Optional: counts those of all who lead the transfer */
    uint64_t min_split_size; /* a blob of no more comes in one request */
    struct {
        pthread_mutex_t lock;
        enum hc_byte_source_kind kind;
        unsigned requests;         /* requests under way */
        unsigned receiving;        /* those of them that have brought bytes */
        unsigned peak;             /* that flowed at a time */
        unsigned retries;          /* requests that were repeated */
        uint64_t received;         /* bytes, also those that came to nothing */
        double usual_rate;         /* bytes a millisecond of one connection, lately */
        bool has_wrong_bytes;      /* bytes were written that are not the blob's */
        bool is_locating;          /* somebody asks the Hub for the address */
        unsigned address_number;   /* which one it is, counted as they are found */
        char location[HC_URL_MAX]; /* "": ask the Hub */
    } shared;
};

/* All but `shared` is the caller's to fill. */
void hc_byte_source_init(struct hc_byte_source *source);
void hc_byte_source_clear(struct hc_byte_source *source);

/* What became of one request, beside its bytes. */
struct hc_range_outcome {
    unsigned address_number; /* the one that was asked */
    bool was_elsewhere; /* the last answer is of no endpoint: a redirect led there, or an
                           address that was found earlier */
    bool is_straggler;  /* ended for being far slower than the other connections */
};

/*
 * One request for a span of the blob, whose bytes go into the ingest: 0 when the answer
 * ended well, though it may have been short. A server that sends all is let to, but only
 * while nobody else asks. When the address is not known one asks for it, the others wait.
 *
 * An answer that said no length, and ended before it had sent the whole blob that it was
 * to send, is BAD_HUB_REPLY. When it was no more than a page is, what it brought is not
 * the blob's: hc_byte_source_sent_wrong_bytes().
 *
 * A connection that in its last second brought less than an eighth of what the others
 * bring (half of it, when nothing else is left to take), and was waited for for two seconds
 * at least, is ended (CANCELLED); its bytes are to be asked for over another connection.
 * Each time that halves what is expected, so that a server which has become slow altogether
 * is soon left alone.
 */
int hc_byte_source_get_range(struct hc_byte_source *source, const struct hc_span *span,
                             struct hc_range_outcome *outcome, struct hc_error *err);

/* The next request does not ask that address: another one, when one has been found since,
 * or the Hub. */
void hc_byte_source_forget_address(struct hc_byte_source *source, unsigned address);

/*
 * Whether, after `err`, what has arrived is not to be trusted: all bytes are there, and
 * more came, or a page came instead. The blob is to be fetched from its first byte.
 */
bool hc_byte_source_sent_wrong_bytes(struct hc_byte_source *source,
                                     const struct hc_error *err);

/* A request is repeated. */
void hc_byte_source_count_retry(struct hc_byte_source *source);

/* It comes in one request, over one connection; so does what has no known size. */
bool hc_byte_source_is_small(const struct hc_byte_source *source);

enum hc_byte_source_kind hc_byte_source_kind_of(struct hc_byte_source *source);
unsigned hc_byte_source_receiving(struct hc_byte_source *source);

/* Which file is brought, for messages. */
void hc_byte_source_describe(const struct hc_byte_source *source,
                             char subject[HC_TARGET_TEXT_SIZE]);

#endif
