/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An array of slots by the hash of the path. One lock guards it, held for a comparison
 * and a copy; nothing is allocated or freed under it. The path and the text of a slot are
 * one allocation.
 */
#include "memo.h"

#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <string.h>

struct memo_slot {
    char *path; /* NULL: empty; the text follows its NUL */
    struct hc_file_state state;
};

struct hc_memo {
    struct {
        pthread_mutex_t lock;
        struct memo_slot slots[HC_MEMO_SLOTS];
    } shared;
};

/* The ctime, not the mtime: a program that writes in place may set that back. */
static struct hc_file_state memo_file_state(const struct stat *status)
{
    return hc_file_state_of(status, &status->st_ctim);
}

static struct memo_slot *memo_slot_of(struct hc_memo *memo, const char *path)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, path, strlen(path));

    return &memo->shared.slots[hash % HC_MEMO_SLOTS];
}

struct hc_memo *hc_memo_new(struct hc_error *err)
{
    struct hc_memo *memo = calloc(1, sizeof *memo);

    if (!memo) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&memo->shared.lock, NULL);
    return memo;
}

void hc_memo_free(struct hc_memo *memo)
{
    if (!memo)
        return;
    for (size_t i = 0; i < HC_MEMO_SLOTS; i++)
        free(memo->shared.slots[i].path);
    (void)pthread_mutex_destroy(&memo->shared.lock);
    free(memo);
}

bool hc_memo_find(struct hc_memo *memo, const char *path, const struct stat *status,
                  char *text, size_t size)
{
    struct hc_file_state state = memo_file_state(status);
    const struct memo_slot *slot = memo_slot_of(memo, path);

    HC_LOCKED(&memo->shared.lock);

    return slot->path && hc_file_state_equals(&slot->state, &state) &&
           strcmp(slot->path, path) == 0 &&
           hc_format(text, size, "%s", slot->path + strlen(path) + 1) >= 0;
}

/* "<path>\0<text>"; NULL when memory is short. */
static char *memo_join_texts(const char *path, const char *text)
{
    size_t path_size = strlen(path) + 1, text_size = strlen(text) + 1;
    char *joined = malloc(path_size + text_size);

    if (!joined)
        return NULL;
    memcpy(joined, path, path_size);
    memcpy(joined + path_size, text, text_size);
    return joined;
}

/* The text is copied before the lock is taken, and the one that it replaces freed
 * after. */
void hc_memo_store(struct hc_memo *memo, const char *path, const struct stat *status,
                   const char *text, time_t now_s)
{
    struct memo_slot *slot = memo_slot_of(memo, path);
    HC_AUTO_FREE char *replaced = NULL;
    char *joined;

    if (now_s - status->st_ctim.tv_sec < HC_MEMO_MIN_AGE_S ||
        strlen(text) > HC_MEMO_TEXT_MAX)
        return;
    joined = memo_join_texts(path, text);
    if (!joined)
        return;

    HC_LOCKED(&memo->shared.lock); /* released before `replaced` is freed */

    replaced = slot->path;
    slot->path = joined;
    slot->state = memo_file_state(status);
}
