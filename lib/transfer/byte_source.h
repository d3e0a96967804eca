/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source of a blob's bytes. A download asks its sources in turn: the first ones may
 * fill the file at once (a duplicate on the volume), the last one is read segment by
 * segment, over as many connections as it allows (the Hub, a mirror, or the storage that
 * either redirects to: http_source.h). A new kind of source is one more set of functions.
 *
 * `read` may be called from several threads at a time, the other functions too while it
 * runs; `fill` is called from the thread that owns the ingest, before any `read`.
 */
#ifndef HC_TRANSFER_BYTE_SOURCE_H
#define HC_TRANSFER_BYTE_SOURCE_H

#include <base/error.h>

#include <stdbool.h>
#include <stdint.h>

struct hc_blob_request;
struct hc_byte_source;
struct hc_ingest;
struct hc_segment;

/* What a failed read says about the next one. */
enum hc_read_failure {
    HC_READ_FINAL,       /* no other read would do better: the download fails */
    HC_READ_CONNECTION,  /* this connection broke: the same read may do after a pause */
    HC_READ_ADDRESS,     /* the source has to be asked anew where the bytes are */
    HC_READ_WRONG_BYTES, /* bytes were written that are not the blob's: begin anew */
};

/* The head of each source's own struct. */
struct hc_byte_source {
    /* Optional: puts all bytes in place. 1 done; 0 the source has not got the blob. */
    int (*fill)(struct hc_byte_source *source, const struct hc_blob_request *request,
                struct hc_ingest *ingest, struct hc_error *err);
    /*
     * Reads the segment's span, passing its bytes to hc_segment_write() and the time to
     * hc_segment_watch(). 0 when the source's answer ended well, though it may have been
     * short; 1 when the segment has enough; -1.
     */
    int (*read)(struct hc_byte_source *source, struct hc_segment *segment,
                struct hc_error *err);
    /* What kind of failure that was, of a segment or (NULL) of the whole blob. */
    enum hc_read_failure (*classify)(struct hc_byte_source *source,
                                     const struct hc_segment *segment,
                                     const struct hc_error *err);
    /* The next read does not use the address that this segment, or with NULL any,
     * used. */
    void (*forget_address)(struct hc_byte_source *source,
                           const struct hc_segment *segment);
    /* Whether several segments may be read at a time, as far as is known by now. */
    bool (*sends_ranges)(struct hc_byte_source *source);
    /* A hash of the host that sends the bytes, for the connection budget; 0: unknown. */
    uint64_t (*host_key)(struct hc_byte_source *source);
};

#endif
