/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every lease is written under a private name, dated, flushed, and renamed into the
 * directory of its revision by that directory's descriptor. The directory may have been
 * removed meanwhile, by a sweep or because a bar took its place: then rename(2) fails,
 * and the directory is opened anew. The time of the private file's creation is "now" by
 * the clock of the volume.
 */
#include "lease.h"

#include "claim_record.h"
#include "lease_bar.h"
#include "lease_directory.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { ATTEMPTS = 8 };

/* ---- writing ----------------------------------------------------------------------- */

static struct timespec lease_timespec(int64_t time_ms)
{
    return (struct timespec){.tv_sec = time_ms / 1000,
                             .tv_nsec = time_ms % 1000 * 1000000};
}

/* Writes, dates and flushes the file `fd`, which was created just now. */
static int lease_fill(int fd, struct hc_lease *lease, int64_t duration_ms,
                      struct hc_error *err)
{
    int64_t now_ms = hc_volume_written_ms(fd);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
    HC_AUTO_FREE char *content = NULL;

    if (lease->since_ms == 0)
        lease->since_ms = now_ms;
    lease->until_ms = now_ms + duration_ms;
    times[1] = lease_timespec(lease->until_ms);
    content = hc_lease_record_format(lease, err);
    if (!content || hc_file_write_all(fd, content, strlen(content), err) < 0)
        return -1;
    if (futimens(fd, times) < 0)
        return hc_fail_errno(err, errno, "date");
    if (fsync(fd) < 0)
        return hc_fail_errno(err, errno, "fsync");
    return 0;
}

/* The whole file under a private name. On failure nothing is left behind. */
static int lease_write_private(const struct hc_cache *cache, struct hc_lease *lease,
                               int64_t duration_ms, char private[PATH_MAX],
                               struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    HC_AUTO_CLOSE int fd = -1;

    if (hc_cache_private_path(private, err) < 0)
        return -1;
    fd = hc_file_create_below(root, private, O_WRONLY, err);
    if (fd < 0)
        return -1;
    if (lease_fill(fd, lease, duration_ms, err) == 0)
        return 0;
    (void)unlinkat(root, private, 0);
    return hc_context(err, "'%s'", private);
}

/* Gives the private file its name in `dir`: 1; 0 when the directory is gone; -1. */
static int lease_put_in_place(const struct hc_cache *cache, int dir, const char *private,
                              const struct hc_lease *lease, struct hc_error *err)
{
    const char *name = hc_lease_id_name(lease->id);
    int errnum;

    if (renameat(hc_cache_fd(cache), private, dir, name) == 0)
        return 1;
    errnum = errno;
    (void)unlinkat(hc_cache_fd(cache), private, 0);
    if (hc_lease_directory_is_gone(errnum))
        return 0;
    return hc_fail_errno(err, errnum, "rename to " HC_LEASES_PATH);
}

/* Whether a lease that has its name now is good: 1; 0 when the revision is barred; -1
 * when its name could not be flushed. Unless 1, it is withdrawn. */
static int lease_confirm(int dir, const struct hc_lease *lease, int64_t now_ms,
                         struct hc_error *err)
{
    bool is_barred = hc_lease_directory_is_barred(dir, now_ms);

    if (!is_barred && hc_directory_sync(dir, ".", err) == 0)
        return 1;
    (void)unlinkat(dir, hc_lease_id_name(lease->id), 0);
    return is_barred ? 0 : -1;
}

/* As lease_put_in_place() and lease_confirm(); -2: the directory is gone, try again. */
static int lease_try(const struct hc_cache *cache, const struct hc_repo *repo,
                     int64_t duration_ms, struct hc_lease *lease, struct hc_error *err)
{
    int root = hc_cache_fd(cache);
    HC_AUTO_CLOSE int dir = -1;
    char private[PATH_MAX];
    int result;

    if (lease_write_private(cache, lease, duration_ms, private, err) < 0)
        return -1;
    dir = hc_lease_directory_make(root, repo, lease->commit_hash);
    if (dir < 0) {
        int errnum = errno;

        (void)unlinkat(root, private, 0);
        return hc_lease_directory_is_gone(errnum)
                   ? -2
                   : hc_file_fail(err, errnum, "make directory", root, HC_LEASES_PATH);
    }
    result = lease_put_in_place(cache, dir, private, lease, err);
    if (result != 1)
        return result < 0 ? -1 : -2;
    return lease_confirm(dir, lease, lease->until_ms - duration_ms, err);
}

/* A text of a request, which is kept in the file and shown in every list. */
static int lease_copy_text(char *out, size_t size, const char *text, const char *field,
                           struct hc_error *err)
{
    if (!text)
        text = "";
    if (!hc_text_is_utf8(text) || hc_format(out, size, "%s", text) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, field,
                             "lease: the name of the %s is not UTF-8, or has more than "
                             "%zu bytes",
                             field, size - 1);
    return 0;
}

int hc_lease_take(const struct hc_cache *cache, const struct hc_lease_request *request,
                  struct hc_lease *lease, struct hc_error *err)
{
    const struct hc_repo *repo = request->repo;
    int result = -2;

    if (hc_lease_record_new(lease, repo, request->commit, err) < 0 ||
        lease_copy_text(lease->kind, sizeof lease->kind, request->kind, "kind", err) <
            0 ||
        lease_copy_text(lease->caller, sizeof lease->caller, request->caller, "caller",
                        err) < 0 ||
        lease_copy_text(lease->pod, sizeof lease->pod, request->pod, "pod", err) < 0)
        return -1;
    for (int i = 0; i < ATTEMPTS && result == -2; i++)
        result = lease_try(cache, repo, request->duration_ms, lease, err);
    if (result == -2)
        return hc_fail(err, HC_CACHE_IO,
                       "lease of '%s': its directory below " HC_LEASES_PATH
                       " was removed %d times: another process removes it",
                       repo->id, ATTEMPTS);
    return result < 0 ? hc_context(err, "lease of '%s'", repo->id) : result;
}

/* ---- one lease by its id ----------------------------------------------------------- */

/* Parses the id and opens the directory: 1; 0: it is gone; -1. */
static int lease_open(const struct hc_cache *cache, const char *id,
                      struct hc_lease *lease, int *dir, struct hc_error *err)
{
    struct hc_repo repo;

    if (!hc_lease_id_parse(id, lease, &repo))
        return hc_fail_field(err, HC_INVALID_OPTIONS, "lease_id",
                             "the lease id is none that hubcache gives");
    *dir = hc_lease_directory_open(hc_cache_fd(cache), &repo, lease->commit_hash);
    if (*dir >= 0)
        return 1;
    return hc_file_is_absent(errno) ? 0
                                    : hc_fail_errno(err, errno, "open " HC_LEASES_PATH);
}

/* The content and the end of the file: 1; 0 when it is not there; -1. */
static int lease_read(int dir, const char *name, struct hc_lease *lease,
                      struct hc_error *err)
{
    char content[HC_LEASE_CONTENT_MAX];
    struct stat status;
    int found = hc_file_read_stat(dir, name, content, sizeof content, &status, err);

    if (found < 0)
        return hc_context(err, "a lease of '%s'", lease->repo_id);
    if (found == 0)
        return 0;
    lease->until_ms = hc_file_time_ms(&status.st_mtim);
    hc_lease_record_parse(lease, content, strlen(content));
    return 1;
}

int hc_lease_find(const struct hc_cache *cache, const char *id, struct hc_lease *lease,
                  struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = -1;
    int found = lease_open(cache, id, lease, &dir, err);

    if (found == 1)
        found = lease_read(dir, hc_lease_id_name(id), lease, err);
    return found == 1 ? lease->until_ms > hc_volume_now_ms(cache) : found;
}

/* The former end is compared with "now" as the new file shows it. */
int hc_lease_renew(const struct hc_cache *cache, const char *id, int64_t duration_ms,
                   struct hc_lease *lease, struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = -1;
    int result = lease_open(cache, id, lease, &dir, err);
    char private[PATH_MAX];
    int64_t ends_ms, now_ms;

    if (result == 1)
        result = lease_read(dir, hc_lease_id_name(id), lease, err);
    if (result != 1)
        return result;
    ends_ms = lease->until_ms;
    if (lease_write_private(cache, lease, duration_ms, private, err) < 0)
        return hc_context(err, "renew a lease of '%s'", lease->repo_id);
    now_ms = lease->until_ms - duration_ms;
    if (ends_ms <= now_ms) {
        (void)unlinkat(hc_cache_fd(cache), private, 0);
        return 0;
    }
    result = lease_put_in_place(cache, dir, private, lease, err);
    return result == 1 ? lease_confirm(dir, lease, now_ms, err) : result;
}

int hc_lease_release(const struct hc_cache *cache, const char *id, struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = -1;
    struct hc_lease lease;
    int found = lease_open(cache, id, &lease, &dir, err);

    if (found != 1 || dir < 0)
        return found;
    if (unlinkat(dir, hc_lease_id_name(id), 0) == 0)
        return 1;
    if (hc_lease_directory_is_gone(errno))
        return 0;
    return hc_fail_errno(err, errno, "release a lease of '%s'", lease.repo_id);
}

/* ---- of a revision ----------------------------------------------------------------- */

/* Whether it is a lease, or one that another process looks at with its name changed. */
static bool entry_is_lease(const struct hc_directory_walk *walk)
{
    char name[HC_LEASE_NAME_LENGTH + 1];

    (void)snprintf(name, sizeof name, "%.*s", HC_LEASE_NAME_LENGTH, walk->name);
    return S_ISREG(walk->type) && hc_lease_name_is_valid(name);
}

int hc_lease_count(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *commit, unsigned limit, int64_t now_ms,
                   struct hc_error *err)
{
    HC_AUTO_CLOSE int dir = hc_lease_directory_open(hc_cache_fd(cache), repo, commit);
    int64_t until_ms;
    unsigned count = 0;

    if (dir < 0)
        return hc_file_is_absent(errno)
                   ? 0
                   : hc_fail_errno(err, errno, "look for leases of '%s'", repo->id);

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(dir, ".", 0);

    walk.accepts = entry_is_lease;
    while (count < limit && hc_directory_walk_next(&walk)) {
        /* One that cannot be looked at may hold. */
        int found = hc_lease_end_ms(walk.dir, walk.name, &until_ms);

        count += found < 0 || (found == 1 && until_ms + HC_LEASE_GRACE_MS > now_ms);
    }
    if (walk.is_incomplete)
        return hc_fail_errno(err, walk.errnum, "look for leases of '%s'", repo->id);
    return (int)count;
}

int hc_lease_is_held(const struct hc_cache *cache, const struct hc_repo *repo,
                     const char *commit, int64_t now_ms, struct hc_error *err)
{
    return hc_lease_count(cache, repo, commit, 1, now_ms, err);
}

/* ---- all of them ------------------------------------------------------------------- */

/* Fills the lease's members from its path, "<repo folder>/<commit>/<name>". */
static bool lease_parse_place(struct hc_lease *lease, const char *path)
{
    char folder[HC_REPO_FOLDER_MAX + 1], commit[HC_COMMIT_SIZE];
    const char *slash = strchr(path, '/');
    const char *last = strrchr(path, '/');
    struct hc_repo repo;

    return slash && last - slash == HC_COMMIT_SIZE &&
           hc_format(folder, sizeof folder, "%.*s", (int)(slash - path), path) > 0 &&
           hc_format(commit, sizeof commit, "%.*s", (int)(last - slash - 1), slash + 1) >
               0 &&
           hc_repo_parse_folder(&repo, folder) &&
           hc_lease_record_of_file(lease, &repo, commit, last + 1);
}

struct hc_lease_list hc_lease_list(const struct hc_cache *cache,
                                   const struct hc_repo *repo, const char *commit,
                                   int64_t now_ms)
{
    struct hc_lease_list list = {.now_ms = now_ms};
    const char *const names[] = {".hubcache", "leases", repo ? repo->folder : NULL,
                                 repo ? commit : NULL, NULL};
    HC_AUTO_CLOSE int dir = hc_directory_open_nested(hc_cache_fd(cache), names);
    unsigned depth = 2U - !!names[2] - !!names[3];

    if (names[2])
        (void)hc_format(list.place, sizeof list.place, "%s/%s%s", names[2],
                        names[3] ? names[3] : "", names[3] ? "/" : "");
    if (dir >= 0)
        list.walk = hc_directory_walk(dir, ".", depth);
    return list;
}

bool hc_lease_list_next(struct hc_lease_list *list)
{
    char path[PATH_MAX];
    struct hc_error unused;

    while (hc_directory_walk_next(&list->walk)) {
        if (S_ISREG(list->walk.type) &&
            hc_format(path, sizeof path, "%s%s", list->place, list->walk.path) > 0 &&
            lease_parse_place(&list->lease, path) &&
            lease_read(list->walk.dir, list->walk.name, &list->lease, &unused) == 1 &&
            list->lease.until_ms > list->now_ms)
            return true;
    }
    return false;
}

void hc_lease_list_end(struct hc_lease_list *list)
{
    hc_directory_walk_end(&list->walk);
}

/* A directory comes after its entries, and rmdir(2) refuses one that is not empty. */
unsigned hc_lease_sweep(const struct hc_cache *cache, int64_t now_ms, unsigned *held)
{
    const char *const names[] = {".hubcache", "leases", NULL};
    HC_AUTO_CLOSE int dir = hc_directory_open_nested(hc_cache_fd(cache), names);
    unsigned removed = 0;

    *held = 0;
    if (dir < 0)
        return 0;

    HC_AUTO_VALUE(hc_directory_walk) walk = hc_directory_walk(dir, ".", 2);

    while (hc_directory_walk_next(&walk)) {
        unsigned ended = 0;

        if (S_ISDIR(walk.type))
            (void)unlinkat(walk.dir, walk.name, AT_REMOVEDIR);
        else if (S_ISREG(walk.type))
            ended = hc_lease_clean_entry(walk.dir, walk.name, now_ms);
        removed += ended;
        *held += ended == 0 && entry_is_lease(&walk);
    }
    return removed;
}
