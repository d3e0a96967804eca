/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lease says that a caller uses a snapshot until a time: until then nothing of hubcache
 * removes the snapshot's files. It is a file on the cache volume, so that every replica
 * sees it, and it ends by itself. A value, copyable.
 */
#ifndef HUBCACHE_LEASE_H
#define HUBCACHE_LEASE_H

#include <hubcache/error.h>
#include <hubcache/repo.h>

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    HC_LEASE_ID_SIZE = 304,     /* bytes, with the NUL: here and below */
    HC_LEASE_KIND_SIZE = 16,    /* of what proved the caller's identity */
    HC_LEASE_CALLER_SIZE = 513, /* of the caller's name */
    HC_LEASE_POD_SIZE = 254     /* of what the client calls itself */
};

struct hc_lease {
    char id[HC_LEASE_ID_SIZE]; /* an opaque text, and a secret of the caller */
    char repo_id[201];
    enum hc_repo_type repo_type;
    char commit_hash[41];
    char kind[HC_LEASE_KIND_SIZE];     /* hc_identity.kind; "": anonymous */
    char caller[HC_LEASE_CALLER_SIZE]; /* hc_identity.name */
    char pod[HC_LEASE_POD_SIZE];
    int64_t since_ms; /* milliseconds since the epoch by the volume's clock */
    int64_t until_ms;
};

#ifdef __cplusplus
}
#endif

#endif
