/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One blob, hashed and compared with its name. Other processes continue to write to the
 * volume meanwhile: a blob that is removed, replaced or written to while it is read says
 * nothing; a read error is no wrong byte; and what does not hash to its name is read once
 * more, from the disk if it was not in the page cache before, so that a flipped bit of
 * memory condemns no blob.
 */
#ifndef HC_MAINTENANCE_BLOB_CHECK_H
#define HC_MAINTENANCE_BLOB_CHECK_H

#include "idle_reader.h"

#include <cache/memo.h>

enum hc_blob_state {
    HC_BLOB_RIGHT,
    HC_BLOB_CORRUPT,      /* its content does not hash to its name, or has another size */
    HC_BLOB_UNVERIFIABLE, /* its name is no hash */
    HC_BLOB_UNREADABLE,   /* it cannot be read, or gives other bytes each time */
    HC_BLOB_CHANGED       /* it is gone, or another file, or is written to */
};

struct hc_blob_check {
    int root;
    const char *path; /* below `root`; a symlink is followed, as readers do */
    const char *etag; /* what the content is to hash to */
    uint64_t size;    /* that a file has whose name is no hash; or HC_SIZE_UNKNOWN */

    /* What the check finds. */
    enum hc_blob_state state;
    struct hc_file_state file;          /* which file it was; its `time` is the mtime */
    char actual[HC_DIGEST_HEX_MAX + 1]; /* what a corrupt blob hashes to, or "" */
    int errnum;                         /* why it is unreadable; 0: its bytes differ */
};

/* -1: the cancellation of `reader`, or INTERNAL. */
int hc_blob_check_run(struct hc_blob_check *check, struct hc_idle_reader *reader,
                      struct hc_error *err);

/* Whether the path still leads to the file that was checked, unchanged. */
bool hc_blob_check_holds(const struct hc_blob_check *check);

#endif
