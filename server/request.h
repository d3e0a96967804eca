/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context of one call, from its arrival to its answer, which log, metrics, policy and
 * the keys of shared work read. The edge makes it (method, id, deadline_ms, arena) and
 * keeps it with the call; the service adds caller, repo and commit. Only the thread that
 * handles the call changes it: the edge's while the method's function runs, then the
 * thread that finishes the call.
 */
#ifndef HC_SERVER_REQUEST_H
#define HC_SERVER_REQUEST_H

#include "message.h"
#include "trace.h"

#include <hubcache/repo.h>
#include <hubcache/resolver.h>
#include <repo/name.h>

struct hc_caller;
struct hc_rpc_call;

enum {
    HC_REQUEST_REPO_SIZE = 208, /* an id has 200 bytes at most; the rest is left out */
    HC_REQUEST_REVISION_SIZE = 128, /* likewise: it is for the log only */
    HC_REQUEST_FILES_SIZE = 512,    /* likewise */
    HC_REQUEST_PEER_SIZE = 64,
    HC_REPO_FOLDER_SIZE = 224,
    HC_REQUEST_ETAG_SIZE = 80 /* a SHA-256, or the start of what is no hash */
};

/* What a call is about, for log and audit; "": not known (yet). */
struct hc_subject {
    enum hc_repo_type repo_type;
    char repo_id[HC_REQUEST_REPO_SIZE];
    char revision[HC_REQUEST_REVISION_SIZE];
    char filename[HC_REQUEST_FILES_SIZE]; /* of a file; "" for several */
    char patterns[HC_REQUEST_FILES_SIZE]; /* of a snapshot: "+PATTERN -PATTERN" */
};

/* What a call got, likewise. */
struct hc_facts {
    char commit[HC_COMMIT_SIZE]; /* "" when there is none */
    char etag[HC_REQUEST_ETAG_SIZE];
    char rule[64]; /* of the policy, of a file or of the snapshot as a whole */
    char folder
        [HC_REPO_FOLDER_SIZE]; /* with `rule`: of the repo, which may have been asked
                                         for by an alias */
    enum hc_source source;
    bool is_stale;
    unsigned files;
    uint64_t bytes; /* of these files; of ReadFile: those that were read */
};

struct hc_request {
    const char *method;     /* its path, or "unknown"; static */
    unsigned method_number; /* of its counters; 0: there is no such method */
    uint64_t id;            /* of this process; in each line of the log about the call */
    int64_t arrived_ns;     /* on the monotonic clock */
    int64_t deadline_ms;    /* likewise, or HC_NO_DEADLINE */
    uint64_t caller;        /* hash of the caller's identity; 0: the call names none */
    struct hc_caller *identity; /* held; NULL: anonymous */
    struct hc_trace trace;
    char peer[HC_REQUEST_PEER_SIZE]; /* the client's address; "": not recorded */

    /* Valid until the method's function returns: then the arena wipes the token. */
    struct hc_arena *arena;
    const uint8_t *bytes; /* the message */
    size_t size;
    const char *hub_token; /* the caller's own Hub token, or "" */

    struct hc_subject subject;
    struct hc_facts facts; /* of the answer */
};

/* The edge makes a new one. */
void hc_request_init(struct hc_request *request, uint64_t id, int64_t arrived_ns,
                     struct hc_arena *arena);

/* At the end of the call: releases the identity. */
void hc_request_clear(struct hc_request *request);

/*
 * Reads the header x-hub-token, without the white space around it, which belongs to the
 * file or variable that the caller took it from. INVALID_OPTIONS (field "x-hub-token")
 * when the rest is longer than 4096 bytes, or contains a byte that cannot be in a token.
 * A second call changes nothing.
 */
int hc_request_read_token(struct hc_request *request, const struct hc_rpc_call *call,
                          struct hc_error *err);

/* For the log. All copy. `filename` may be NULL. */
void hc_request_set_target(struct hc_request *request, const struct hc_target *target,
                           const char *filename);
void hc_request_add_pattern(struct hc_request *request, char sign, const char *pattern);

/*
 * Sets the caller: the hash of its identity, if it has proved one, else of the header
 * "authorization", else of the Hub token. Policy decides by it, and the queues share
 * threads and connections by it. Call it after hc_request_read_token().
 */
void hc_request_identify(struct hc_request *request, const struct hc_rpc_call *call);

/* Sets the caller by its address, for the queues, if the call has no other identity. */
void hc_request_identify_by_address(struct hc_request *request,
                                    const struct hc_rpc_call *call);

/* What the library's options have of the caller: token, number, identity. Borrowed. */
struct hc_fetch_options hc_request_options(const struct hc_request *request);

/* The hash of the repo: the queues share threads by it too. */
uint64_t hc_request_repo_hash(const struct hc_target *target);

#endif
