/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An array of places by the hash of the path, guarded by one lock that is held for a
 * comparison and a copy. The path and the text of a place are one allocation.
 */
#include "memo.h"

#include <base/text.h>

#include <pthread.h>
#include <string.h>

/* Which state of which file: a write changes size or ctime, a rename the inode. */
struct state {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec ctim;
};

struct place {
    char *path; /* NULL: empty; the text follows its NUL */
    struct state state;
};

struct hc_memo {
    struct {
        pthread_mutex_t lock;
        struct place places[HC_MEMO_PLACES];
    } shared;
};

static struct state state_of(const struct stat *status)
{
    return (struct state){status->st_dev, status->st_ino, status->st_size,
                          status->st_ctim};
}

static bool is_same(const struct state *a, const struct state *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->size == b->size &&
           a->ctim.tv_sec == b->ctim.tv_sec && a->ctim.tv_nsec == b->ctim.tv_nsec;
}

static struct place *place_of(struct hc_memo *memo, const char *path)
{
    uint64_t hash = hc_hash_bytes(HC_HASH_START, path, strlen(path));

    return &memo->shared.places[hash % HC_MEMO_PLACES];
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
    for (size_t i = 0; i < HC_MEMO_PLACES; i++)
        free(memo->shared.places[i].path);
    (void)pthread_mutex_destroy(&memo->shared.lock);
    free(memo);
}

bool hc_memo_recall(struct hc_memo *memo, const char *path, const struct stat *status,
                    char *text, size_t size)
{
    struct state state = state_of(status);
    struct place *place = place_of(memo, path);
    bool found;

    (void)pthread_mutex_lock(&memo->shared.lock);
    found = place->path && is_same(&place->state, &state) &&
            strcmp(place->path, path) == 0 &&
            hc_format(text, size, "%s", place->path + strlen(path) + 1) >= 0;
    (void)pthread_mutex_unlock(&memo->shared.lock);
    return found;
}

/* "<path>\0<text>"; NULL when memory is short. */
static char *join(const char *path, const char *text)
{
    size_t path_size = strlen(path) + 1, text_size = strlen(text) + 1;
    char *joined = malloc(path_size + text_size);

    if (!joined)
        return NULL;
    memcpy(joined, path, path_size);
    memcpy(joined + path_size, text, text_size);
    return joined;
}

void hc_memo_keep(struct hc_memo *memo, const char *path, const struct stat *status,
                  const char *text, time_t now_s)
{
    struct place *place = place_of(memo, path);
    char *fresh = NULL, *old;

    if (now_s - status->st_ctim.tv_sec < HC_MEMO_SETTLED_S ||
        strlen(text) > HC_MEMO_TEXT_MAX)
        return;
    fresh = join(path, text);
    if (!fresh)
        return;
    (void)pthread_mutex_lock(&memo->shared.lock);
    old = place->path;
    place->path = fresh;
    place->state = state_of(status);
    (void)pthread_mutex_unlock(&memo->shared.lock);
    free(old);
}
