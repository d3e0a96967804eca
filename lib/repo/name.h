/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that come from outside and end up in paths: each is checked here, once, before it
 * names anything on disk. Sources: spec/hub-cache.md §1.2, §1.8, §2.1; the deviations,
 * all towards safety, are design.md's.
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
 * leading or trailing "/", or a segment that is empty, ".", ".." or over HC_COMPONENT_MAX.
 */
int hc_revision_check(const char *revision, struct hc_error *err);

/*
 * Joins `subfolder` (NULL or "" for none) and `filename` into the path within the repo,
 * dropping "." segments and doubled slashes. INVALID_FILENAME (field "filename", or
 * "subfolder" when that is at fault): empty, absolute, ends in "/", a ".." segment (also
 * between backslashes), a Windows drive or UNC prefix in any segment ("C:x"), not UTF-8,
 * control characters, a segment over HC_COMPONENT_MAX, or longer than HC_FILENAME_MAX in
 * all. A backslash is an ordinary character otherwise, as in the reference client.
 */
int hc_filename_join(const char *subfolder, const char *filename,
                     char path[HC_FILENAME_MAX + 1], struct hc_error *err);

/* The same rules for one name from a listing of the Hub, as a question. */
bool hc_filename_is_safe(const char *path);

/*
 * Normalises an ETag header as the reference does (strip any run of the characters "W"
 * and
 * "/" from the left, then the quotes) and checks the result: 1 to HC_ETAG_MAX of
 * [0-9A-Za-z._-], neither "." nor "..", not ending in ".incomplete". False: unusable.
 */
bool hc_etag_parse(const char *header, char etag[HC_ETAG_MAX + 1]);

/* 64 hexadecimal digits, in small letters or capitals, as in the reference client. */
bool hc_xet_hash_is_valid(const char *text);

/* Whether `etag`, as it stands, may name a blob. */
bool hc_etag_is_valid(const char *etag);

/*
 * Makes an etag that is no hash the name of one file of one commit: "<etag>-<64 hex>", of
 * which the digits are the SHA-256 of all three. Two files may have the same such etag and
 * different bytes, so that it must not name the blob of both. A hash stays as it is.
 */
int hc_etag_make_unique(char etag[HC_ETAG_MAX + 1], const char *commit, const char *path,
                        struct hc_error *err);

/*
 * What is known of the size of a blob of which a HEAD says that it has `reported` bytes, or
 * HC_SIZE_UNKNOWN. 0 is what servers say that do not know it: it is believed only when the
 * etag is the hash of nothing.
 */
uint64_t hc_blob_size_from_head(const char *etag, uint64_t reported);

#endif
