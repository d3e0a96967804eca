/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A claim is written under a private name, renamed to its place and then only rewritten
 * through its descriptor: should somebody else claim the same blob (a volume without
 * flock), each beats into a file of its own, and drop removes the name only while it is
 * still ours. Nothing is flushed: a claim that power loss eats was advice.
 *
 * The sweep believes nothing it reads. It opens directories without following symlinks
 * and removes only names of the shape "<etag>.<8 hex>.incomplete" beside the etag's own
 * blob.
 */
#include "claim.h"

#include "lock.h"
#include "process.h"

#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum {
    BEAT_MS = 5000,
    TEXT_SIZE = 1024,
    DIRECTORY_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
};

static const char transfers_path[] = ".hubcache/transfers";

struct hc_claim {
    int root; /* borrowed from the cache */
    int fd;   /* -1 when no claim could be written */
    int64_t beat_ms;
    struct hc_process owner;
    char incomplete[NAME_MAX + 1];
    char path[PATH_MAX];
};

/* What a claim says. */
struct record {
    struct hc_process owner;
    char incomplete[NAME_MAX + 1];
    int64_t beat_ms; /* since the epoch */
};

/* The value of the line "<key>=<value>". */
static bool find_field(const char *text, const char *key, char *value, size_t size)
{
    size_t length = strlen(key);

    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, length) == 0 && line[length] == '=') {
            const char *start = line + length + 1;

            return hc_format(value, size, "%.*s", (int)strcspn(start, "\n"), start) >= 0;
        }
    }
    return false;
}

static bool find_number(const char *text, const char *key, uint64_t *number)
{
    char value[24];
    char *end;

    if (!find_field(text, key, value, sizeof value) || value[0] < '0' || value[0] > '9')
        return false;
    *number = strtoull(value, &end, 10);
    return *end == '\0';
}

static int64_t mtime_ms(const struct stat *status)
{
    return status->st_mtim.tv_sec * 1000 + status->st_mtim.tv_nsec / 1000000;
}

static bool read_record(int root, const char *path, struct record *record)
{
    char text[TEXT_SIZE];
    struct stat status;
    struct hc_error unused;

    if (hc_file_read_stat(root, path, text, sizeof text, &status, &unused) != 1)
        return false;
    record->beat_ms = mtime_ms(&status);
    return find_field(text, "host", record->owner.host, sizeof record->owner.host) &&
           find_number(text, "pid", &record->owner.pid) &&
           find_number(text, "start", &record->owner.start) &&
           find_field(text, "incomplete", record->incomplete, sizeof record->incomplete);
}

static bool is_abandoned(const struct record *record, int64_t now_ms)
{
    if (hc_process_is_local(&record->owner))
        return !hc_process_is_alive(&record->owner);
    return now_ms - record->beat_ms > HC_CLAIM_STALE_MS;
}

/* "<etag>.<8 hex>.incomplete". */
static bool is_incomplete_of(const char *name, const char *etag)
{
    size_t length = strlen(etag);

    return hc_etag_is_valid(etag) && hc_text_starts(name, etag) && name[length] == '.' &&
           strspn(name + length + 1, "0123456789abcdef") == 8 &&
           strcmp(name + length + 9, ".incomplete") == 0;
}

/* Removes a file of <folder>/blobs; no part of that path may be a symlink. */
static bool unlink_incomplete(int root, const char *folder, const char *name)
{
    HC_AUTO_CLOSE int repo = openat(root, folder, DIRECTORY_FLAGS);
    HC_AUTO_CLOSE int blobs = repo < 0 ? -1 : openat(repo, "blobs", DIRECTORY_FLAGS);

    return blobs >= 0 && unlinkat(blobs, name, 0) == 0;
}

static int64_t now_ms_of_day(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Our claim would hide an older one, and with it what its owner left behind. */
static void sweep_predecessor(const struct hc_claim *claim, const char *folder,
                              const char *etag)
{
    struct record record;

    if (read_record(claim->root, claim->path, &record) &&
        is_abandoned(&record, now_ms_of_day()) &&
        is_incomplete_of(record.incomplete, etag))
        (void)unlink_incomplete(claim->root, folder, record.incomplete);
}

static int write_text(const struct hc_claim *claim, uint64_t bytes_done)
{
    char text[TEXT_SIZE];
    int length = hc_format(text, sizeof text,
                           "host=%s\npid=%" PRIu64 "\nstart=%" PRIu64
                           "\nincomplete=%s\nbytes=%" PRIu64 "\n",
                           claim->owner.host, claim->owner.pid, claim->owner.start,
                           claim->incomplete, bytes_done);

    if (length < 0 || pwrite(claim->fd, text, (size_t)length, 0) != length)
        return -1;
    return ftruncate(claim->fd, length);
}

/* Puts the claim in its place, or leaves it without a file. */
static void publish(struct hc_claim *claim)
{
    char private[PATH_MAX];
    struct hc_error unused;

    if (hc_cache_private_path(private, &unused) < 0 ||
        hc_file_mkparents(claim->root, private, &unused) < 0 ||
        hc_file_mkparents(claim->root, claim->path, &unused) < 0)
        return;
    claim->fd = openat(claim->root, private,
                       O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (claim->fd < 0)
        return;
    if (write_text(claim, 0) < 0 ||
        renameat(claim->root, private, claim->root, claim->path) < 0)
        (void)unlinkat(claim->root, private, 0);
}

struct hc_claim *hc_claim_make(const struct hc_cache *cache, const struct hc_repo *repo,
                               const char *etag, const char *incomplete,
                               struct hc_error *err)
{
    HC_AUTO(hc_claim) *claim = calloc(1, sizeof *claim);

    if (!claim) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    claim->root = hc_cache_fd(cache);
    claim->fd = -1;
    claim->beat_ms = hc_monotonic_ms();
    claim->owner = hc_process_self();
    if (hc_format(claim->incomplete, sizeof claim->incomplete, "%s", incomplete) < 0 ||
        hc_format(claim->path, sizeof claim->path, "%s/%s/%s", transfers_path,
                  repo->folder, etag) < 0)
        return hc_take(&claim);
    sweep_predecessor(claim, repo->folder, etag);
    publish(claim);
    return hc_take(&claim);
}

void hc_claim_beat(struct hc_claim *claim, uint64_t bytes_done)
{
    int64_t now_ms = hc_monotonic_ms();

    if (claim->fd < 0 || now_ms - claim->beat_ms < BEAT_MS)
        return;
    claim->beat_ms = now_ms;
    (void)write_text(claim, bytes_done);
}

void hc_claim_drop(struct hc_claim *claim)
{
    struct stat ours, theirs;

    if (!claim)
        return;
    if (claim->fd >= 0 && fstat(claim->fd, &ours) == 0 &&
        fstatat(claim->root, claim->path, &theirs, AT_SYMLINK_NOFOLLOW) == 0 &&
        ours.st_ino == theirs.st_ino && ours.st_dev == theirs.st_dev)
        (void)unlinkat(claim->root, claim->path, 0);
    hc_auto_close(&claim->fd);
    free(claim);
}

/* Takes over `fd`. */
static DIR *open_stream(int fd)
{
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);

    if (!dir)
        hc_auto_close(&fd);
    return dir;
}

/* The next name of a directory that does not start with a dot. */
static const char *next_name(DIR *dir)
{
    const struct dirent *entry;

    do
        entry = readdir(dir); /* each stream belongs to one thread */
    while (entry && entry->d_name[0] == '.');
    return entry ? entry->d_name : NULL;
}

static unsigned sweep_claim(const struct hc_cache *cache, const char *folder,
                            const char *etag, int64_t now_ms)
{
    int root = hc_cache_fd(cache);
    char path[PATH_MAX];
    struct record record;
    unsigned removed;

    if (hc_format(path, sizeof path, "%s/%s/%s", transfers_path, folder, etag) < 0 ||
        !read_record(root, path, &record) || !is_abandoned(&record, now_ms) ||
        !is_incomplete_of(record.incomplete, etag) ||
        hc_lock_is_held(cache, folder, etag))
        return 0;
    removed = unlink_incomplete(root, folder, record.incomplete) ? 1 : 0;
    (void)unlinkat(root, path, 0);
    return removed;
}

static unsigned sweep_folder(const struct hc_cache *cache, int transfers,
                             const char *folder, int64_t now_ms)
{
    HC_AUTO_CLOSEDIR DIR *dir = open_stream(openat(transfers, folder, DIRECTORY_FLAGS));
    unsigned removed = 0;

    for (const char *etag = dir ? next_name(dir) : NULL; etag; etag = next_name(dir))
        removed += sweep_claim(cache, folder, etag, now_ms);
    return removed;
}

static unsigned sweep_claims(const struct hc_cache *cache, int hubcache, int64_t now_ms)
{
    int fd = openat(hubcache, "transfers", DIRECTORY_FLAGS);
    HC_AUTO_CLOSEDIR DIR *dir = open_stream(fd);
    unsigned removed = 0;

    if (!dir)
        return 0;
    for (const char *folder = next_name(dir); folder; folder = next_name(dir))
        removed += sweep_folder(cache, fd, folder, now_ms);
    return removed;
}

static unsigned sweep_private(int hubcache, int64_t now_ms)
{
    int fd = openat(hubcache, "tmp", DIRECTORY_FLAGS);
    HC_AUTO_CLOSEDIR DIR *dir = open_stream(fd);
    unsigned removed = 0;
    struct stat status;

    if (!dir)
        return 0;
    for (const char *name = next_name(dir); name; name = next_name(dir)) {
        if (fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            now_ms - mtime_ms(&status) > HC_CLAIM_STALE_MS && unlinkat(fd, name, 0) == 0)
            removed++;
    }
    return removed;
}

unsigned hc_claim_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    HC_AUTO_CLOSE int hubcache = openat(hc_cache_fd(cache), ".hubcache", DIRECTORY_FLAGS);

    if (hubcache < 0)
        return 0;
    return sweep_claims(cache, hubcache, now_ms) + sweep_private(hubcache, now_ms);
}
