/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a claim says, as text of lines "<key>=<value>": see claim.h. Anybody may have
 * written what is read here.
 */
#ifndef HC_CLAIM_CLAIM_RECORD_H
#define HC_CLAIM_CLAIM_RECORD_H

#include "pieces_text.h"
#include "process.h"

#include <repo/blob_request.h>

#include <limits.h>

enum {
    HC_CLAIM_RECORD_TEXT_SIZE = 4096,
    HC_HEARTBEAT_TIMEOUT_MS = 120000,      /* a heartbeat further from now has stopped */
    HC_PARTIAL_KEEP_MS = 24 * 3600 * 1000, /* how long bytes wait for somebody to go on */
    HC_PARTIAL_KEEP_BYTES = 1024 * 1024    /* fewer are not worth keeping */
};

struct hc_claim_record {
    struct hc_process owner; /* pid 0: nobody's any more */
    char partial[NAME_MAX + 1];
    char previous[NAME_MAX +
                  1]; /* what `incomplete` was called before it was ours, or "" */
    uint64_t size;    /* 0 when not said */
    uint64_t bytes;   /* that have arrived */
    char ranges[HC_PIECES_TEXT_SIZE];
    int64_t began_us; /* when it began, microseconds since the epoch */
    int64_t
        heartbeat_ms; /* the earlier of the file's mtime and ctime, since the epoch: */
                      /* any user may set the former, also to the future */
    int text_length;  /* length of the text, as it was written last */
};

/* 1; 0 when there is none, or it makes no sense; -1 when it cannot be read. */
int hc_claim_record_read(int root, const char *path, struct hc_claim_record *record);

/* The same for the claim of a blob. */
int hc_claim_record_find(int root, const struct hc_blob_id *blob,
                         struct hc_claim_record *record);

/* In place of what the file had. -1 when it cannot be. `beat_ms` is not part of it. */
int hc_claim_record_write(struct hc_claim_record *record, int fd);

/* Ours, from now on, of `size` bytes; of HC_SIZE_UNKNOWN the record says nothing. */
struct hc_claim_record hc_claim_record_new(uint64_t size);
void hc_claim_record_set_size(struct hc_claim_record *record, uint64_t size);

/*
 * Milliseconds since the epoch by the clock that dates the volume's files, which other
 * hosts' heartbeats are held against: `fd` was written to just now. This host's clock
 * without one (-1).
 */
int64_t hc_volume_written_ms(int fd);

/* It is of no blob, but of room for several (reservation.h). */
bool hc_claim_record_is_reservation(const struct hc_claim_record *record);

/*
 * Same host: no process of that pid and start; other host: no heartbeat for long, or one
 * as far in the future, of a clock that was set back. `now_ms` is by the clock that dates
 * the volume's files, where that can be.
 */
bool hc_claim_record_is_abandoned(const struct hc_claim_record *record, int64_t now_ms);

/* The same, as far as no clock is needed to tell. */
bool hc_claim_record_owner_is_gone(const struct hc_claim_record *record);

/* Whether what has arrived is enough, and recent enough, to go on with. */
bool hc_claim_record_is_worth_keeping(const struct hc_claim_record *record,
                                      int64_t now_ms);

#endif
