/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digest is made on the calling thread, since OpenSSL takes locks to make one, and
 * fed on the reader's.
 */
#include "blob_check.h"

#include <base/file.h>
#include <base/size.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { READS_MAX = 4 };

bool hc_blob_check_holds(const struct hc_blob_check *check)
{
    struct hc_file_state now;
    struct stat status;

    if (fstatat(check->root, check->path, &status, 0) < 0)
        return false;
    now = hc_file_state_of(&status, &status.st_mtim);
    return hc_file_state_equals(&now, &check->file);
}

/* A file that another client removes or replaces on its server is gone (ESTALE). */
static bool blob_is_gone(int errnum)
{
    return hc_file_is_absent(errnum) || errnum == ESTALE;
}

static int check_end(struct hc_blob_check *check, enum hc_blob_state state, int errnum)
{
    check->state = state;
    check->errnum = errnum;
    return 0;
}

/* 1 and the hash of the content; 0: the state is known; -1. */
static int check_hash_file(struct hc_blob_check *check, struct hc_idle_reader *reader,
                           int fd, struct hc_error *err)
{
    uint64_t size = (uint64_t)check->file.size;
    HC_AUTO(hc_digest) *digest = hc_digest_new(hc_digest_kind_of(check->etag), size, err);
    int errnum = 0, done;

    if (!digest)
        return -1;
    done = hc_idle_reader_hash(reader, fd, size, digest, &errnum, err);
    if (done < 0)
        return -1;
    if (!hc_blob_check_holds(check) ||
        (done == 0 && (errnum == 0 || blob_is_gone(errnum))))
        return check_end(check, HC_BLOB_CHANGED, 0);
    if (done == 0)
        return check_end(check, HC_BLOB_UNREADABLE, errnum);
    return hc_digest_finish(digest, check->actual, err) < 0 ? -1 : 1;
}

/* The same from the beginning: the file is opened, too. */
static int check_hash(struct hc_blob_check *check, struct hc_idle_reader *reader,
                      struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = hc_file_open_linked(check->root, check->path);
    struct stat status;

    if (fd < 0)
        return check_end(check,
                         blob_is_gone(errno) ? HC_BLOB_CHANGED : HC_BLOB_UNREADABLE,
                         errno);
    if (fstat(fd, &status) < 0)
        return check_end(check,
                         blob_is_gone(errno) ? HC_BLOB_CHANGED : HC_BLOB_UNREADABLE,
                         errno);
    check->file = hc_file_state_of(&status, &status.st_mtim);
    if (hc_digest_kind_of(check->etag) != HC_DIGEST_NONE)
        return check_hash_file(check, reader, fd, err);
    return check_end(check,
                     check->size == HC_SIZE_UNKNOWN ||
                             check->size == (uint64_t)status.st_size
                         ? HC_BLOB_UNVERIFIABLE
                         : HC_BLOB_CORRUPT,
                     0);
}

/* Two reads in a row have to agree on a hash that is wrong. */
int hc_blob_check_run(struct hc_blob_check *check, struct hc_idle_reader *reader,
                      struct hc_error *err)
{
    char before[HC_DIGEST_HEX_MAX + 1] = "";
    int hashed;

    for (unsigned reads = 0; reads < READS_MAX; reads++) {
        check->actual[0] = '\0';
        hashed = check_hash(check, reader, err);
        if (hashed < 0 || (hashed == 0 && check->state != HC_BLOB_CHANGED))
            return hashed;
        if (hashed == 0) {
            before[0] = '\0';
            continue;
        }
        if (strcmp(check->actual, check->etag) == 0)
            return check_end(check, HC_BLOB_RIGHT, 0);
        if (strcmp(check->actual, before) == 0)
            return check_end(check, HC_BLOB_CORRUPT, 0);
        memcpy(before, check->actual, sizeof before);
    }
    return hashed == 0 ? 0 : check_end(check, HC_BLOB_UNREADABLE, 0);
}
