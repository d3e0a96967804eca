/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that come from callers and from the Hub and end up in paths: each is checked
 * here, once, before it names anything on disk. The rules are the reference client's
 * (spec §1.2, §1.8, §2.1), with deviations towards safety only (design.md, "On disk"): it
 * believes any ETag and any commit, and writes outside of the cache when told to.
 * Callable from any thread.
 */
#ifndef HC_REPO_NAME_H
#define HC_REPO_NAME_H

#include <hubcache/error.h>

#include <stdbool.h>
#include <stdint.h>

enum {
    HC_COMMIT_SIZE = 41,    /* 40 hexadecimal digits and a NUL */
    HC_ETAG_MAX = 200,      /* leaves room for ".<8 hex>.incomplete" below NAME_MAX */
    HC_REVISION_MAX = 1024, /* bytes */
    HC_FILENAME_MAX = 2048, /* bytes of a path within a repo */
    HC_COMPONENT_MAX = 255  /* bytes between two slashes: NAME_MAX */
};

/* 40 lower-case hexadecimal digits: the only revision that needs no network. */
bool hc_commit_is_valid(const char *text);

/*
 * INVALID_REVISION (field "revision"): empty, too long, not UTF-8, control characters, a
 * leading or trailing "/", or a component that is empty, ".", ".." or over
 * HC_COMPONENT_MAX.
 */
int hc_revision_check(const char *revision, struct hc_error *err);

/*
 * Joins `subfolder` (NULL or "" for none) and `filename` into the path within the repo,
 * dropping "." components and doubled slashes. INVALID_FILENAME (field "filename", or
 * "subfolder" when that is at fault): empty, absolute, ends in "/", a ".." component
 * (also between backslashes), a Windows drive or UNC prefix in any component ("C:x"), not
 * UTF-8, control characters, a component over HC_COMPONENT_MAX, or longer than
 * HC_FILENAME_MAX in all. A backslash is an ordinary character otherwise, as in the
 * reference client.
 */
int hc_filename_join(const char *subfolder, const char *filename,
                     char path[HC_FILENAME_MAX + 1], struct hc_error *err);

/* Whether a name from a listing of the Hub passes these rules as it stands. */
bool hc_filename_is_safe(const char *path);

/*
 * Normalises an ETag header as the reference client does (strip any run of the characters
 * "W" and "/" from the left, then the quotes) and checks the result: 1 to HC_ETAG_MAX of
 * [0-9A-Za-z._-], neither "." nor "..", not ending in ".incomplete". False: unusable.
 */
bool hc_etag_parse(const char *header, char etag[HC_ETAG_MAX + 1]);

/* 64 hexadecimal digits of either case, as in the reference client. */
bool hc_xet_hash_is_valid(const char *text);

/* Whether `etag`, as it stands, may name a blob. */
bool hc_etag_is_valid(const char *etag);

/*
 * Gives an etag that is no hash to one file of one commit: "<etag>-<64 hex>", where the
 * digits are the SHA-256 of all three. Servers other than the Hub give two files with
 * different bytes the same such etag, so that it must not name the blob of both. A hash
 * stays as it is.
 */
int hc_etag_make_unique(char etag[HC_ETAG_MAX + 1], const char *commit, const char *path,
                        struct hc_error *err);

/*
 * The size of a blob, or HC_SIZE_UNKNOWN, when a HEAD reports that it has `reported`
 * bytes, or HC_SIZE_UNKNOWN. Servers that do not know the size report 0: that is believed
 * only when the etag is the hash of an empty file.
 */
uint64_t hc_blob_size_from_head(const char *etag, uint64_t reported);

#endif
