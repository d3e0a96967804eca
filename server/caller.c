/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A caller is one piece of memory: the struct, the array of its groups, and the texts,
 * the first of which is its kind. The texts together are the identity: each ends with a
 * NUL, so no other identity has the same bytes.
 */
#include "caller.h"

#include <base/error.h>
#include <base/hash.h>

#include <string.h>

static char *text_append(char **end, const char *text)
{
    char *copy = *end;

    *end = stpcpy(copy, text) + 1;
    return copy;
}

static uint64_t caller_hash(enum hc_caller_kind kind, const char *name)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, &kind, sizeof kind);

    hash = hc_hash_bytes(hash, name, strlen(name));
    return hash != 0 ? hash : 1;
}

struct hc_caller *hc_caller_new(enum hc_caller_kind kind, const char *name,
                                const char *const *groups, size_t group_count,
                                struct hc_error *err)
{
    size_t size =
        sizeof(struct hc_caller) + group_count * sizeof *groups + strlen(name) + 1;
    const char *kind_name = hc_caller_kind_name(kind);
    struct hc_caller *caller;
    const char **copies;
    char *end, *texts;

    size += strlen(kind_name) + 1;
    for (size_t i = 0; i < group_count; i++)
        size += strlen(groups[i]) + 1;
    caller = malloc(size);
    if (!caller) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    copies = (const char **)(caller + 1);
    end = texts = (char *)(copies + group_count);
    (void)text_append(&end, kind_name);
    *caller = (struct hc_caller){.kind = kind,
                                 .name = text_append(&end, name),
                                 .groups = copies,
                                 .group_count = group_count,
                                 .hash = caller_hash(kind, name)};
    atomic_init(&caller->holders, 1);
    for (size_t i = 0; i < group_count; i++)
        copies[i] = text_append(&end, groups[i]);
    caller->identity = (struct hc_identity){.kind = texts,
                                            .name = caller->name,
                                            .groups = copies,
                                            .group_count = group_count};
    caller->key = hc_keyed_hash_of_bytes(texts, (size_t)(end - texts));
    return caller;
}

struct hc_caller *hc_caller_hold(struct hc_caller *caller)
{
    if (caller)
        atomic_fetch_add_explicit(&caller->holders, 1, memory_order_relaxed);
    return caller;
}

void hc_caller_release(struct hc_caller *caller)
{
    if (caller && atomic_fetch_sub(&caller->holders, 1) == 1)
        free(caller);
}

const char *hc_caller_kind_name(enum hc_caller_kind kind)
{
    static const char *const names[] = {[HC_CALLER_TOKEN] = "token",
                                        [HC_CALLER_JWT] = "jwt",
                                        [HC_CALLER_UID] = "uid",
                                        [HC_CALLER_CERTIFICATE] = "certificate"};

    return names[kind];
}
