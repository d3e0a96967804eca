/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two batches of pieces take turns: the hasher's thread hashes one, the caller's thread
 * fills the other one. With a single one the hasher would sleep after each message. A
 * batch that was begun belongs to the hasher's thread until it is hashed, and so does the
 * digest; `shared.begun` counts those batches.
 */
#include "hasher.h"

#include "base/error.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

enum { BATCHES = 2, PIECES_FIRST = 64 };

struct batch {
    struct hashed_piece {
        const void *bytes;
        size_t count;
    } *pieces;
    size_t count, room;
};

struct hc_hasher {
    struct hc_digest *digest;
    struct batch batches[BATCHES];
    unsigned filling; /* the number of a batch: the caller's thread fills it */
    unsigned hashing; /* the hasher's thread hashes it */
    bool is_started;  /* there is a thread */
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        unsigned begun;
        bool has_failed, is_over;
        struct hc_error failure;
    } shared;
};

static int batch_hash(struct batch *batch, struct hc_digest *digest, struct hc_error *err)
{
    int result = 0;

    for (size_t i = 0; i < batch->count && result == 0; i++)
        result =
            hc_digest_update(digest, batch->pieces[i].bytes, batch->pieces[i].count, err);
    batch->count = 0;
    return result;
}

/* Hashes the next batch, and counts it off. */
static void hasher_hash(struct hc_hasher *hasher)
{
    struct batch *batch = &hasher->batches[hasher->hashing];
    struct hc_error err;
    int result = batch_hash(batch, hasher->digest, &err);
    HC_LOCKED(&hasher->shared.lock);

    if (result < 0 && !hasher->shared.has_failed) {
        hasher->shared.has_failed = true;
        hasher->shared.failure = err;
    }
    hasher->hashing = (hasher->hashing + 1) % BATCHES;
    hasher->shared.begun--;
    (void)pthread_cond_broadcast(&hasher->shared.changed);
}

/* ---- the thread ---------------------------------------------------------------------
 */

/* False: it is over. */
static bool hasher_await_batch(struct hc_hasher *hasher)
{
    HC_LOCKED(&hasher->shared.lock);

    while (hasher->shared.begun == 0 && !hasher->shared.is_over)
        (void)pthread_cond_wait(&hasher->shared.changed, &hasher->shared.lock);
    return hasher->shared.begun > 0;
}

static void *hasher_run(void *argument)
{
    struct hc_hasher *hasher = argument;

    while (hasher_await_batch(hasher))
        hasher_hash(hasher);
    return NULL;
}

static void hasher_end(struct hc_hasher *hasher)
{
    {
        HC_LOCKED(&hasher->shared.lock);

        hasher->shared.is_over = true;
        (void)pthread_cond_signal(&hasher->shared.changed);
    }
    (void)pthread_join(hasher->thread, NULL);
}

/* Signals are for the threads of the program that uses the library. */
void hc_hasher_start(struct hc_hasher *hasher)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    hasher->is_started = pthread_create(&hasher->thread, NULL, hasher_run, hasher) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* ---- the caller's thread ------------------------------------------------------------
 */

struct hc_hasher *hc_hasher_new(enum hc_digest_kind kind, uint64_t size,
                                struct hc_error *err)
{
    HC_AUTO(hc_digest) *digest = hc_digest_new(kind, size, err);
    struct hc_hasher *hasher;

    if (!digest)
        return NULL;
    hasher = calloc(1, sizeof *hasher);
    if (!hasher) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    hasher->digest = hc_take(&digest);
    (void)pthread_mutex_init(&hasher->shared.lock, NULL);
    (void)pthread_cond_init(&hasher->shared.changed, NULL);
    return hasher;
}

void hc_hasher_free(struct hc_hasher *hasher)
{
    if (!hasher)
        return;
    if (hasher->is_started)
        hasher_end(hasher);
    hc_digest_free(hasher->digest);
    for (size_t i = 0; i < BATCHES; i++)
        free(hasher->batches[i].pieces);
    (void)pthread_cond_destroy(&hasher->shared.changed);
    (void)pthread_mutex_destroy(&hasher->shared.lock);
    free(hasher);
}

/* Waits until at most so many batches are begun. 0, or the failure of an earlier one. */
static int hasher_await(struct hc_hasher *hasher, unsigned begun, struct hc_error *err)
{
    HC_LOCKED(&hasher->shared.lock);

    while (hasher->shared.begun > begun)
        (void)pthread_cond_wait(&hasher->shared.changed, &hasher->shared.lock);
    if (!hasher->shared.has_failed)
        return 0;
    *err = hasher->shared.failure;
    return -1;
}

static int batch_grow(struct batch *batch, struct hc_error *err)
{
    size_t room = batch->room > 0 ? 2 * batch->room : PIECES_FIRST;
    struct hashed_piece *grown = reallocarray(batch->pieces, room, sizeof *grown);

    if (!grown)
        return hc_fail_memory(err);
    batch->pieces = grown;
    batch->room = room;
    return 0;
}

int hc_hasher_next(struct hc_hasher *hasher, struct hc_error *err)
{
    return hasher_await(hasher, BATCHES - 1, err);
}

int hc_hasher_add(struct hc_hasher *hasher, const void *bytes, size_t count,
                  struct hc_error *err)
{
    struct batch *batch = &hasher->batches[hasher->filling];

    if (batch->count == batch->room && batch_grow(batch, err) < 0)
        return -1;
    batch->pieces[batch->count++] = (struct hashed_piece){bytes, count};
    return 0;
}

void hc_hasher_begin(struct hc_hasher *hasher)
{
    {
        HC_LOCKED(&hasher->shared.lock);

        hasher->filling = (hasher->filling + 1) % BATCHES;
        hasher->shared.begun++;
        (void)pthread_cond_broadcast(&hasher->shared.changed);
    }
    if (!hasher->is_started)
        hasher_hash(hasher);
}

void hc_hasher_settle(struct hc_hasher *hasher)
{
    struct hc_error failure; /* the next function tells it */

    (void)hasher_await(hasher, 0, &failure);
}

int hc_hasher_finish(struct hc_hasher *hasher, char hex[HC_DIGEST_HEX_MAX + 1],
                     struct hc_error *err)
{
    if (hasher_await(hasher, 0, err) < 0)
        return -1;
    return hc_digest_finish(hasher->digest, hex, err);
}
