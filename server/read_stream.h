/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of ReadFile. A read stream resolves its file in work that it shares with calls of
 * ResolveFile, opens it once, and sends the bytes from the offset on in messages of
 * 512 KiB. What was opened is what is read, so a file that is evicted or replaced
 * meanwhile is still sent whole.
 *
 * A stream has two messages in memory at most, the one that is being sent and the next
 * one. While the client does not read, it has no thread. Streams read the volume on a
 * bounded pool of threads of their own, where callers and repos take turns.
 */
#ifndef HC_SERVER_READ_STREAM_H
#define HC_SERVER_READ_STREAM_H

#include "coalescer.h"
#include "rpc.h"

#include <hubcache/resolver.h>
#include <hubcache/v1/resolver.pb-c.h>

struct hc_read_streams; /* all of a server */

/* Borrows both. */
struct hc_read_streams *hc_read_streams_open(struct hc_resolver *resolver,
                                             struct hc_coalescer *coalescer,
                                             struct hc_error *err);

/* Every stream has ended. */
void hc_read_streams_close(struct hc_read_streams *streams);
HC_DEFINE_AUTO(hc_read_streams, hc_read_streams_close)

/*
 * Within `start`: parks the call and resolves its file, whose request is `key`; nothing
 * of `key` or `request` is kept. BUSY, and the call is not parked, when too many streams
 * are open, or too many of this caller's.
 */
int hc_read_streams_begin(struct hc_read_streams *streams, struct hc_rpc_call *call,
                          const struct hc_request_key *key,
                          const Hubcache__V1__ReadFileRequest *request,
                          struct hc_error *err);

/* Streams that are open, and bytes that all streams together have read. */
void hc_read_streams_count(struct hc_read_streams *streams, unsigned *open,
                           uint64_t *bytes);

#endif
