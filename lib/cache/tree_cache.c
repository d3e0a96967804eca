/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In memory, the listings are a list, the one used last in front, under one lock that is
 * held for a walk along it and never across I/O. An item is in one of two states:
 *
 *     being read    from the thread that found neither a listing nor an item, or an older
 *                   one, to its call of tree_cache_end_read; other threads wait
 *     read          from then on, or from hc_tree_save; it has the listing
 *
 * and is removed when the file could not be read, was dropped, or is over the budget.
 *
 * The cache is one of the owners of a listing: if it is the only one, another thread can
 * become an owner only under the lock, so that a listing is trimmed only when it is
 * unused.
 */
#include "tree_cache.h"

#include "memo.h"

#include <base/file.h>
#include <base/hash.h>
#include <base/json.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

struct cached_tree {
    TAILQ_ENTRY(cached_tree) link;
    uint64_t hash;              /* of the path */
    struct hc_file_state state; /* of the file that was read */
    struct hc_tree *tree;       /* NULL: it is being read */
    size_t size;
    char path[];
};

struct hc_tree_cache {
    struct hc_tree_observer observer; /* first: a tree knows its cache by this alone */
    struct {
        pthread_mutex_t lock;
        pthread_cond_t read; /* an item is no longer being read */
        TAILQ_HEAD(list, cached_tree) items;
        size_t count;
        size_t size;
        size_t budget;
    } shared;
};

/* The mtime, not the ctime: a rename sets that, and hc_tree_save stats before it. */
static struct hc_file_state tree_file_state(const struct stat *status)
{
    return hc_file_state_of(status, &status->st_mtim);
}

static uint64_t path_hash(const char *path)
{
    return hc_hash_bytes(HC_HASH_START, path, strlen(path));
}

/* ---- under the lock ---------------------------------------------------------------- */

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

/* NULL when memory is short: then the listing is not kept, and each caller reads it. */
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
    item->state = tree_file_state(status);
    cache->shared.size += item->size;
}

static void tree_cache_on_share_released(struct hc_tree_observer *observer)
{
    struct hc_tree_cache *cache = (struct hc_tree_cache *)observer;

    HC_LOCKED(&cache->shared.lock);

    tree_cache_trim(cache);
}

/* ---- the listings in memory, by the path of their file ----------------------------- */

/*
 * 1 and a share of the listing in the state that `status` shows; the caller frees it. 0
 * when the caller has to read it, and then calls tree_cache_end_read in every case: other
 * threads wait for that. -1 when the caller left while another thread read it.
 */
static int tree_cache_find_or_begin_read(struct hc_tree_cache *cache, const char *path,
                                         const struct stat *status,
                                         struct hc_cancellation *cancellation,
                                         struct hc_tree **tree, struct hc_error *err)
{
    const struct hc_file_state state = tree_file_state(status);
    struct cached_tree *item;

    HC_LOCKED(&cache->shared.lock);

    while ((item = cached_tree_find(cache, path)) && !item->tree) {
        if (hc_cancellation_wait(cancellation, &cache->shared.read, &cache->shared.lock,
                                 HC_NO_DEADLINE, err) < 0)
            return -1;
    }
    if (item && hc_file_state_equals(&item->state, &state)) {
        TAILQ_REMOVE(&cache->shared.items, item, link);
        TAILQ_INSERT_HEAD(&cache->shared.items, item, link);
        *tree = hc_tree_share(item->tree);
        return 1;
    }
    if (item)
        cached_tree_drop_listing(cache, item); /* of an older file */
    else
        (void)cached_tree_add(cache, path);
    return 0;
}

/* Shares what was read; NULL: nothing of use. */
static void tree_cache_end_read(struct hc_tree_cache *cache, const char *path,
                                const struct stat *status, struct hc_tree *tree)
{
    struct cached_tree *item;

    HC_LOCKED(&cache->shared.lock);

    item = cached_tree_find(cache, path);
    if (item && !item->tree && tree)
        cached_tree_set_listing(cache, item, status, tree);
    else if (item && !item->tree)
        cached_tree_remove(cache, item);
    tree_cache_trim(cache);
    (void)pthread_cond_broadcast(&cache->shared.read);
}

/* Shares what was just written to `path`, or with NULL forgets what was read there. */
static void tree_cache_put(struct hc_tree_cache *cache, const char *path,
                           const struct stat *status, struct hc_tree *tree)
{
    struct cached_tree *item;

    HC_LOCKED(&cache->shared.lock);

    item = cached_tree_find(cache, path);
    if (item && item->tree) { /* one that is being read is left to its reader */
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
}

/* A share of what was put to `path`, whatever its state; NULL: nothing. */
static struct hc_tree *tree_cache_get(struct hc_tree_cache *cache, const char *path)
{
    const struct cached_tree *item;

    HC_LOCKED(&cache->shared.lock);

    item = cached_tree_find(cache, path);
    return item ? hc_tree_share(item->tree) : NULL;
}

struct hc_tree_cache *hc_tree_cache_new(size_t budget, struct hc_error *err)
{
    struct hc_tree_cache *cache = calloc(1, sizeof *cache);

    if (!cache) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&cache->shared.lock, NULL);
    hc_condition_init(&cache->shared.read);
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
    HC_LOCKED(&cache->shared.lock);

    cache->shared.budget = budget;
    tree_cache_trim(cache);
}

size_t hc_tree_cache_bytes(struct hc_tree_cache *cache)
{
    HC_LOCKED(&cache->shared.lock);

    return cache->shared.size;
}

/* ---- the file ---------------------------------------------------------------------- */

static int tree_format_path(char path[PATH_MAX], const struct hc_repo *repo,
                            const char *commit, struct hc_error *err)
{
    if (hc_format(path, PATH_MAX, "%s/trees/%s.json", repo->folder, commit) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "listing of '%s'", repo->id);
    return 0;
}

static bool tree_file_is_listing(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_size <= HC_TREE_BYTES_MAX;
}

/*
 * The file's listing, and its state when that was read; NULL: nothing of use. The
 * reference client writes listings with mode 0600 (§1.1): one that may not be read is
 * absent.
 */
static struct hc_tree *tree_read_file(const struct hc_cache *cache, const char *path,
                                      struct stat *status)
{
    HC_AUTO_CLOSE int fd = hc_file_open(hc_cache_fd(cache), path, O_RDONLY, 0);
    HC_AUTO_VALUE(hc_json) json = {.fd = -1};
    struct hc_error unused;

    if (fd < 0 || fstat(fd, status) < 0 || !tree_file_is_listing(status) ||
        hc_json_from_file(&json, fd, &unused) < 0)
        return NULL;
    return hc_tree_read_json(&json);
}

int hc_tree_load(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_cancellation *cancellation,
                 struct hc_tree **tree, struct hc_error *err)
{
    struct hc_tree_cache *trees = hc_cache_trees(cache);
    char path[PATH_MAX];
    struct stat status;
    int found;

    if (tree_format_path(path, repo, commit, err) < 0)
        return -1;
    if (fstatat(hc_cache_fd(cache), path, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        !tree_file_is_listing(&status))
        return 0;
    found = tree_cache_find_or_begin_read(trees, path, &status, cancellation, tree, err);
    if (found != 0)
        return found;
    *tree = tree_read_file(cache, path, &status);
    tree_cache_end_read(trees, path, &status, *tree);
    return *tree ? 1 : 0;
}

struct hc_tree *hc_tree_recall(const struct hc_cache *cache, const struct hc_repo *repo,
                               const char *commit)
{
    char path[PATH_MAX];
    struct hc_error unused;

    return tree_format_path(path, repo, commit, &unused) < 0
               ? NULL
               : tree_cache_get(hc_cache_trees(cache), path);
}

int hc_tree_read(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree **tree, struct hc_error *err)
{
    char path[PATH_MAX];
    struct stat status;

    if (tree_format_path(path, repo, commit, err) < 0)
        return -1;
    *tree = tree_read_file(cache, path, &status);
    return *tree ? 1 : 0;
}

/* Writes and flushes a new file; on failure nothing is left behind. */
static int tree_write_file(const struct hc_cache *cache, const char *path,
                           const struct hc_tree *tree, struct stat *status,
                           struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    int fd = hc_file_create(root, path, O_WRONLY);
    FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
    int cause = 0;

    if (!out) {
        (void)hc_file_fail(err, errno, "create", root, path);
        hc_auto_close(&fd);
        return -1;
    }
    hc_tree_write_json(tree, out);
    if (fflush(out) != 0 || fsync(fd) < 0 || fstat(fd, status) < 0)
        cause = errno;
    else if (ferror(out))
        cause = EIO;
    (void)fclose(out);
    if (cause == 0)
        return 0;
    (void)unlinkat(root, path, 0);
    return hc_fail_errno(err, cause, "write '%s'", path);
}

/* With snapshots/ beside it: the reference client's scanner calls a repo without corrupt,
 * and the download may fail. */
int hc_tree_save(const struct hc_cache *cache, const struct hc_repo *repo,
                 const char *commit, struct hc_tree *tree, struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    char path[PATH_MAX], private[PATH_MAX], snapshot[PATH_MAX];
    struct stat status;

    if (tree_format_path(path, repo, commit, err) < 0 ||
        hc_cache_private_path(private, err) < 0 ||
        hc_cache_snapshot_path(snapshot, repo, commit, NULL, err) < 0 ||
        hc_file_mkparents(root, snapshot, err) < 0 ||
        hc_file_mkparents(root, private, err) < 0 ||
        hc_file_mkparents(root, path, err) < 0 ||
        tree_write_file(cache, private, tree, &status, err) < 0)
        return -1;
    if (renameat(root, private, root, path) < 0) {
        (void)hc_file_fail(err, errno, "rename to", root, path);
        (void)unlinkat(root, private, 0);
        return -1;
    }
    tree_cache_put(hc_cache_trees(cache), path, &status, tree);
    hc_memo_forget(hc_cache_memo(cache), path);
    return 0;
}

void hc_tree_drop(const struct hc_cache *cache, const struct hc_repo *repo,
                  const char *commit)
{
    struct hc_error unused;
    char path[PATH_MAX];

    if (tree_format_path(path, repo, commit, &unused) < 0)
        return;
    (void)unlinkat(hc_cache_fd(cache), path, 0);
    tree_cache_put(hc_cache_trees(cache), path, NULL, NULL);
    hc_memo_forget(hc_cache_memo(cache), path);
}

void hc_tree_end_term(const struct hc_cache *cache, const struct hc_repo *repo,
                      const char *commit)
{
    struct hc_error unused;
    char path[PATH_MAX];

    if (tree_format_path(path, repo, commit, &unused) == 0)
        hc_memo_forget(hc_cache_memo(cache), path);
}

/* The memo counts what this process writes, whether it has an entry of the path or
 * not. */
struct hc_memo_term hc_tree_term(const struct hc_cache *cache, const struct hc_repo *repo,
                                 const char *commit)
{
    const struct hc_memo *memo = hc_cache_memo(cache);
    struct hc_memo_look look;
    struct hc_error unused;
    char path[PATH_MAX];

    (void)tree_format_path(path, repo, commit, &unused); /* "" if it is too long */
    look = hc_memo_begin_look(memo, path);
    return hc_memo_look_term(memo, &look);
}

/* ---- names that a listing must have: kept beside the listings, under no file's path  */

static bool tree_format_names_key(char path[PATH_MAX], const struct hc_repo *repo,
                                  const char *commit)
{
    return hc_format(path, PATH_MAX, "names of %s/%s", repo->folder, commit) > 0;
}

void hc_tree_expect_names(const struct hc_cache *cache, const struct hc_repo *repo,
                          const char *commit, struct hc_tree *names)
{
    char path[PATH_MAX];

    if (tree_format_names_key(path, repo, commit))
        tree_cache_put(hc_cache_trees(cache), path, &(const struct stat){0}, names);
}

struct hc_tree *hc_tree_expected_names(const struct hc_cache *cache,
                                       const struct hc_repo *repo, const char *commit)
{
    char path[PATH_MAX];

    return tree_format_names_key(path, repo, commit)
               ? tree_cache_get(hc_cache_trees(cache), path)
               : NULL;
}
