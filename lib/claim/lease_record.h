/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a lease file says, and what its id means. The file
 *
 *     .hubcache/leases/<repo folder>/<commit>/<32 hex>
 *
 * ends at its mtime and holds a JSON object: "kind" and "caller" (the identity), "pod",
 * "since" (milliseconds). The id is "<repo folder>.<commit>.<32 hex>", so that each
 * replica finds the file by it; its digits are random, and nothing on the wire tells them
 * to another caller. An id comes from callers and a file from the volume: neither is
 * trusted. Callable from any thread.
 */
#ifndef HC_CLAIM_LEASE_RECORD_H
#define HC_CLAIM_LEASE_RECORD_H

#include <base/error.h>
#include <hubcache/lease.h>
#include <repo/repo.h>

#include <stdbool.h>
#include <stddef.h>

enum {
    HC_LEASE_NAME_LENGTH = 32,  /* hexadecimal digits of the file's name: 128 bits */
    HC_LEASE_CONTENT_MAX = 8192 /* bytes of a file */
};

/* Fills `id`, `repo_id`, `repo_type` and `commit_hash` with those of a new lease. */
int hc_lease_record_new(struct hc_lease *lease, const struct hc_repo *repo,
                        const char *commit, struct hc_error *err);

/* Fills the same members from an id; false when it is none. */
bool hc_lease_id_parse(const char *id, struct hc_lease *lease, struct hc_repo *repo);

/* The file's name, at the end of a valid id. Borrowed. */
const char *hc_lease_id_name(const char *id);

bool hc_lease_name_is_valid(const char *name);

/* Fills the same members from the place of a file; false when it is no lease's. */
bool hc_lease_record_of_file(struct hc_lease *lease, const struct hc_repo *repo,
                             const char *commit, const char *name);

/* The content of the file; the caller frees. NULL: no memory. */
char *hc_lease_record_format(const struct hc_lease *lease, struct hc_error *err);

/* Fills `kind`, `caller`, `pod` and `since_ms`. From a content that is malformed, `kind`
 * is "unknown", which no caller has; the lease holds all the same. */
void hc_lease_record_parse(struct hc_lease *lease, const char *content, size_t size);

#endif
