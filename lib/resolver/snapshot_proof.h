/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the memo (cache/memo.h) has of a snapshot that was proved complete: its figures,
 * and the files that policy leaves out. While it holds, an equal request is answered
 * without a look at the volume. Callable from any thread.
 */
#ifndef HC_RESOLVER_SNAPSHOT_PROOF_H
#define HC_RESOLVER_SNAPSHOT_PROOF_H

#include "resolution.h"

#include <cache/memo.h>

/* A proof that is being made. One thread's. */
struct hc_snapshot_proof {
    char name[HC_MEMO_PATH_MAX + 1]; /* longer ones are not remembered */
    struct hc_memo_look look;
    uint32_t tree_version;
};

/* Before the first look at the volume that the proof rests on. False: it is not to be
 * remembered. */
bool hc_snapshot_proof_begin(const struct hc_resolution *resolution,
                             const struct hc_patterns *patterns, const char *commit,
                             struct hc_snapshot_proof *proof);

/* The snapshot is complete, and its figures are those of the answer. */
void hc_snapshot_proof_store(const struct hc_resolution *resolution,
                             const struct hc_snapshot_proof *proof,
                             const struct hc_snapshot *snapshot);

/* 1, and the figures and excluded files of `snapshot`, when the snapshot was proved so
 * recently that nothing need be looked at; 0, -1. */
int hc_snapshot_proof_recall(const struct hc_resolution *resolution,
                             const struct hc_patterns *patterns, const char *commit,
                             struct hc_snapshot *snapshot, struct hc_error *err);

#endif
