/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfer engine: fetches blobs to the cache, each once. A caller that wants a blob
 * which is already being fetched waits for it: threads of this process share one transfer
 * (shared_transfer.h), other processes and other clients wait for the blob's lock
 * (download_lock.h). A transfer survives dropped connections: it resumes where it was. It
 * also survives the caller that began it: another waiter leads it on. When the last
 * waiter leaves, it ends, and what has arrived is resumed by the next fetch of the blob,
 * in this process or another.
 *
 * A fetch blocks. A large blob comes over several connections at once, each a thread
 * while it lasts; a small one on the calling thread. Callable from any thread.
 */
#ifndef HC_TRANSFER_TRANSFER_H
#define HC_TRANSFER_TRANSFER_H

#include <cache/cache.h>
#include <hub/hub.h>
#include <hubcache/resolver.h>
#include <repo/blob_request.h>

#include <stdatomic.h>

struct hc_transfers;

/* What a fetch came to, for the caller of hc_transfers_fetch; filled on failure, too. */
struct hc_blob_result {
    uint64_t fetched_bytes; /* of the blob, that the Hub sent for the sake of this call */
    bool is_fetched; /* the Hub was asked for the bytes; an empty file, which has none, is
                         fetched too */
    unsigned retries; /* requests that had to be repeated */
};

/* How far a blob is that is being fetched. */
struct hc_transfer_progress {
    uint64_t bytes;        /* that are on the volume */
    uint64_t reused_bytes; /* those of them that were there when the transfer began */
    unsigned retries;      /* requests that had to be repeated so far */
    bool is_remote;        /* another process fetches it */
};

/* What a transfer counts while it runs; any thread may look. */
struct hc_transfer_counts {
    atomic_uint retries;     /* requests that had to be repeated */
    atomic_uint connections; /* that are bringing bytes */
    atomic_uint hurried;     /* callers that are not in the background */
};

/*
 * `cache` and `hub` are borrowed until close. Of `settings`, which are copied, the engine
 * uses connections and download_memory, which bound all fetches together, min_split_size
 * and takeover_ms.
 */
struct hc_transfers *hc_transfers_open(const struct hc_cache *cache, struct hc_hub *hub,
                                       const struct hc_settings *settings,
                                       struct hc_error *err);

/* Calls `fn` after every transfer that this process led. To be set before the first
 * fetch. */
void hc_transfers_observe(struct hc_transfers *transfers, hc_transfer_fn fn, void *ctx);

/* The transfers under way, and the connections in use. */
void hc_transfers_count(struct hc_transfers *transfers, unsigned *count,
                        unsigned *connections);

/* Calls `fn` for each transfer under way, with their lock held. */
void hc_transfers_list(struct hc_transfers *transfers, hc_running_transfer_fn fn,
                       void *ctx);

/* Bytes that have come so far, useful or not. */
uint64_t hc_transfers_received(const struct hc_transfers *transfers);

/* No fetch may be running. */
void hc_transfers_close(struct hc_transfers *transfers);
HC_DEFINE_AUTO(hc_transfers, hc_transfers_close)

/*
 * When it returns 0, blobs/<etag> is there, whole and verified. `result->fetched_bytes`
 * is 0 when another process, or another caller of this one, has fetched it. A hash that
 * does not match is fetched again once, cleanly, and then CHECKSUM_MISMATCH. A blob that
 * is there with another size than requested is replaced.
 */
int hc_transfers_fetch(struct hc_transfers *transfers,
                       const struct hc_blob_request *request,
                       const struct hc_hub_credentials *credentials,
                       struct hc_blob_result *result, struct hc_error *err);

/* How far a blob is that this process fetches or waits for; zero when it does neither. */
struct hc_transfer_progress hc_transfers_progress(struct hc_transfers *transfers,
                                                  const struct hc_blob_id *blob);

#endif
