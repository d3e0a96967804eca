/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a claim file says, and the listing of all claim files of a cache. They are text of
 * lines "<key>=<value>" under .hubcache/transfers/<repo folder>/, of three kinds that
 * differ by name:
 *
 *   <etag>            the claim of a blob (claim.h)
 *   <etag>.<8 hex>    a superseded claim of it (takeover.h)
 *   snapshot.<8 hex>  a reservation of space for several blobs (reservation.h)
 *
 * Any process that can write to the volume may have written what is read here, so nothing
 * is taken on trust. Callable from any thread, each with its own record or listing.
 */
#ifndef HC_CLAIM_CLAIM_RECORD_H
#define HC_CLAIM_CLAIM_RECORD_H

#include "pieces.h"

#include <base/directory.h>
#include <cache/cache.h>
#include <repo/blob_request.h>

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HC_CLAIM_HOST_MAX = 127,
    HC_HEARTBEAT_TIMEOUT_MS = 120000,      /* a heartbeat further from now has stopped */
    HC_PARTIAL_KEEP_MS = 24 * 3600 * 1000, /* how long an abandoned partial file stays */
    HC_PARTIAL_KEEP_BYTES = 1024 * 1024    /* one with fewer bytes is not kept */
};

struct hc_claim_record {
    /* The process that made it. The pid alone does not tell it from a later process, or
     * from one of another host, or of another container of the same host name. */
    struct {
        char host[HC_CLAIM_HOST_MAX + 1]; /* "<name>/<boot>/<pid namespace>" */
        uint64_t pid;                     /* 0: the owner has abandoned the claim */
        uint64_t start;                   /* of the process, in clock ticks since boot */
    } owner;
    char partial[NAME_MAX + 1]; /* the name of the partial file, or of a reservation */
    /* During a takeover, the name that the file had under its earlier owner; else "". */
    char previous[NAME_MAX + 1];
    uint64_t size;  /* of the blob, or what is reserved; 0 or HC_SIZE_UNKNOWN: unknown */
    uint64_t bytes; /* that have arrived */
    char ranges[HC_PIECES_TEXT_SIZE]; /* which ones */
    int64_t began_us; /* microseconds since the epoch, by the owner's clock */
    bool is_waiting;  /* a reservation for which there is no room yet */
    /* The earlier of the file's mtime and ctime, since the epoch: any user may set the
     * mtime, also to the future. */
    int64_t heartbeat_ms;
    int text_length; /* of the text that was written last */
};

/* 1; 0 when there is none, or it is malformed; -1 when it cannot be read. */
int hc_claim_record_read(int root, const char *path, struct hc_claim_record *record);

/* The same for the claim of a blob. */
int hc_claim_record_find(int root, const struct hc_blob_id *blob,
                         struct hc_claim_record *record);

/* Overwrites the file. -1 when it cannot. `heartbeat_ms` is not part of the text. */
int hc_claim_record_write(struct hc_claim_record *record, int fd);

/* Of this process, from now on, for `size` bytes. */
struct hc_claim_record hc_claim_record_new(uint64_t size);

bool hc_claim_record_is_reservation(const struct hc_claim_record *record);

/*
 * Whether its owner is gone: on this host, no process has its pid and start time; on
 * another host, its heartbeat is more than HC_HEARTBEAT_TIMEOUT_MS before `now_ms`, or
 * after it, which is that of a clock that was set back. `now_ms` is hc_volume_now_ms().
 */
bool hc_claim_record_is_abandoned(const struct hc_claim_record *record, int64_t now_ms);

/* The same as far as it can be told without a clock. */
bool hc_claim_record_owner_is_gone(const struct hc_claim_record *record);

/* Whether its partial file has enough bytes, and is no older than `keep_ms`, to be
 * resumed. */
bool hc_claim_record_is_worth_keeping(const struct hc_claim_record *record,
                                      int64_t keep_ms, int64_t now_ms);

/*
 * Milliseconds since the epoch by the clock that dates the volume's files, against which
 * heartbeats of other hosts are held; by this host's clock when the volume takes no file.
 * hc_volume_written_ms() needs a file that was written to just now, or -1.
 */
int64_t hc_volume_now_ms(const struct hc_cache *cache);
int64_t hc_volume_written_ms(int fd);

/*
 * All claim files of a cache that can be read, in no order; files may come and go
 * meanwhile.
 *
 *     HC_AUTO_VALUE(hc_claim_listing) listing = hc_claim_listing_open(cache);
 *
 *     while (hc_claim_listing_next(&listing))
 *         use(&listing.record);
 */
struct hc_claim_listing {
    int root;                      /* borrowed from the cache */
    struct hc_directory_walk walk; /* of the listing itself; the others are set by next */
    struct hc_blob_id blob;    /* `etag` is the file's whole name, whatever its kind */
    char folder[NAME_MAX + 1]; /* blob.folder */
    char path[PATH_MAX];
    struct hc_claim_record record;
};

struct hc_claim_listing hc_claim_listing_open(const struct hc_cache *cache);

bool hc_claim_listing_next(struct hc_claim_listing *listing);

void hc_claim_listing_close(struct hc_claim_listing *listing);
HC_DEFINE_AUTO_VALUE(hc_claim_listing, hc_claim_listing_close)

#endif
