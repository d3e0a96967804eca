/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfer engine brings blobs to the cache, each once: callers that want a blob
 * which is already on its way wait for it, threads of this process by a flight, other
 * processes and other clients by the blob's lock. A transfer survives dropped connections
 * (it resumes where it was), and the going of the caller who began it: another waiter
 * takes it over at the byte it had reached; when the last one goes, it ends, and what it
 * had brought is there for the next who wants the blob, in this process or another.
 *
 * fetch() blocks. A large blob comes over several connections at once, each a thread
 * while it lasts; a small one on the calling thread. Callable from any thread.
 */
#ifndef HC_TRANSFER_TRANSFER_H
#define HC_TRANSFER_TRANSFER_H

#include <cache/cache.h>
#include <hub/hub.h>
#include <hubcache/resolver.h>

#include <stdatomic.h>

struct hc_transfers;

/* A blob somebody wants, and where the Hub has it. Strings are borrowed for the call. */
struct hc_blob_request {
    const struct hc_repo *repo;
    const char *commit;
    const char *path;
    const char *etag;
    uint64_t size;        /* or HC_SIZE_UNKNOWN */
    const char *location; /* Optional: see struct hc_hub_download */
    bool force;           /* fetch it although it is there */
    atomic_uint *retries; /* Optional: grows by the requests that had to be repeated */
    bool *is_fetched; /* Optional: set when the Hub was asked for the bytes for the sake
                             of this call; an empty file has none, and is fetched too */
};

/* How far a blob is that somebody fetches. */
struct hc_blob_progress {
    uint64_t bytes;    /* that are on the volume */
    bool is_elsewhere; /* another process fetches it */
};

/* How it comes. */
struct hc_transfer_progress {
    struct hc_blob_progress arrival;
    uint64_t given;   /* of its bytes, those that had not to come any more */
    unsigned retries; /* requests that had to be repeated so far */
};

/*
 * `cache` and `hub` are borrowed until close. Of `settings`, which are copied, it heeds
 * connections and download_memory, which all fetches together keep to, min_split_size
 * and takeover_ms.
 */
struct hc_transfers *hc_transfers_open(const struct hc_cache *cache, struct hc_hub *hub,
                                       const struct hc_settings *settings,
                                       struct hc_error *err);

/* Who is told of every transfer that this process led. Before the first fetch. */
void hc_transfers_observe(struct hc_transfers *transfers, hc_transfer_fn fn, void *ctx);

/* Blobs on their way, and connections in use. */
void hc_transfers_count(struct hc_transfers *transfers, unsigned *count,
                        unsigned *connections);

/* No fetch may be running. */
void hc_transfers_close(struct hc_transfers *transfers);
HC_DEFINE_AUTO(hc_transfers, hc_transfers_close)

/*
 * When it returns 0, blobs/<etag> is there, whole and verified, and `*fetched_bytes` says
 * how many of its bytes came from the Hub for the sake of this process (0: somebody else
 * had brought it). A hash that does not match is fetched again once, cleanly, and then
 * CHECKSUM_MISMATCH. A blob that is there with another size than wanted is replaced.
 */
int hc_transfers_fetch(struct hc_transfers *transfers,
                       const struct hc_blob_request *request,
                       const struct hc_hub_credentials *caller, uint64_t *fetched_bytes,
                       struct hc_error *err);

/* How far a blob is that this process fetches or waits for; zero when it does neither. */
struct hc_transfer_progress hc_transfers_progress(struct hc_transfers *transfers,
                                                  const struct hc_repo *repo,
                                                  const char *etag);

/* How many callers of this process are fetching or waiting for a blob right now. */
unsigned hc_transfers_waiting(struct hc_transfers *transfers, const struct hc_repo *repo,
                              const char *etag);

#endif
