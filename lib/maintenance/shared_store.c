/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clients publish, link and collect a payload under its lock, <hash>.lock, so the
 * manifest is read with the lock held. A lock that is held means that a client is making
 * a link: the payload stays. Where the kernel has no flock (ENOSYS), the clients take
 * <hash>.lock.soft, which locks by being there.
 */
#include "shared_store.h"

#include <base/file.h>
#include <base/text.h>
#include <repo/name.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

enum {
    HASH_LENGTH = HC_PAYLOAD_HASH_SIZE - 1,
    PREFIX_LENGTH = 2,
    LINE_MAX_SIZE = PATH_MAX,
    LOCK_MODE = 0666,
    NAME_SIZE = HC_PAYLOAD_HASH_SIZE + 16
};

/* ---- names ------------------------------------------------------------------------- */

/* "<2 hex>/<64 hex>" at the end of a path, and nothing after it. */
static bool payload_parse_end(const char *end, char hash[HC_PAYLOAD_HASH_SIZE])
{
    const char *name = end + PREFIX_LENGTH + 1;

    if (strlen(end) != PREFIX_LENGTH + 1 + HASH_LENGTH || end[PREFIX_LENGTH] != '/' ||
        !hc_text_is_hex(name, HASH_LENGTH) || memcmp(end, name, PREFIX_LENGTH) != 0)
        return false;
    memcpy(hash, name, HC_PAYLOAD_HASH_SIZE);
    return true;
}

bool hc_payload_parse_link(const char *target, char hash[HC_PAYLOAD_HASH_SIZE])
{
    static const char start[] = "../../blobs/";

    return hc_text_starts(target, start) &&
           payload_parse_end(target + sizeof start - 1, hash);
}

/* "" when it cannot be read. */
static void link_read(int dir, const char *name, char target[PATH_MAX])
{
    ssize_t length = readlinkat(dir, name, target, PATH_MAX - 1);

    target[length < 0 ? 0 : length] = '\0';
}

bool hc_payload_read_link(int dir, const char *name, char hash[HC_PAYLOAD_HASH_SIZE])
{
    char target[PATH_MAX];

    link_read(dir, name, target);
    return hc_payload_parse_link(target, hash);
}

/* ---- the store --------------------------------------------------------------------- */

/* -1: there is no store that clients share. */
static int store_open(const struct hc_cache *cache)
{
    HC_AUTO_CLOSE int fd = hc_directory_open(hc_cache_fd(cache), "blobs");
    char marker[8];
    struct hc_error unused;
    int opened;

    if (fd < 0 ||
        hc_file_read(fd, ".huggingface-shared-blobs", marker, sizeof marker, &unused) !=
            1 ||
        strcmp(marker, "1\n") != 0)
        return -1;
    opened = fd;
    fd = -1;
    return opened;
}

/* The directory that holds the payload, or -1. */
static int payload_open_directory(const struct hc_cache *cache, const char *hash)
{
    HC_AUTO_CLOSE int store = store_open(cache);
    const char prefix[] = {hash[0], hash[1], '\0'};

    return store < 0 ? -1 : hc_directory_open(store, prefix);
}

static void payload_format_name(char name[NAME_SIZE], const char *hash,
                                const char *suffix)
{
    (void)hc_format(name, NAME_SIZE, "%s%s", hash, suffix);
}

/* ---- the manifest ------------------------------------------------------------------ */

/* Whether the line names a symlink to the payload: 1, 0; -1: that cannot be read. The
 * path of the target before the payload's own may be of another mount. */
static int manifest_line_resolves(const struct hc_cache *cache, const char *line,
                                  const char *hash)
{
    char path[LINE_MAX_SIZE], target[PATH_MAX], found[HC_PAYLOAD_HASH_SIZE];
    char *folder = path, *blob;
    size_t length;

    if (hc_format(path, sizeof path, "%s", line) < 0 || path[0] == '.')
        return 0;
    blob = strstr(path, "/blobs/");
    if (!blob || strchr(path, '/') != blob)
        return 0;
    *blob = '\0';
    blob += strlen("/blobs/");
    if (*blob == '\0' || *blob == '.' || strchr(blob, '/'))
        return 0;

    HC_AUTO_CLOSE int repo = hc_directory_open(hc_cache_fd(cache), folder);
    HC_AUTO_CLOSE int blobs = repo < 0 ? -1 : hc_directory_open(repo, "blobs");

    if (blobs < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -1;
    if (readlinkat(blobs, blob, target, sizeof target) < 0)
        return errno == ENOENT || errno == EINVAL ? 0 : -1;
    link_read(blobs, blob, target);
    length = strlen(target);
    return length > PREFIX_LENGTH + 1 + HASH_LENGTH &&
           payload_parse_end(target + length - HASH_LENGTH - PREFIX_LENGTH - 1, found) &&
           strcmp(found, hash) == 0;
}

static FILE *manifest_open(int dir, const char *hash)
{
    char name[NAME_SIZE];
    int fd;

    payload_format_name(name, hash, ".refs");
    fd = hc_file_open(dir, name, O_RDONLY, 0);
    return fd < 0 ? NULL : fdopen(fd, "r");
}

/* A line counts once: clients append one each time that they link the same blob. */
static bool strings_add_new(struct hc_strings *seen, const char *line)
{
    struct hc_error unused;

    for (size_t i = 0; i < seen->count; i++) {
        if (strcmp(seen->items[i], line) == 0)
            return false;
    }
    return hc_strings_add(seen, line, &unused) == 0;
}

/* -1: it cannot be read. */
static int64_t manifest_count(const struct hc_cache *cache, int dir, const char *hash)
{
    HC_AUTO_VALUE(hc_strings) seen = {0};
    HC_AUTO_FCLOSE FILE *file = manifest_open(dir, hash);
    char line[LINE_MAX_SIZE];
    int64_t count = 0;

    if (!file)
        return -1;
    while (fgets(line, sizeof line, file)) {
        int resolves;

        line[strcspn(line, "\r\n")] = '\0';
        resolves = manifest_line_resolves(cache, line, hash);
        if (resolves < 0)
            return -1;
        count += resolves == 1 && strings_add_new(&seen, line);
    }
    return ferror(file) ? -1 : count;
}

/* ---- the lock ---------------------------------------------------------------------- */

struct payload_lock {
    int dir; /* borrowed */
    int fd;
    char soft[NAME_SIZE]; /* "": locked by flock */
};

static void payload_unlock(struct payload_lock *lock)
{
    if (lock->soft[0])
        (void)unlinkat(lock->dir, lock->soft, 0);
    hc_auto_close(&lock->fd);
}

HC_DEFINE_AUTO_VALUE(payload_lock, payload_unlock)

/* 1; 0: a client has it; -1. */
static int payload_lock_soft(struct payload_lock *lock, const char *hash,
                             struct hc_error *err)
{
    char name[NAME_SIZE];
    int fd;

    payload_format_name(name, hash, ".lock.soft");
    fd = hc_file_create(lock->dir, name, O_WRONLY);
    if (fd < 0)
        return errno == EEXIST ? 0 : hc_fail_errno(err, errno, "create '%s'", name);
    (void)close(fd);
    memcpy(lock->soft, name, sizeof name);
    return 1;
}

static int payload_lock_take(struct payload_lock *lock, const char *hash,
                             struct hc_error *err)
{
    char name[NAME_SIZE];

    payload_format_name(name, hash, ".lock");
    lock->fd = hc_file_open(lock->dir, name, O_WRONLY | O_CREAT, LOCK_MODE);
    if (lock->fd < 0)
        return hc_fail_errno(err, errno, "open '%s'", name);
    (void)fchmod(lock->fd, LOCK_MODE); /* whatever the umask: other users lock it too */
    if (flock(lock->fd, LOCK_EX | LOCK_NB) == 0)
        return 1;
    if (errno == EWOULDBLOCK || errno == EINTR)
        return 0;
    return errno == ENOSYS ? payload_lock_soft(lock, hash, err)
                           : hc_fail_errno(err, errno, "lock '%s'", name);
}

/* ---- the interface ----------------------------------------------------------------- */

int64_t hc_payload_count_links(const struct hc_cache *cache, const char *hash,
                               struct stat *status)
{
    HC_AUTO_CLOSE int dir = payload_open_directory(cache, hash);

    if (dir < 0 || fstatat(dir, hash, status, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(status->st_mode))
        return -1;
    return manifest_count(cache, dir, hash);
}

static int manifest_call(const char *line, hc_payload_link_fn user, void *ctx,
                         struct hc_error *err)
{
    char folder[LINE_MAX_SIZE];
    const char *end = strchr(line, '/');
    const char *etag = end ? end + strlen("/blobs/") : "";

    if (!hc_etag_is_valid(etag) ||
        hc_format(folder, sizeof folder, "%.*s", (int)(end - line), line) < 0)
        return 0;
    return user(ctx, &(const struct hc_blob_id){folder, etag}, err);
}

int hc_payload_each_link(const struct hc_cache *cache, const char *hash,
                         hc_payload_link_fn user, void *ctx, struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = payload_open_directory(cache, hash);
    HC_AUTO_VALUE(hc_strings) seen = {0};
    HC_AUTO_FCLOSE FILE *file = dir < 0 ? NULL : manifest_open(dir, hash);
    char line[LINE_MAX_SIZE];

    if (!file)
        return hc_fail(err, HC_CACHE_IO, "payload '%s' has no manifest", hash);
    while (fgets(line, sizeof line, file)) {
        int resolves;

        line[strcspn(line, "\r\n")] = '\0';
        resolves = manifest_line_resolves(cache, line, hash);
        if (resolves < 0)
            return hc_fail(err, HC_CACHE_IO, "'%s' cannot be read", line);
        if (resolves == 1 && strings_add_new(&seen, line) &&
            manifest_call(line, user, ctx, err) < 0)
            return -1;
    }
    return ferror(file) ? hc_fail(err, HC_CACHE_IO, "manifest of '%s'", hash) : 0;
}

int hc_payload_with_lock(const struct hc_cache *cache, const char *hash,
                         int (*run)(void *ctx, const char *hash, struct hc_error *err),
                         void *ctx, struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = payload_open_directory(cache, hash);
    HC_AUTO_VALUE(payload_lock) lock = {.dir = dir, .fd = -1};
    int locked = dir < 0 ? 0 : payload_lock_take(&lock, hash, err);

    return locked == 1 ? run(ctx, hash, err) : locked;
}

int hc_payload_remove_unused(const struct hc_cache *cache, const char *hash,
                             struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = payload_open_directory(cache, hash);
    HC_AUTO_VALUE(payload_lock) lock = {.dir = dir, .fd = -1};
    char manifest[NAME_SIZE];
    int locked;

    if (dir < 0 || manifest_count(cache, dir, hash) != 0)
        return 0;
    locked = payload_lock_take(&lock, hash, err);
    if (locked <= 0)
        return locked;
    if (manifest_count(cache, dir, hash) != 0)
        return 0;
    if (unlinkat(dir, hash, 0) < 0)
        return errno == ENOENT ? 0 : hc_fail_errno(err, errno, "remove '%s'", hash);
    payload_format_name(manifest, hash, ".refs");
    (void)unlinkat(dir, manifest, 0);
    return 1;
}

struct hc_directory_walk hc_payload_walk(const struct hc_cache *cache)
{
    HC_AUTO_CLOSE int store = store_open(cache);

    return hc_directory_walk(store, ".", 1);
}

bool hc_payload_walk_next(struct hc_directory_walk *walk, char hash[HC_PAYLOAD_HASH_SIZE])
{
    while (hc_directory_walk_next(walk)) {
        if (S_ISREG(walk->type) && payload_parse_end(walk->path, hash))
            return true;
    }
    return false;
}
