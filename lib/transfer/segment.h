/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A segment: the span of a blob that one connection fetches. Its worker takes the span of
 * what is missing, has the source read it, survives what happens to connections, and
 * takes the next one. A byte belongs to one segment at a time: none is written or counted
 * twice.
 *
 * A segment is one thread's. What several share is in segmented_download.h.
 */
#ifndef HC_TRANSFER_SEGMENT_H
#define HC_TRANSFER_SEGMENT_H

#include "segmented_download.h"

#include <hub/retry.h>

struct hc_segment {
    struct hc_segmented_download *download;
    struct hc_span span; /* what is missing of it, before the present read */

    /* Of the present read. */
    struct hc_span rest; /* what is still to come of what the source was asked for */
    uint64_t received;   /* bytes */
    bool has_begun;      /* bytes have come */
    bool is_straggler;   /* it was ended for being far slower than the others */
    int64_t began_ms;
    struct {
        int64_t began_ms;  /* by the clock */
        int64_t waited_ms; /* for the server, when it began */
        uint64_t received;
    } window;

    /* Of the reads of the span: what is left of their allowance (segment.c). */
    struct {
        struct hc_retry retry;
        bool has_new_address; /* was asked for */
        int64_t renewed_ms;
        uint64_t new_bytes; /* since then */
    } allowance;

    /* The source's: where this read's bytes came from. */
    unsigned address_number; /* counted as addresses are found; 0: none */
    bool was_redirected;     /* the last answer was not of an endpoint itself */
};

enum { HC_WORKER_DONE = 0, HC_WORKER_LEFT = 1 };

/*
 * Fetches segments until nothing is left to take (HC_WORKER_DONE), the worker was let go
 * (HC_WORKER_LEFT), or it gave up (-1). What it fetched stays.
 */
int hc_segment_worker_run(struct hc_segmented_download *download, struct hc_error *err);

/* For sources: the clock of the read starts anew, as what came before was no server's. */
void hc_segment_start_clock(struct hc_segment *segment);

/*
 * For sources: the next bytes of the span. 0; 1 when another segment fetches the rest, so
 * that the read ends; -1. Waits while the hash is far behind.
 */
int hc_segment_write(struct hc_segment *segment, const void *bytes, size_t count,
                     struct hc_error *err);

/*
 * For sources: called again and again while the server is waited for, which it was for
 * `waited_ms` in all. True when the connection is a straggler, so that the read ends;
 * `is_exempt` when its slowness is not the connection's.
 *
 * A connection is a straggler that in its last second brought less than an eighth of what
 * the others bring (half of it, when nothing else is left to take), and was waited for
 * for two seconds at least; its bytes are then read over another connection. Each time
 * that halves what is expected, so that a server which has become slow altogether is soon
 * left alone.
 */
bool hc_segment_watch(struct hc_segment *segment, int64_t waited_ms, bool is_exempt);

#endif
