/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test hub with one model, an empty cache beside it, and a transfer engine between
 * them.
 */
#ifndef HC_UNIT_TRANSFER_FIXTURE_H
#define HC_UNIT_TRANSFER_FIXTURE_H

#include "test.h"

#include "test_hub.h"

#include <hub/hub.h>
#include <transfer/transfer.h>

enum {
    SMALL_SIZE = 20000,            /* of small.bin, an LFS file */
    LARGE_SIZE = 72 * 1024 * 1024, /* of large.bin */
    CONNECTIONS = 8
};

struct fixture {
    struct test_hub *server;
    char *dir; /* the cache root */
    struct hc_cache *cache;
    struct hc_hub *hub;
    struct hc_transfers *transfers;
    struct hc_repo repo;
    char commit[41];
    struct hc_error err;
};

int transfer_set_up(void **state);
int transfer_tear_down(void **state);

/* What a HEAD says about a file; afterwards the log is empty. */
struct hc_metadata metadata_of(struct fixture *f, const char *path);

/* A request for that file, which borrows `metadata`. */
struct hc_blob_request blob_request_of(struct fixture *f, const char *path,
                                       const struct hc_metadata *metadata);

/* Both, and the fetch, for a caller without a token: hc_transfers_fetch's result. */
int fetch_file(struct fixture *f, const char *path, struct hc_cancellation *call,
               uint64_t *fetched);

void inject_rule(struct fixture *f, struct test_hub_rule rule);

void expect_log(struct fixture *f, const char *text, bool is_there);

/* Fails unless the whole blob is there, and nothing else: no private file, no claim. */
void expect_only_blob(struct fixture *f, const char *path);

/* Fails unless nothing was left of a transfer. */
void expect_no_blob(struct fixture *f);

/* Waits until so many callers take part in transfers, or so many bytes are there. */
void await_callers(struct fixture *f, unsigned count);
void await_arrived(struct fixture *f, const char *etag, uint64_t count);

#endif
