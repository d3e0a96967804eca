/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A blob of SIZE bytes, in pieces, and an empty cache (cache_fixture.h) to write it into.
 */
#ifndef HC_UNIT_INGEST_FIXTURE_H
#define HC_UNIT_INGEST_FIXTURE_H

#include "cache_fixture.h"

#include <store/ingest.h>

#define FOLDER "models--org--name"
#define BLOBS FOLDER "/blobs"

enum { MIB = 1024 * 1024, SIZE = 40 * MIB, HALF = 20 * MIB, PIECE = 8 * MIB };

extern char *content; /* the blob */
extern char content_etag[HC_DIGEST_HEX_MAX + 1];

/* For cmocka_run_group_tests. */
int content_make(void **state);
int content_free(void **state);

/* NULL when it cannot be. */
struct hc_ingest *content_begin(struct fixture *f);

/* Its bytes in that range: what hc_ingest_write says. */
int content_write(struct fixture *f, struct hc_ingest *ingest, uint64_t from,
                  uint64_t to);

/* The rest of them, so that it is there, and nothing else. Drops it. */
void content_finish(struct fixture *f, struct hc_ingest *ingest, uint64_t from);

#endif
