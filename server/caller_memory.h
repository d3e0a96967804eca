/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Remembers which caller a credential has shown, so that the next call with it costs one
 * look-up. A credential is known by its SHA-256 alone. The memory is bounded: a new entry
 * takes the place of the one that was used least recently. Its owner's lock guards it.
 */
#ifndef HC_SERVER_CALLER_MEMORY_H
#define HC_SERVER_CALLER_MEMORY_H

#include "caller.h"

enum { HC_CREDENTIAL_HASH_SIZE = 32, HC_CALLER_MEMORY_MAX = 4096 };

/* The SHA-256 of a credential, or a number that is no such hash. */
struct hc_credential_hash {
    unsigned char bytes[HC_CREDENTIAL_HASH_SIZE];
};

struct hc_caller_memory;

struct hc_caller_memory *hc_caller_memory_new(struct hc_error *err);
void hc_caller_memory_free(struct hc_caller_memory *memory);
HC_DEFINE_AUTO(hc_caller_memory, hc_caller_memory_free)

/* The caller, held for the calling function; NULL: none is remembered at `now_s`. */
struct hc_caller *hc_caller_memory_recall(struct hc_caller_memory *memory,
                                          const struct hc_credential_hash *hash,
                                          int64_t now_s);

/* Remembers `caller` before `end_s`, and holds it. */
void hc_caller_memory_keep(struct hc_caller_memory *memory,
                           const struct hc_credential_hash *hash,
                           struct hc_caller *caller, int64_t end_s);

void hc_caller_memory_forget_all(struct hc_caller_memory *memory);

#endif
