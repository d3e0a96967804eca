/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A caller: the identity that calls hubcache, as one of the ways to prove it has shown.
 * An immutable value with a count of its holders, so that a call takes it without a copy
 * or an allocation. Any thread may hold and release it.
 */
#ifndef HC_SERVER_CALLER_H
#define HC_SERVER_CALLER_H

#include <base/auto.h>
#include <base/hash.h>

#include <hubcache/error.h>
#include <hubcache/resolver.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What proved the identity. The numbers are hashed, so they stay. */
enum hc_caller_kind {
    HC_CALLER_TOKEN = 1, /* a line of --auth-tokens */
    HC_CALLER_JWT = 2,   /* a signed token, such as that of a Kubernetes ServiceAccount */
    HC_CALLER_UID = 3,   /* the user of a process that connected to a unix socket */
    HC_CALLER_CERTIFICATE = 4 /* of a client, over TLS */
};

enum { HC_CALLER_NAME_MAX = 512, HC_CALLER_GROUPS_MAX = 32 };

struct hc_caller {
    enum hc_caller_kind kind;
    const char *name;
    const char *const *groups;
    size_t group_count;
    uint64_t hash; /* of kind and name; not 0. The queues share threads by it */

    /* All of it: for policy, and as the key of what calls may share. */
    struct hc_identity identity;
    struct hc_keyed_hash key;
    atomic_uint holders;
};

/* Copies name and groups; the calling function holds the result. */
struct hc_caller *hc_caller_new(enum hc_caller_kind kind, const char *name,
                                const char *const *groups, size_t group_count,
                                struct hc_error *err);

/* Returns `caller`, which may be NULL; each hold needs a release. */
struct hc_caller *hc_caller_hold(struct hc_caller *caller);
void hc_caller_release(struct hc_caller *caller);
HC_DEFINE_AUTO(hc_caller, hc_caller_release)

/* "token", "jwt", "uid", "certificate". */
const char *hc_caller_kind_name(enum hc_caller_kind kind);

#endif
