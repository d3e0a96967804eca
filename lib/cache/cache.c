/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root is resolved once and then used only through its descriptor: if another process
 * moves or remounts the path, nothing is written elsewhere.
 */
#include "cache.h"

#include "fetched_totals.h"
#include "memo.h"
#include "occupancy.h"
#include "tree_cache.h"
#include <base/free_space.h>
#include <base/heartbeat.h>

#include <base/file.h>
#include <base/text.h>
#include <hubcache/settings.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

enum { UUID_SIZE = 37 };

struct hc_cache {
    int fd;
    bool has_no_symlinks;
    struct hc_memo *memo;
    struct hc_fetched_totals *fetched_totals;
    struct hc_tree_cache *trees;
    struct hc_heartbeats *heartbeats;
    struct hc_free_space *free_space;
    struct hc_occupancy *occupancy;
    char id[UUID_SIZE];
    char root[PATH_MAX];
};

static const char cache_id_path[] = ".hubcache/cache-id";

/* The bytes of the reference client (§1.1). */
static const char cachedir_tag[] =
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This file is a cache directory tag created by huggingface_hub.\n"
    "# For information about cache directory tags, see:\n"
    "#\thttps://bford.info/cachedir/\n";

/* Of any version and in either case: only the shape makes it safe to print. */
static bool text_is_uuid(const char *text)
{
    static const char shape[UUID_SIZE] = "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh";
    size_t i = 0;

    for (; shape[i]; i++) {
        bool is_dash = text[i] == '-';
        bool is_hex = text[i] != '\0' && strchr("0123456789abcdefABCDEF", text[i]);

        if (shape[i] == '-' ? !is_dash : !is_hex)
            return false;
    }
    return text[i] == '\0';
}

/*
 * White space around it is fine: an operator may have written the file. 0: there is no
 * id.
 */
static int cache_id_read(int root, char id[UUID_SIZE], struct hc_error *err)
{
    char text[UUID_SIZE + 8];
    int found = hc_file_read(root, cache_id_path, text, sizeof text, err);

    if (found != 1)
        return found;
    if (!text_is_uuid(hc_text_trim(text)))
        return 0;
    memcpy(id, text, UUID_SIZE);
    return 1;
}

/* A random UUID (version 4, RFC 9562). */
static int uuid_generate(char uuid[UUID_SIZE], struct hc_error *err)
{
    unsigned char b[16];

    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        return hc_fail(err, HC_INTERNAL, "the system has no random numbers");
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    (void)
        hc_format(uuid, UUID_SIZE,
                  "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
                  b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10],
                  b[11], b[12], b[13], b[14], b[15]);
    return 0;
}

/*
 * Two processes may open a new cache at once and must agree on its id: link(2) fails for
 * one of them, and both read what the other wrote. Where the volume has no hard links, or
 * the file is damaged, rename(2) replaces it, and the last process wins.
 */
static int cache_id_create(struct hc_cache *cache, struct hc_error *err)
{
    char uuid[UUID_SIZE];
    char candidate[PATH_MAX];
    struct hc_error unused;

    if (uuid_generate(uuid, err) < 0 || hc_cache_private_path(candidate, err) < 0 ||
        hc_cache_publish(cache, candidate, uuid, strlen(uuid), err) < 0)
        return -1;
    if (linkat(cache->fd, candidate, cache->fd, cache_id_path, 0) < 0 &&
        cache_id_read(cache->fd, cache->id, &unused) != 1)
        (void)renameat(cache->fd, candidate, cache->fd, cache_id_path);
    (void)unlinkat(cache->fd, candidate, 0);
    return 0;
}

/* On a read-only volume without an id it stays empty, which clients take for
 * "unknown". */
static void cache_id_load(struct hc_cache *cache)
{
    struct hc_error unused;

    if (cache_id_read(cache->fd, cache->id, &unused) != 1 &&
        cache_id_create(cache, &unused) == 0)
        (void)cache_id_read(cache->fd, cache->id, &unused);
}

struct hc_cache *hc_cache_open(const char *dir, bool no_symlinks, struct hc_error *err)
{
    HC_AUTO(hc_cache) *cache = calloc(1, sizeof *cache);

    if (!cache) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    cache->fd = -1;
    cache->has_no_symlinks = no_symlinks;
    if (hc_file_mkdirs(AT_FDCWD, dir, err) < 0) {
        (void)hc_context(err, "cache directory '%s'", dir);
        return NULL;
    }
    if (!realpath(dir, cache->root)) {
        (void)hc_file_fail(err, errno, "open", AT_FDCWD, dir);
        (void)hc_context(err, "cache directory '%s'", dir);
        return NULL;
    }
    /* O_PATH: a root that may be entered but not listed is enough for readers. */
    cache->fd = open(cache->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (cache->fd < 0) {
        (void)hc_file_fail(err, errno, "open", AT_FDCWD, cache->root);
        return NULL;
    }
    cache->memo = hc_memo_new(err);
    cache->trees = cache->memo ? hc_tree_cache_new(HC_TREE_MEMORY, err) : NULL;
    cache->heartbeats = cache->trees ? hc_heartbeats_new(err) : NULL;
    cache->free_space = cache->heartbeats ? hc_free_space_new(err) : NULL;
    cache->fetched_totals = cache->free_space ? hc_fetched_totals_new(err) : NULL;
    cache->occupancy = cache->fetched_totals ? hc_occupancy_new(cache, err) : NULL;
    if (!cache->occupancy)
        return NULL;
    hc_free_space_set_occupied(cache->free_space, hc_occupancy_find, cache->occupancy);
    cache_id_load(cache);
    return hc_take(&cache);
}

static bool directory_is_same(int one, int other)
{
    struct stat a, b;

    return fstat(one, &a) == 0 && fstat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/*
 * Network file systems revalidate a file when it is opened, and directories much later:
 * so the id is read. It may have been removed with all the rest of the cache.
 */
int hc_cache_check(struct hc_cache *cache, struct hc_error *err)
{
    HC_AUTO_CLOSE int fd = open(cache->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    char id[UUID_SIZE] = "";

    if (fd < 0)
        return hc_file_fail(err, errno, "open", AT_FDCWD, cache->root);
    if (cache_id_read(fd, id, err) < 0)
        return hc_context(err, "cache directory '%s'", cache->root);
    if (directory_is_same(fd, cache->fd))
        return 0;
    if (!*id || strcmp(id, cache->id) != 0)
        return hc_fail(err, HC_CACHE_IO,
                       "'%s' is another directory than at the start, and %s: mount the "
                       "volume there again, or restart",
                       cache->root, *id ? "has another cache-id" : "has no cache-id");
    if (dup3(fd, cache->fd, O_CLOEXEC) < 0)
        return hc_fail_errno(err, errno, "open '%s' again", cache->root);
    return 0;
}

/* The heartbeats go first: their thread writes below the root. */
void hc_cache_close(struct hc_cache *cache)
{
    if (!cache)
        return;
    hc_free_space_free(cache->free_space);
    hc_occupancy_free(cache->occupancy);
    hc_heartbeats_free(cache->heartbeats);
    hc_auto_close(&cache->fd);
    hc_tree_cache_free(cache->trees);
    hc_fetched_totals_free(cache->fetched_totals);
    hc_memo_free(cache->memo);
    free(cache);
}

const char *hc_cache_root(const struct hc_cache *cache)
{
    return cache->root;
}

int hc_cache_fd(const struct hc_cache *cache)
{
    return cache->fd;
}

const char *hc_cache_id(const struct hc_cache *cache)
{
    return cache->id;
}

struct hc_fetched_totals *hc_cache_fetched_totals(const struct hc_cache *cache)
{
    return cache->fetched_totals;
}

struct hc_memo *hc_cache_memo(const struct hc_cache *cache)
{
    return cache->memo;
}

struct hc_tree_cache *hc_cache_trees(const struct hc_cache *cache)
{
    return cache->trees;
}

struct hc_heartbeats *hc_cache_heartbeats(const struct hc_cache *cache)
{
    return cache->heartbeats;
}

struct hc_occupancy *hc_cache_occupancy(const struct hc_cache *cache)
{
    return cache->occupancy;
}

struct hc_free_space *hc_cache_free_space(const struct hc_cache *cache)
{
    return cache->free_space;
}

bool hc_cache_has_no_symlinks(const struct hc_cache *cache)
{
    return cache->has_no_symlinks;
}

int hc_cache_snapshot_path(char out[PATH_MAX], const struct hc_repo *repo,
                           const char *commit, const char *path, struct hc_error *err)
{
    if (hc_format(out, PATH_MAX, "%s/snapshots/%s%s%s", repo->folder, commit,
                  path ? "/" : "", path ? path : "") < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "snapshot of '%s'", repo->id);
    return 0;
}

const char *hc_cache_parse_snapshot_path(const char *cache_path, struct hc_repo *repo)
{
    static const char middle[] = "/snapshots/";
    const char *end = strstr(cache_path, middle);
    char folder[HC_REPO_FOLDER_MAX + 1];

    return end &&
                   hc_format(folder, sizeof folder, "%.*s", (int)(end - cache_path),
                             cache_path) > 0 &&
                   hc_repo_parse_folder(repo, folder)
               ? end + sizeof middle - 1
               : NULL;
}

/* Checked although most callers have: an etag from the Hub may be any text (§1.2). */
int hc_cache_blob_path(char out[PATH_MAX], const struct hc_blob_id *blob,
                       struct hc_error *err)
{
    if (!hc_etag_is_valid(blob->etag))
        return hc_fail(err, HC_BAD_HUB_REPLY, "an etag of '%s' cannot name a file",
                       blob->folder);
    if (hc_format(out, PATH_MAX, "%s/blobs/%s", blob->folder, blob->etag) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "blob of '%s'", blob->folder);
    return 0;
}

/* The process id is for the reader of the directory; eight random digits make it
 * unique. */
int hc_cache_private_path(char out[PATH_MAX], struct hc_error *err)
{
    char owner[64];

    (void)hc_format(owner, sizeof owner, ".hubcache/tmp/%ld", (long)getpid());
    return hc_file_private_name(out, PATH_MAX, owner, "", err);
}

int hc_cache_publish(const struct hc_cache *cache, const char *path, const char *content,
                     size_t size, struct hc_error *err)
{
    char private[PATH_MAX];

    if (hc_cache_private_path(private, err) < 0)
        return -1;
    return hc_file_publish(cache->fd, private, path, content, size, err);
}

void hc_cache_write_tag(const struct hc_cache *cache)
{
    struct hc_error unused;

    if (faccessat(cache->fd, "CACHEDIR.TAG", F_OK, 0) < 0)
        (void)hc_cache_publish(cache, "CACHEDIR.TAG", cachedir_tag,
                               sizeof cachedir_tag - 1, &unused);
}
