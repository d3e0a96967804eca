/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two hashes by which the Hub names bytes: SHA-256 of the content for LFS files, and
 * git's blob id, SHA-1 of "blob <size>\0<content>", for all others. The length of an etag
 * tells which: 64 or 40 lower-case hexadecimal digits. One digest, one thread.
 */
#ifndef HC_BASE_DIGEST_H
#define HC_BASE_DIGEST_H

#include "auto.h"
#include "error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { HC_DIGEST_HEX_MAX = 64 };

enum hc_digest_kind {
    HC_DIGEST_NONE, /* an etag of a mirror that is no hash: only the size can be checked
                     */
    HC_DIGEST_GIT_BLOB,
    HC_DIGEST_SHA256
};

struct hc_digest; /* a hash being computed */

/* What an etag is a hash of. */
enum hc_digest_kind hc_digest_kind_of(const char *etag);

/* Whether an etag is the hash of no bytes at all. No file of another size has such a name,
 * and of a file with the hash of some bytes 0 cannot be the size. */
bool hc_digest_is_of_empty_file(const char *etag);

/* `size` is the content's full length; git hashes it before the content. */
struct hc_digest *hc_digest_new(enum hc_digest_kind kind, uint64_t size,
                                struct hc_error *err);
void hc_digest_free(struct hc_digest *digest);
HC_DEFINE_AUTO(hc_digest, hc_digest_free)

int hc_digest_update(struct hc_digest *digest, const void *bytes, size_t count,
                     struct hc_error *err);

/* Writes lower-case hexadecimal digits and a NUL ("" for NONE); updates must end here. */
int hc_digest_finish(struct hc_digest *digest, char hex[HC_DIGEST_HEX_MAX + 1],
                     struct hc_error *err);

#endif
