/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A list, the listing used last in front, under one lock that is held for a walk along it
 * and never while a file is read. An item begins as being read; then it has a listing, or
 * is gone. The cache is one of the owners of a listing: when it is the only one, a caller
 * can become another only under the lock.
 */
#include "tree_cache.h"

#include <repo/tree.h>

#include <base/hash.h>
#include <base/text.h>

#include <pthread.h>
#include <string.h>
#include <sys/queue.h>

/* Which state of which file: a write changes size or time, a rename the inode. */
struct tree_file_state {
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtim;
};

struct cached_tree {
    TAILQ_ENTRY(cached_tree) link;
    uint64_t hash; /* of the path */
    struct tree_file_state state;
    struct hc_tree *tree; /* NULL: it is being read */
    size_t size;
    char path[];
};

struct hc_tree_cache {
    struct hc_tree_observer observer; /* first: a tree knows its cache by this alone */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t read; /* a reading has ended */
        TAILQ_HEAD(list, cached_tree) items;
        size_t count;
        size_t size;
        size_t budget;
    } shared;
};

static uint64_t path_hash(const char *path)
{
    return hc_hash_bytes(HC_HASH_START, path, strlen(path));
}

static struct tree_file_state tree_file_state_of(const struct stat *status)
{
    return (struct tree_file_state){status->st_dev, status->st_ino, status->st_size,
                                    status->st_mtim};
}

static bool tree_file_state_equals(const struct tree_file_state *a,
                                   const struct tree_file_state *b)
{
    return a->ino == b->ino && a->dev == b->dev && a->size == b->size &&
           a->mtim.tv_sec == b->mtim.tv_sec && a->mtim.tv_nsec == b->mtim.tv_nsec;
}

/* ---- under the lock ----------------------------------------------------------------- */

static struct cached_tree *cached_tree_find(struct hc_tree_cache *cache, const char *path)
{
    uint64_t hash = path_hash(path);
    struct cached_tree *item;

    TAILQ_FOREACH(item, &cache->shared.items, link)
    {
        if (item->hash == hash && strcmp(item->path, path) == 0)
            return item;
    }
    return NULL;
}

/* NULL when memory is short: then it is not kept, and that is all. */
static struct cached_tree *cached_tree_add(struct hc_tree_cache *cache, const char *path)
{
    size_t size = strlen(path) + 1;
    struct cached_tree *item = calloc(1, sizeof *item + size);

    if (!item)
        return NULL;
    memcpy(item->path, path, size);
    item->hash = path_hash(path);
    TAILQ_INSERT_HEAD(&cache->shared.items, item, link);
    cache->shared.count++;
    return item;
}

/* The cache gives up its share; the listing lives on while others have one. */
static void cached_tree_drop_listing(struct hc_tree_cache *cache,
                                     struct cached_tree *item)
{
    if (!item->tree)
        return;
    cache->shared.size -= item->size;
    hc_tree_unshare(hc_take(&item->tree));
}

static void cached_tree_remove(struct hc_tree_cache *cache, struct cached_tree *item)
{
    cached_tree_drop_listing(cache, item);
    TAILQ_REMOVE(&cache->shared.items, item, link);
    cache->shared.count--;
    free(item);
}

static void tree_cache_trim(struct hc_tree_cache *cache)
{
    struct cached_tree *item = TAILQ_LAST(&cache->shared.items, list);

    while (item && (cache->shared.size > cache->shared.budget ||
                    cache->shared.count > HC_TREE_CACHE_COUNT_MAX)) {
        struct cached_tree *before = TAILQ_PREV(item, list, link);

        if (item->tree && atomic_load(&item->tree->other_owners) == 0)
            cached_tree_remove(cache, item);
        item = before;
    }
}

static void cached_tree_set_listing(struct hc_tree_cache *cache, struct cached_tree *item,
                                    const struct stat *status, struct hc_tree *tree)
{
    tree->observer = &cache->observer;
    item->tree = hc_tree_share(tree);
    item->size = hc_tree_memory_bytes(tree);
    item->state = tree_file_state_of(status);
    cache->shared.size += item->size;
}

/* ---- the interface ------------------------------------------------------------------ */

static void lock(struct hc_tree_cache *cache)
{
    (void)pthread_mutex_lock(&cache->shared.lock);
}

static void unlock(struct hc_tree_cache *cache)
{
    (void)pthread_mutex_unlock(&cache->shared.lock);
}

static void tree_cache_on_share_released(struct hc_tree_observer *observer)
{
    struct hc_tree_cache *cache = (struct hc_tree_cache *)observer;

    lock(cache);
    tree_cache_trim(cache);
    unlock(cache);
}

struct hc_tree_cache *hc_tree_cache_new(size_t budget, struct hc_error *err)
{
    struct hc_tree_cache *cache = calloc(1, sizeof *cache);

    if (!cache) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&cache->shared.lock, NULL);
    (void)pthread_cond_init(&cache->shared.read, NULL);
    TAILQ_INIT(&cache->shared.items);
    cache->observer.share_released = tree_cache_on_share_released;
    cache->shared.budget = budget;
    return cache;
}

void hc_tree_cache_free(struct hc_tree_cache *cache)
{
    if (!cache)
        return;
    while (!TAILQ_EMPTY(&cache->shared.items))
        cached_tree_remove(cache, TAILQ_FIRST(&cache->shared.items));
    (void)pthread_cond_destroy(&cache->shared.read);
    (void)pthread_mutex_destroy(&cache->shared.lock);
    free(cache);
}

void hc_tree_cache_set_budget(struct hc_tree_cache *cache, size_t budget)
{
    lock(cache);
    cache->shared.budget = budget;
    tree_cache_trim(cache);
    unlock(cache);
}

int hc_tree_cache_find(struct hc_tree_cache *cache, const char *path,
                       const struct stat *status, struct hc_tree **tree)
{
    const struct tree_file_state state = tree_file_state_of(status);
    struct cached_tree *item;
    int found = 0;

    lock(cache);
    while ((item = cached_tree_find(cache, path)) && !item->tree)
        (void)pthread_cond_wait(&cache->shared.read, &cache->shared.lock);
    if (item && tree_file_state_equals(&item->state, &state)) {
        TAILQ_REMOVE(&cache->shared.items, item, link);
        TAILQ_INSERT_HEAD(&cache->shared.items, item, link);
        *tree = hc_tree_share(item->tree);
        found = 1;
    } else if (item) {
        cached_tree_drop_listing(cache, item); /* of an older file: it is read anew */
    } else {
        (void)cached_tree_add(cache, path);
    }
    unlock(cache);
    return found;
}

void hc_tree_cache_end_read(struct hc_tree_cache *cache, const char *path,
                            const struct stat *status, struct hc_tree *tree)
{
    struct cached_tree *item;

    lock(cache);
    item = cached_tree_find(cache, path);
    if (item && !item->tree && tree)
        cached_tree_set_listing(cache, item, status, tree);
    else if (item && !item->tree)
        cached_tree_remove(cache, item);
    tree_cache_trim(cache);
    (void)pthread_cond_broadcast(&cache->shared.read);
    unlock(cache);
}

void hc_tree_cache_put(struct hc_tree_cache *cache, const char *path,
                       const struct stat *status, struct hc_tree *tree)
{
    struct cached_tree *item;

    lock(cache);
    item = cached_tree_find(cache, path);
    if (item && item->tree) { /* one that is being read is its reader's */
        cached_tree_remove(cache, item);
        item = NULL;
    }
    if (!item && tree)
        item = cached_tree_add(cache, path);
    else
        item = NULL;
    if (item)
        cached_tree_set_listing(cache, item, status, tree);
    tree_cache_trim(cache);
    unlock(cache);
}

struct hc_tree *hc_tree_cache_get(struct hc_tree_cache *cache, const char *path)
{
    struct hc_tree *tree = NULL;
    const struct cached_tree *item;

    lock(cache);
    item = cached_tree_find(cache, path);
    if (item)
        tree = hc_tree_share(item->tree);
    unlock(cache);
    return tree;
}

size_t hc_tree_cache_bytes(struct hc_tree_cache *cache)
{
    size_t size;

    lock(cache);
    size = cache->shared.size;
    unlock(cache);
    return size;
}
