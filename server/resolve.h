/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request of the contract on its way through the resolver, on one thread: decode, look
 * at the disk or ask the Hub, encode. Each kind of request (a file, several files, a
 * snapshot) is a row of functions; the edge's thread and the worker threads use the same
 * rows.
 */
#ifndef HC_SERVER_RESOLVE_H
#define HC_SERVER_RESOLVE_H

#include "coalescer.h"
#include "message.h"

#include <cache/memo.h>
#include <hubcache/lease.h>
#include <hubcache/resolver.h>

enum { HC_LOOKUPS_UNBOUNDED = INT32_MAX };

struct hc_resolve {
    const struct hc_resolve_kind *kind;
    struct hc_resolver *resolver;
    struct hc_arena *arena; /* holds the lists of the answer */
    union {
        struct hc_file_request file;
        struct hc_files_request files;
        struct hc_snapshot_request snapshot;
    } request;
    union {
        struct hc_file file;
        struct hc_files files;
        struct hc_snapshot snapshot;
    } result;

    /* Set by decode and encode; borrowed. */
    const struct hc_target *target;
    const char *filename; /* NULL for several */
    struct hc_facts facts;
    const char *traceparent; /* for the Hub's requests; NULL: none */
    struct hc_reuse reuse;   /* of the answer from memory or the disk */
    bool hides_files;        /* the client has not asked for the list of files */
    unsigned lookups;        /* files to look for on the disk, or HC_LOOKUPS_UNBOUNDED */
};

extern const struct hc_resolve_kind hc_resolve_kind_file, hc_resolve_kind_files,
    hc_resolve_kind_snapshot;

/* Borrows all three; hc_resolve_clear() clears it. */
struct hc_resolve hc_resolve_new(const struct hc_resolve_kind *kind,
                                 struct hc_resolver *resolver, struct hc_arena *arena);

/* The type of the messages that hc_resolve_decode() takes. */
const ProtobufCMessageDescriptor *
hc_resolve_message_type(const struct hc_resolve_kind *kind);

/* `message` lives until the clear, as does what `caller` points to: the options that the
 * request has of its caller. */
int hc_resolve_decode(struct hc_resolve *resolve, const ProtobufCMessage *message,
                      const struct hc_fetch_options *caller, struct hc_error *err);

/* The same from the key that calls share; its texts live until the clear. */
int hc_resolve_decode_key(struct hc_resolve *resolve, const struct hc_request_key *key,
                          struct hc_error *err);

/* After the decode: the result has the files of a snapshot, also if the client does not
 * want them. */
void hc_resolve_list_files(struct hc_resolve *resolve);

/* Of a result with several files; none: of one file. Borrowed. */
const struct hc_file *hc_resolve_result_files(const struct hc_resolve *resolve,
                                              size_t *count);

/* Answers from memory, without a system call: 1: found; 0: the disk has to be looked at;
 * -1: failed. */
int hc_resolve_at_memory(struct hc_resolve *resolve, struct hc_error *err);

/* For a kind that memory has a proof of: the same, with one look at the ref. */
int hc_resolve_at_proof(struct hc_resolve *resolve, struct hc_error *err);

/* Answers from the disk alone. 1: found; 0: the Hub has to be asked; -1: failed. */
int hc_resolve_at_disk(struct hc_resolve *resolve, struct hc_error *err);

/* Asks the Hub where the disk does not suffice: 1 or -1. `watched` gets the progress. */
int hc_resolve_at_hub(struct hc_resolve *resolve, struct hc_cancellation *cancellation,
                      struct hc_coalesced_request *watched, struct hc_error *err);

/* After 1: the response, in the arena. NULL: out of memory. */
const ProtobufCMessage *hc_resolve_encode(struct hc_resolve *resolve,
                                          struct hc_error *err);

/*
 * After the decode: takes the lease that a request asks for out of its message, so that
 * calls with and without a lease share their work. 1: it asks for one; 0: it does not.
 */
int hc_resolve_take_lease(const struct hc_resolve *resolve,
                          const ProtobufCMessage *message, int64_t *duration_ms,
                          struct hc_error *err);

/* After the decode: takes a lease for an answer to the request. 1; 0: what was answered
 * has been removed; -1. Blocks on the volume. */
int hc_resolve_lease(struct hc_resolve *resolve, const struct hc_answer *answer,
                     const struct hc_lease_terms *terms, struct hc_lease *lease,
                     struct hc_error *err);

/* The number of the field `lease_id` in the response. */
unsigned hc_resolve_lease_field(const struct hc_resolve_kind *kind);

/* After the decode, also of a refused request: what it is about, for the log. */
void hc_resolve_describe(const struct hc_resolve *resolve, struct hc_request *request);

void hc_resolve_clear(struct hc_resolve *resolve);
HC_DEFINE_AUTO_VALUE(hc_resolve, hc_resolve_clear)

#endif
