/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flight is in the list while it may still be joined; who is aboard is a count. The
 * list's lock guards every member of every flight and is never held across I/O: cargo is
 * taken off under it and dropped outside. The leader may use the cargo without it, as
 * nobody else changes it meanwhile; others only ever look at an ingest's offset, under
 * the lock.
 */
#include "shared_transfer.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* A caller's cancellation does not reach a flight's condition: waiters look this often.
 */
enum { POLL_MS = 100 };

struct hc_shared_transfer {
    LIST_ENTRY(hc_shared_transfer) link;
    char folder[HC_REPO_FOLDER_MAX + 1];
    char etag[HC_ETAG_MAX + 1];
    bool is_forced;
    unsigned waiters;
    bool has_leader;
    bool is_finished;
    struct hc_error outcome;        /* reason HC_OK: well */
    struct hc_keyed_hash *admitted; /* credentials, */
    size_t admitted_count;
    struct hc_keyed_hash
        refused;             /* and, with `refusal`, those of a leader that was refused */
    struct hc_error refusal; /* reason HC_OK: none was */
    struct hc_partial_file partial;
    uint64_t remote_bytes;
    bool is_remote; /* another process has them */
    atomic_uint retries;
    uint64_t given; /* what was there when we loaded the ingest, or sighted who has it */
    pthread_cond_t changed;
};

struct hc_shared_transfers {
    struct {
        pthread_mutex_t lock;
        LIST_HEAD(, hc_shared_transfer) list;
    } shared;
};

static void lock(struct hc_shared_transfers *transfers)
{
    (void)pthread_mutex_lock(&transfers->shared.lock);
}

static void unlock(struct hc_shared_transfers *transfers)
{
    (void)pthread_mutex_unlock(&transfers->shared.lock);
}

static bool shared_transfer_is_of(const struct hc_shared_transfer *transfer,
                                  const struct hc_blob_id *blob)
{
    return strcmp(transfer->etag, blob->etag) == 0 &&
           strcmp(transfer->folder, blob->folder) == 0;
}

static struct hc_shared_transfer *
shared_transfers_find(struct hc_shared_transfers *transfers,
                      const struct hc_shared_transfer_key *name)
{
    struct hc_shared_transfer *transfer;

    LIST_FOREACH(transfer, &transfers->shared.list, link)
    {
        if (shared_transfer_is_of(transfer, &name->blob) &&
            transfer->is_forced == name->is_forced)
            return transfer;
    }
    return NULL;
}

static bool shared_transfer_has_admitted(const struct hc_shared_transfer *transfer,
                                         const struct hc_keyed_hash *key)
{
    for (size_t i = 0; i < transfer->admitted_count; i++) {
        if (hc_keyed_hash_equals(&transfer->admitted[i], key))
            return true;
    }
    return false;
}

static int shared_transfer_add_key(struct hc_shared_transfer *transfer,
                                   const struct hc_keyed_hash *key, struct hc_error *err)
{
    struct hc_keyed_hash *admitted =
        reallocarray(transfer->admitted, transfer->admitted_count + 1,
                     sizeof *transfer->admitted);

    if (!admitted)
        return hc_fail_memory(err);
    transfer->admitted = admitted;
    transfer->admitted[transfer->admitted_count++] = *key;
    return 0;
}

static struct hc_shared_transfer *
shared_transfer_new(const struct hc_shared_transfer_key *name,
                    const struct hc_keyed_hash *key, struct hc_error *err)
{
    struct hc_shared_transfer *transfer = calloc(1, sizeof *transfer);

    if (!transfer) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (shared_transfer_add_key(transfer, key, err) < 0) {
        free(transfer);
        return NULL;
    }
    (void)hc_format(transfer->folder, sizeof transfer->folder, "%s", name->blob.folder);
    (void)hc_format(transfer->etag, sizeof transfer->etag, "%s", name->blob.etag);
    transfer->is_forced = name->is_forced;
    hc_condition_init(&transfer->changed);
    return transfer;
}

/* The lock goes last: whoever gets it next finds no half-written blob of ours. */
static void partial_file_drop(struct hc_partial_file partial)
{
    hc_ingest_drop(partial.ingest);
    hc_blob_lock_release(partial.lock);
}

static void shared_transfer_free(struct hc_shared_transfer *transfer)
{
    partial_file_drop(transfer->partial);
    free(transfer->admitted);
    (void)pthread_cond_destroy(&transfer->changed);
    free(transfer);
}

static void shared_transfer_wait_a_poll(struct hc_shared_transfers *transfers,
                                        struct hc_shared_transfer *transfer,
                                        struct hc_cancellation *call)
{
    int64_t left = hc_cancellation_remaining_ms(call);
    hc_condition_wait(&transfer->changed, &transfers->shared.lock,
                      left < POLL_MS ? left : POLL_MS);
}

/* Whether waiting is over, under the lock; then `*answer` is hc_shared_transfer_wait's. */
static bool shared_transfer_is_decided(struct hc_shared_transfer *transfer,
                                       const struct hc_keyed_hash *key, int *answer,
                                       struct hc_error *err)
{
    const struct hc_error *failure = NULL;

    *answer = HC_SHARED_TRANSFER_DONE;
    if (transfer->is_finished) {
        failure = &transfer->outcome;
    } else if (!shared_transfer_has_admitted(transfer, key)) {
        *answer = HC_SHARED_TRANSFER_PROVE;
        return true;
    } else if (transfer->refusal.reason != HC_OK &&
               hc_keyed_hash_equals(&transfer->refused, key)) {
        failure = &transfer->refusal;
    } else if (transfer->has_leader) {
        return false;
    }

    if (!failure) {
        transfer->has_leader = true;
        *answer = HC_SHARED_TRANSFER_LEAD;
    } else if (failure->reason != HC_OK) {
        *err = *failure;
        *answer = -1;
    }
    return true;
}

struct hc_shared_transfers *hc_shared_transfers_new(struct hc_error *err)
{
    struct hc_shared_transfers *transfers = calloc(1, sizeof *transfers);

    if (!transfers) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&transfers->shared.lock, NULL);
    LIST_INIT(&transfers->shared.list);
    return transfers;
}

void hc_shared_transfers_free(struct hc_shared_transfers *transfers)
{
    if (!transfers)
        return;
    (void)pthread_mutex_destroy(&transfers->shared.lock);
    free(transfers);
}

struct hc_shared_transfer *
hc_shared_transfer_join(struct hc_shared_transfers *transfers,
                        const struct hc_shared_transfer_key *name,
                        const struct hc_hub_credentials *caller, struct hc_error *err)
{
    const struct hc_keyed_hash key = hc_keyed_hash_of(caller->token);
    struct hc_shared_transfer *transfer;

    lock(transfers);
    transfer = shared_transfers_find(transfers, name);
    if (!transfer) {
        transfer = shared_transfer_new(name, &key, err);
        if (transfer)
            LIST_INSERT_HEAD(&transfers->shared.list, transfer, link);
    }
    if (transfer)
        transfer->waiters++;
    unlock(transfers);
    return transfer;
}

int hc_shared_transfer_admit(struct hc_shared_transfers *transfers,
                             struct hc_shared_transfer *transfer,
                             const struct hc_hub_credentials *caller,
                             struct hc_error *err)
{
    const struct hc_keyed_hash key = hc_keyed_hash_of(caller->token);
    int result = 0;

    lock(transfers);
    if (!shared_transfer_has_admitted(transfer, &key))
        result = shared_transfer_add_key(transfer, &key, err);
    unlock(transfers);
    return result;
}

void hc_shared_transfer_leave(struct hc_shared_transfers *transfers,
                              struct hc_shared_transfer *transfer)
{
    bool is_last;

    lock(transfers);
    is_last = --transfer->waiters == 0;
    if (is_last && !transfer->is_finished)
        LIST_REMOVE(transfer, link);
    unlock(transfers);
    if (is_last)
        shared_transfer_free(transfer);
}

int hc_shared_transfer_wait(struct hc_shared_transfers *transfers,
                            struct hc_shared_transfer *transfer,
                            const struct hc_hub_credentials *caller, struct hc_error *err)
{
    const struct hc_keyed_hash key = hc_keyed_hash_of(caller->token);
    int answer;

    lock(transfers);
    while (!shared_transfer_is_decided(transfer, &key, &answer, err)) {
        if (hc_cancellation_check(caller->cancellation, err) < 0) {
            answer = -1;
            break;
        }
        shared_transfer_wait_a_poll(transfers, transfer, caller->cancellation);
    }
    unlock(transfers);
    return answer;
}

struct hc_partial_file hc_shared_transfer_partial(struct hc_shared_transfers *transfers,
                                                  struct hc_shared_transfer *transfer)
{
    struct hc_partial_file partial;

    lock(transfers);
    partial = transfer->partial;
    unlock(transfers);
    return partial;
}

void hc_shared_transfer_set_partial(struct hc_shared_transfers *transfers,
                                    struct hc_shared_transfer *transfer,
                                    struct hc_partial_file partial)
{
    lock(transfers);
    transfer->partial = partial;
    transfer->given = partial.ingest ? hc_ingest_resumed_bytes(partial.ingest) +
                                           hc_ingest_duplicate_bytes(partial.ingest)
                                     : 0;
    unlock(transfers);
}

atomic_uint *hc_shared_transfer_retries(struct hc_shared_transfer *transfer)
{
    return &transfer->retries;
}

void hc_shared_transfer_finish(struct hc_shared_transfers *transfers,
                               struct hc_shared_transfer *transfer,
                               const struct hc_error *failure)
{
    struct hc_partial_file partial = hc_shared_transfer_partial(transfers, transfer);

    hc_shared_transfer_set_partial(transfers, transfer, (struct hc_partial_file){0});
    partial_file_drop(partial);
    lock(transfers);
    transfer->is_finished = true;
    if (failure)
        transfer->outcome = *failure;
    LIST_REMOVE(transfer, link); /* who comes now looks on the disk first */
    (void)pthread_cond_broadcast(&transfer->changed);
    unlock(transfers);
}

void hc_shared_transfer_hand_over(struct hc_shared_transfers *transfers,
                                  struct hc_shared_transfer *transfer,
                                  const struct hc_hub_credentials *refused,
                                  const struct hc_error *refusal)
{
    lock(transfers);
    transfer->refusal = refused ? *refusal : (struct hc_error){0};
    if (refused)
        transfer->refused = hc_keyed_hash_of(refused->token);
    transfer->has_leader = false;
    (void)pthread_cond_broadcast(&transfer->changed);
    unlock(transfers);
}

void hc_shared_transfer_set_remote(struct hc_shared_transfers *transfers,
                                   struct hc_shared_transfer *transfer, uint64_t bytes,
                                   bool is_remote)
{
    lock(transfers);
    if (!transfer->is_remote)
        transfer->given = bytes;
    transfer->remote_bytes = bytes;
    transfer->is_remote = is_remote;
    unlock(transfers);
}

static struct hc_transfer_progress
shared_transfer_progress(const struct hc_shared_transfer *transfer)
{
    struct hc_ingest *ingest = transfer->partial.ingest;
    struct hc_transfer_progress progress = {.bytes = transfer->remote_bytes,
                                            .reused_bytes = transfer->given,
                                            .retries = atomic_load(&transfer->retries),
                                            .is_remote = transfer->is_remote};

    if (ingest) {
        progress.bytes = hc_pieces_arrived(hc_ingest_pieces(ingest));
        progress.is_remote = false;
    }
    return progress;
}

struct hc_transfer_progress
hc_shared_transfers_progress(struct hc_shared_transfers *transfers,
                             const struct hc_blob_id *blob)
{
    const struct hc_shared_transfer *transfer;
    struct hc_transfer_progress progress = {0};

    lock(transfers);
    LIST_FOREACH(transfer, &transfers->shared.list, link)
    {
        if (shared_transfer_is_of(transfer, blob) && progress.bytes == 0)
            progress = shared_transfer_progress(transfer);
    }
    unlock(transfers);
    return progress;
}

unsigned hc_shared_transfers_count(struct hc_shared_transfers *transfers)
{
    const struct hc_shared_transfer *transfer;
    unsigned count = 0;

    lock(transfers);
    LIST_FOREACH(transfer, &transfers->shared.list, link)
    {
        count++;
    }
    unlock(transfers);
    return count;
}

unsigned hc_shared_transfers_waiters(struct hc_shared_transfers *transfers,
                                     const struct hc_blob_id *blob)
{
    const struct hc_shared_transfer *transfer;
    unsigned waiters = 0;

    lock(transfers);
    LIST_FOREACH(transfer, &transfers->shared.list, link)
    {
        if (shared_transfer_is_of(transfer, blob))
            waiters += transfer->waiters;
    }
    unlock(transfers);
    return waiters;
}
