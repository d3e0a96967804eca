/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cache has that nothing refers to, by the rules of spec §6: blobs without a
 * pointer, pointers without a blob, refs without a snapshot, temporary files of clients
 * that are gone, and payloads of the shared blob store that no repo refers to. This only
 * finds them; a caller that removes one looks again under the blob's lock, since clients
 * continue to write.
 *
 * What is young, locked or claimed is no leftover: a blob is there before its pointer. So
 * a pointer that dangles may be one at any age; but a network filesystem may not show the
 * blob of another host for a minute.
 * Callable from any thread.
 */
#ifndef HC_MAINTENANCE_LEFTOVERS_H
#define HC_MAINTENANCE_LEFTOVERS_H

#include <cache/cache.h>

#include <base/cancellation.h>
#include <hubcache/finding.h>

#include <stdint.h>

enum { HC_LEFTOVER_AGE_MS = 60 * 60 * 1000 };

struct hc_leftover {
    enum hc_finding_kind kind;
    const struct hc_repo *repo; /* NULL for a payload */
    const char *cache_path;     /* of the file */
    const char *name;   /* an etag, a temporary's file name, a ref's revision, a */
                        /* pointer's path within the repo, a payload's hash */
    const char *commit; /* of a dangling pointer or ref; else "" */
    const char *etag;   /* that a dangling pointer or a temporary is of; "": none */
    uint64_t size_bytes;
    uint64_t room_bytes; /* that its removal frees: none if it has other names */
    int64_t changed_ms;  /* since the epoch: when it was last changed */
};

/* -1 ends the search, with `err`. Strings are borrowed for the call. */
typedef int (*hc_leftover_fn)(void *ctx, const struct hc_leftover *leftover,
                              struct hc_error *err);

struct hc_leftovers {
    /* Required. */
    const struct hc_cache *cache;
    int64_t now_ms;         /* hc_volume_now_ms() */
    int64_t age_ms;         /* what is younger is none: HC_LEFTOVER_AGE_MS */
    int64_t pointer_age_ms; /* Optional: the same of a pointer */
    hc_leftover_fn found;

    void *ctx;
    struct hc_cancellation *cancellation; /* Optional. */
};

/* Of one repo: blobs, pointers, refs and temporaries. */
int hc_leftovers_find(const struct hc_leftovers *search, const struct hc_repo *repo,
                      struct hc_error *err);

/* Payloads of the shared blob store (§1.9) with a readable manifest of which no line
 * leads to them. A store without its marker is none. */
int hc_leftovers_find_payloads(const struct hc_leftovers *search, struct hc_error *err);

#endif
