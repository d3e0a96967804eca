/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ingest: a blob being written, as blobs/<etag>.<8 hex>.incomplete.
 *
 *   begun      the claim is made; the file is new and empty, or has what an earlier
 *              ingest left, of this process or of one that is gone
 *              → filled, or → writing
 *   filled     a duplicate was put in place                    → commit
 *   writing    bytes come in any order, each once, and are hashed in order behind
 *              → commit
 *   commit     size and hash are checked, the file is flushed and renamed → published
 *   restarted  wrong bytes are thrown away, with their file    → writing
 *   dropped    not published: the bytes stay on the volume for the next ingest of the
 *              blob, unless they are few, cannot be checked, or are known to be wrong
 *
 * One thread owns an ingest; other threads may write the pieces they have taken
 * (claim/pieces.h), and ask how far it is.
 */
#ifndef HC_STORE_INGEST_H
#define HC_STORE_INGEST_H

#include <cache/cache.h>
#include <claim/claim.h>

struct hc_ingest;

/*
 * Begin, check the space, write, commit if all went well, and in every case drop. Begin
 * also makes the blob's claim in .hubcache/transfers (claim.h): 1; 0 when another one is
 * alive.
 */
int hc_ingest_begin(const struct hc_cache *cache, const struct hc_blob_request *request,
                    const struct hc_claim_options *options, struct hc_ingest **ingest,
                    struct hc_error *err);

/*
 * Puts another repo's blob of the same hash in place of the new, empty file
 * (duplicate.h): 1 and all bytes are there; 0 when there is none, or it is too small to
 * be worth it.
 */
int hc_ingest_use_duplicate(struct hc_ingest *ingest,
                            const struct hc_blob_request *request, struct hc_error *err);

/*
 * -1 with NO_SPACE, naming both figures, when the volume has not enough free space for
 * what is missing of this blob and of those that were begun before it; or as the
 * cancellation says, which may be NULL. To be called before the first byte is written.
 */
int hc_ingest_check_space(const struct hc_ingest *ingest,
                          struct hc_cancellation *cancellation, struct hc_error *err);

/*
 * Bytes from `at` on; those that are there already are left as they are. BAD_HUB_REPLY
 * when they go beyond what was promised. No two threads write the same bytes.
 */
int hc_ingest_write(struct hc_ingest *ingest, uint64_t at, const void *bytes,
                    size_t count, struct hc_error *err);

/*
 * The size of a blob that began with HC_SIZE_UNKNOWN: before bytes beyond it come, and
 * before the commit at the latest. BAD_HUB_REPLY when it is another one than was told
 * before, or more has arrived; else as hc_ingest_check_space(). Owner only.
 */
int hc_ingest_set_size(struct hc_ingest *ingest, uint64_t size,
                       struct hc_cancellation *cancellation, struct hc_error *err);

/* Whether its size was known when it began. */
bool hc_ingest_is_size_given(const struct hc_ingest *ingest);

/* What has arrived. Borrowed; callable from any thread. */
struct hc_pieces *hc_ingest_pieces(struct hc_ingest *ingest);

/* Bytes that were there when it began, until it is restarted: from an earlier ingest,
 * from another repo, and both. Callable from any thread. */
uint64_t hc_ingest_resumed_bytes(const struct hc_ingest *ingest);
uint64_t hc_ingest_duplicate_bytes(const struct hc_ingest *ingest);
uint64_t hc_ingest_reused_bytes(const struct hc_ingest *ingest);

/*
 * Hashes bytes that have arrived in order, at most a few hundred kilobytes: 1, or 0 when
 * there are none yet. Optional: commit hashes what is left. Owner only.
 */
int hc_ingest_hash_next(struct hc_ingest *ingest, struct hc_error *err);

/*
 * Bytes that have arrived in order since it began, and are not hashed; none while it
 * still hashes what was there before. Callable from any thread.
 */
uint64_t hc_ingest_unhashed(struct hc_ingest *ingest);

/* Forgets what was written and starts from byte 0. Owner only. */
int hc_ingest_restart(struct hc_ingest *ingest, struct hc_error *err);

/*
 * Checks length (BAD_HUB_REPLY) and hash (CHECKSUM_MISMATCH), flushes, renames over
 * blobs/<etag>, flushes the directory. Losing a race is success: same name, same bytes.
 * The blob's record (cache/fetched.h) is written for `request`, unless that is NULL.
 */
int hc_ingest_commit(struct hc_ingest *ingest, const struct hc_blob_request *request,
                     struct hc_error *err);

/* Whether a commit failed because another process took this one for dead, and has taken
 * the file over. */
bool hc_ingest_was_taken_over(const struct hc_ingest *ingest);

/*
 * Without a commit before: what has arrived is left for the next ingest of this blob,
 * unless it is too little, or wrong, or the volume refused. NULL is fine.
 */
void hc_ingest_drop(struct hc_ingest *ingest);
HC_DEFINE_AUTO(hc_ingest, hc_ingest_drop)

#endif
