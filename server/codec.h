/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Converts between the contract's messages and the library's structs. A decoded request
 * borrows from its message, and an encoded answer from the struct that it was made of.
 * Callable from any thread.
 */
#ifndef HC_SERVER_CODEC_H
#define HC_SERVER_CODEC_H

#include "message.h"

#include <hubcache/resolver.h>
#include <hubcache/v1/resolver.pb-c.h>

/* -1: INVALID_OPTIONS with `field`, when it is negative. */
int hc_decode_duration(const Google__Protobuf__Duration *duration, const char *field,
                       int64_t *ms, struct hc_error *err);

/* -1: a value out of range, INVALID_OPTIONS; `request` has what was decoded before it.
 * The request's options begin with those of the caller: its token, its number and its
 * identity. */
int hc_decode_file(const Hubcache__V1__ResolveFileRequest *message,
                   const struct hc_fetch_options *caller, struct hc_file_request *request,
                   struct hc_error *err);
int hc_decode_files(const Hubcache__V1__ResolveFilesRequest *message,
                    const struct hc_fetch_options *caller,
                    struct hc_files_request *request, struct hc_error *err);
int hc_decode_snapshot(const Hubcache__V1__ResolveSnapshotRequest *message,
                       const struct hc_fetch_options *caller,
                       struct hc_snapshot_request *request, struct hc_error *err);

void hc_encode_file(const struct hc_file *file, Hubcache__V1__ResolvedFile *message);

/* Lists are made in `arena`. -1: out of memory. */
int hc_encode_files(const struct hc_files *files, struct hc_arena *arena,
                    Hubcache__V1__ResolveFilesResponse *message, struct hc_error *err);
int hc_encode_snapshot(const struct hc_snapshot *snapshot, struct hc_arena *arena,
                       Hubcache__V1__ResolveSnapshotResponse *message,
                       struct hc_error *err);
void hc_encode_progress(const struct hc_progress *progress,
                        Hubcache__V1__SnapshotProgress *message);

#endif
