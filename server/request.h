/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call, from its arrival to its answer: what log, metrics, policy and the keys by which
 * work is shared read of it. The edge makes it (id, deadline_ms, arena) and keeps it with
 * the call; the service adds what the request says. Only the thread that handles the call
 * changes it: the edge's while the method's function runs, then the one that finishes it.
 */
#ifndef HC_SERVER_REQUEST_H
#define HC_SERVER_REQUEST_H

#include "message.h"

#include <hubcache/repo.h>
#include <hubcache/resolver.h>

struct hc_rpc_call;

enum {
    HC_REQUEST_REPO_SIZE = 208,     /* an id is at most 200 bytes; longer ones are cut */
    HC_REQUEST_REVISION_SIZE = 128, /* a longer one is cut: it is for the log only */
    HC_REQUEST_COMMIT_SIZE = 41
};

struct hc_request {
    const char *method;     /* its path, or "unknown"; static */
    unsigned method_number; /* of its counters; 0: there is no such method */
    uint64_t id;            /* of this process; in each line of the log about the call */
    int64_t deadline_ms;    /* on the monotonic clock, or HC_NO_DEADLINE */
    uint64_t caller;        /* hash of the caller's identity; 0: the call names none */

    /* Until the method's function returns; then the arena wipes the token. */
    struct hc_arena *arena;
    const char *hub_token; /* the caller's own Hub token, or "" */

    /* What the request is about, "" as far as unknown. */
    enum hc_repo_type repo_type;
    char repo_id[HC_REQUEST_REPO_SIZE];
    char revision[HC_REQUEST_REVISION_SIZE];
    char commit[HC_REQUEST_COMMIT_SIZE]; /* of the answer */
};

/* A new one, for the edge. */
void hc_request_init(struct hc_request *request, uint64_t id, int64_t deadline_ms,
                     struct hc_arena *arena);

/*
 * Reads the header x-hub-token. INVALID_OPTIONS (field "x-hub-token") when it is longer
 * than 4096 bytes or holds what cannot stand in a header; white space around it belongs to
 * the file or variable that the caller took it from, and is left out.
 */
int hc_request_read_token(struct hc_request *request, const struct hc_rpc_call *call,
                          struct hc_error *err);

/* For the log. `target` is copied. */
void hc_request_set_target(struct hc_request *request, const struct hc_target *target);
void hc_request_set_commit(struct hc_request *request, const char *commit);

/*
 * Sets the caller: the identity that the call names ("authorization"), else that of its Hub
 * token. It is whose rights a decision is about, and whose share of threads, places and
 * connections the call has. After hc_request_read_token().
 */
void hc_request_identify(struct hc_request *request, const struct hc_rpc_call *call);

/* If the call names no identity, its address is one as far as shares go. */
void hc_request_identify_by_address(struct hc_request *request,
                                    const struct hc_rpc_call *call);

/* Hash of the repo, whose calls share threads fairly with those of other repos. */
uint64_t hc_request_repo_hash(const struct hc_target *target);

#endif
