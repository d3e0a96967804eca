/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An answer as it came, checked and mapped to this machine's mount. On failure the output
 * is left alone: CACHE_MISMATCH or INTERNAL as mount.h says, INTERNAL for an answer with
 * parts missing.
 */
#ifndef HC_CLIENT_ANSWER_H
#define HC_CLIENT_ANSWER_H

#include "mount.h"

#include <hubcache-client/client.h>

#include <hubcache/v1/resolver.pb-c.h>

int hc_message_decode_file(const struct hc_mount *mount,
                           const Hubcache__V1__ResolveFileResponse *answer,
                           struct hc_client_file *file, struct hc_error *err);
int hc_message_decode_files(const struct hc_mount *mount,
                            const Hubcache__V1__ResolveFilesResponse *answer,
                            struct hc_client_files *files, struct hc_error *err);
int hc_message_decode_snapshot(const struct hc_mount *mount,
                               const Hubcache__V1__ResolveSnapshotResponse *answer,
                               struct hc_client_snapshot *snapshot, struct hc_error *err);

/* Borrows the names of `event`. */
void hc_message_decode_progress(const Hubcache__V1__SnapshotProgress *event,
                                struct hc_client_progress *progress);

int hc_message_decode_info(const Hubcache__V1__GetServerInfoResponse *answer,
                           struct hc_client_info *info, struct hc_error *err);

#endif
