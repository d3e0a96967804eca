/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Revisions in a cache, made as the Hub's clients make them, for tests of removals. Blobs
 * have short names: any text that may be an etag.
 */
#ifndef HC_UNIT_REMOVAL_FIXTURE_H
#define HC_UNIT_REMOVAL_FIXTURE_H

#include "cache_fixture.h"

#include <maintenance/removal.h>

#define FOLDER "models--org--name/"
#define BLOB_A "aaaa000000000000000000000000000000000000"
#define BLOB_B "bbbb000000000000000000000000000000000000"
#define BLOB_C "cccc000000000000000000000000000000000000"
#define THIRD_COMMIT "3333333333333333333333333333333333333333"

/* A pointer of a depth that `path` has, to a blob that need not be there. */
void put_pointer(const struct fixture *f, const struct hc_repo *repo, const char *commit,
                 const char *path, const char *etag);

/* The same, and the blob of 5000 bytes, unless it is there. */
void put_file(const struct fixture *f, const struct hc_repo *repo, const char *commit,
              const char *path, const char *etag);

void put_ref(const struct fixture *f, const struct hc_repo *repo, const char *ref,
             const char *commit);

/* Removes the revisions, all with none; the caller clears. */
struct hc_removal_result remove_revisions(const struct fixture *f,
                                          const struct hc_repo *repo,
                                          const char *const *commits, size_t count,
                                          const struct hc_removal_options *options);

/* Removes one revision, of which nothing may be kept. Returns what was freed. */
uint64_t remove_revision(const struct fixture *f, const char *commit);

/* Whether each pointer of the cache leads to a file, and each ref to a snapshot. */
void assert_cache_is_sound(const struct fixture *f);

/* Nothing is left in the trash. */
void assert_no_trash(const struct fixture *f);

#endif
