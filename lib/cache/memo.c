/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An array of places by the hash of the path, guarded by one lock that is held for a
 * comparison and a copy. The path and the text of a place are one allocation.
 */
#include "memo.h"

#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <string.h>

/* Which state of which file: a write changes size or ctime, a rename the inode. */
struct memo_state {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec ctim;
};

struct memo_slot {
    char *path; /* NULL: empty; the text follows its NUL */
    struct memo_state state;
};

struct hc_memo {
    struct {
        pthread_mutex_t lock;
        struct memo_slot slots[HC_MEMO_SLOTS];
    } shared;
};

static struct memo_state memo_state_of(const struct stat *status)
{
    return (struct memo_state){status->st_dev, status->st_ino, status->st_size,
                               status->st_ctim};
}

static bool memo_state_equals(const struct memo_state *a, const struct memo_state *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->size == b->size &&
           a->ctim.tv_sec == b->ctim.tv_sec && a->ctim.tv_nsec == b->ctim.tv_nsec;
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
    struct memo_state state = memo_state_of(status);
    struct memo_slot *slot = memo_slot_of(memo, path);
    bool found;

    (void)pthread_mutex_lock(&memo->shared.lock);
    found = slot->path && memo_state_equals(&slot->state, &state) &&
            strcmp(slot->path, path) == 0 &&
            hc_format(text, size, "%s", slot->path + strlen(path) + 1) >= 0;
    (void)pthread_mutex_unlock(&memo->shared.lock);
    return found;
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

void hc_memo_store(struct hc_memo *memo, const char *path, const struct stat *status,
                   const char *text, time_t now_s)
{
    struct memo_slot *slot = memo_slot_of(memo, path);
    char *fresh = NULL, *old;

    if (now_s - status->st_ctim.tv_sec < HC_MEMO_MIN_AGE_S ||
        strlen(text) > HC_MEMO_TEXT_MAX)
        return;
    fresh = memo_join_texts(path, text);
    if (!fresh)
        return;
    (void)pthread_mutex_lock(&memo->shared.lock);
    old = slot->path;
    slot->path = fresh;
    slot->state = memo_state_of(status);
    (void)pthread_mutex_unlock(&memo->shared.lock);
    free(old);
}
