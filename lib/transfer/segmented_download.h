/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what is missing of a blob from a source, over as many connections as make it
 * faster, and hashes it meanwhile. A small blob is read over one connection, on the
 * caller's own thread; for a large one each connection is a thread while it lasts.
 */
#ifndef HC_TRANSFER_SEGMENTED_DOWNLOAD_H
#define HC_TRANSFER_SEGMENTED_DOWNLOAD_H

#include "budget.h"
#include "byte_source.h"
#include "ramp.h"
#include "transfer.h"

#include <hub/hub.h>
#include <hub/response.h>
#include <repo/blob_request.h>
#include <store/ingest.h>

#include <stdatomic.h>

enum { HC_SEGMENT_WORKERS_MAX = 64 };

/* A worker thread; the place is free again once the thread has been joined. */
struct hc_segment_worker {
    struct hc_segmented_download *download;
    pthread_t thread;
    bool is_used;
    atomic_bool is_over;
};

struct hc_segmented_download {
    /* The caller's to fill. */
    const struct hc_blob_request *request;
    struct hc_byte_source *source;
    struct hc_ingest *ingest;
    struct hc_hub *hub; /* for its retries and pauses */
    struct hc_budget *budget;
    struct hc_cancellation *cancellation; /* Optional: the caller's */
    uint64_t caller_key;                  /* 0, or the caller for the budget */
    uint64_t min_split_size;              /* a blob of no more bytes is small */
    struct hc_transfer_counts *counts;
    atomic_uint_least64_t *received; /* Optional: the bytes of all downloads */

    /* Filled while it runs. */
    struct hc_budget_share share;
    unsigned connections; /* of the share */
    uint64_t
        span_divisor; /* a span is about this part of what is missing; 1: all of it */
    struct hc_cancellation *workers_cancellation; /* ends the reads */
    struct hc_ramp ramp;
    struct hc_segment_worker workers[HC_SEGMENT_WORKERS_MAX];
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned running;        /* workers */
        unsigned wanted;         /* of them, that may stay */
        enum hc_reason loss;     /* why the last worker left that failed, or HC_OK */
        struct hc_error failure; /* reason HC_OK: none so far */
        unsigned receiving;      /* connections that have brought bytes of their read */
        unsigned peak;           /* the most that did at a time */
        unsigned retries;        /* reads that were repeated */
        uint64_t received;       /* bytes, also those that came to nothing */
        double usual_rate;       /* bytes a millisecond of one connection, lately */
    } shared;
};

/* All but the caller's part becomes zero. */
void hc_segmented_download_init(struct hc_segmented_download *download);
void hc_segmented_download_clear(struct hc_segmented_download *download);

/* Whether the blob comes over one connection; so does one of unknown size. */
bool hc_segmented_download_is_small(const struct hc_segmented_download *download);

/*
 * 0 when every byte is there. -1 as soon as one failure is final for all workers, or the
 * caller ends; no read is running then, and what has arrived stays. May run again.
 */
int hc_segmented_download_run(struct hc_segmented_download *download,
                              struct hc_error *err);

/* A read, or the whole download, is repeated. */
void hc_segmented_download_count_retry(struct hc_segmented_download *download);

/*
 * Whether this worker may end: for `failure`, when others go on, or, with NULL, between
 * spans, when there are more than are wanted. Then it counts as ended.
 */
bool hc_segmented_download_may_leave(struct hc_segmented_download *download,
                                     const struct hc_error *failure);

/* "file 'x' of model 'y' at 'z'", for messages. */
void hc_segmented_download_describe(const struct hc_segmented_download *download,
                                    char text[HC_TARGET_TEXT_SIZE]);

#endif
