/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which blob, and "fetch this blob": the two values that travel through the library. The
 * resolver makes a request once, out of what the Hub or a listing says of a file, and
 * passes it down unchanged to transfer/, store/ and hub/. What looks at the volume takes
 * the blob, what asks the Hub takes the file. Both are copyable; their strings are
 * borrowed for as long as the values are used.
 */
#ifndef HC_REPO_BLOB_REQUEST_H
#define HC_REPO_BLOB_REQUEST_H

#include "repo.h"

#include <stdbool.h>
#include <stdint.h>

/* A blob of the volume: <folder>/blobs/<etag>. Locks, claims and partial files of the
 * blob are found by the same two names. */
struct hc_blob_id {
    const char *folder; /* of the repo: hc_repo.folder */
    const char *etag;
};

struct hc_identity;

struct hc_blob_request {
    struct hc_blob_id blob;
    struct hc_repo_file file; /* where the Hub has it; its revision is a commit */
    uint64_t size;            /* or HC_SIZE_UNKNOWN */
    const char *location;     /* Optional: where a HEAD said just now that the bytes are,
                                 which proves access, too; signed, never to be logged */
    bool is_forced;           /* fetch it although it is on the volume */

    /* For whom: recorded with the blob (cache/fetched.h). */
    const struct hc_identity *identity; /* Optional: NULL: for an anonymous caller */
    const char *rule;                   /* Optional: of the policy, that allows it */
};

#endif
