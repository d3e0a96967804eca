/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Something wrong or left over on the cache volume, as a verification finds it and as
 * pruning removes it.
 */
#ifndef HUBCACHE_FINDING_H
#define HUBCACHE_FINDING_H

#include <hubcache/error.h>
#include <hubcache/repo.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers, in sequence, are those of hubcache.v1.FindingKind. */
enum hc_finding_kind {
    HC_CORRUPT_BLOB = 1,  /* its content does not hash to its name */
    HC_UNVERIFIABLE_BLOB, /* its name is no hash */
    HC_UNREADABLE_BLOB,
    HC_DANGLING_POINTER, /* its blob is not there */
    HC_ORPHAN_BLOB,      /* no pointer leads to it */
    HC_STRAY_TEMPORARY,  /* no process writes it any more */
    HC_DANGLING_REF,     /* its snapshot is not there */
    HC_ORPHAN_PAYLOAD,   /* of the shared blob store: no repo refers to it */
    HC_FINDING_KINDS     /* one more than the last */
};

/* Strings are borrowed for the call that gets it. */
struct hc_finding {
    enum hc_finding_kind kind;
    const char *repo_id; /* "" for a payload of the shared blob store */
    enum hc_repo_type repo_type;
    const char *cache_path; /* the file, below the cache root */
    uint64_t size_bytes;
    const char *action;          /* what was done about it, in words; "": nothing */
    const char *actual;          /* what a corrupt blob hashes to; "": not known */
    const char *const *pointers; /* files of snapshots that lead to it */
    size_t pointer_count;
    bool is_repaired; /* its path never vanished, and has right bytes by now */
};

/* "corrupt_blob" and so on, as logs and metrics name it. */
HC_PUBLIC const char *hc_finding_kind_name(enum hc_finding_kind kind);

#ifdef __cplusplus
}
#endif

#endif
