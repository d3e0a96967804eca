/* SPDX-License-Identifier: Apache-2.0 */
#include "removal_fixture.h"

#include <base/file.h>
#include <base/text.h>
#include <cache/ref.h>
#include <cache/walk.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum { BLOB_SIZE = 5000 };

void put_pointer(const struct fixture *f, const struct hc_repo *repo, const char *commit,
                 const char *path, const char *etag)
{
    char place[PATH_MAX], target[PATH_MAX] = "../..";
    struct hc_error err;

    assert_int_equal(hc_cache_snapshot_path(place, repo, commit, path, &err), 0);
    assert_int_equal(hc_file_mkparents(hc_cache_fd(f->cache), place, &err), 0);
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
        strcat(target, "/..");
    strcat(strcat(target, "/blobs/"), etag);
    (void)unlinkat(hc_cache_fd(f->cache), place, 0);
    assert_int_equal(symlinkat(target, hc_cache_fd(f->cache), place), 0);
}

void put_file(const struct fixture *f, const struct hc_repo *repo, const char *commit,
              const char *path, const char *etag)
{
    char bytes[BLOB_SIZE + 1], blob[PATH_MAX];

    memset(bytes, 'x', BLOB_SIZE);
    bytes[BLOB_SIZE] = '\0';
    (void)hc_format(blob, sizeof blob, "%s/blobs/%s", repo->folder, etag);
    if (!temp_dir_has(f->dir, blob))
        temp_dir_write(f->dir, blob, bytes);
    put_pointer(f, repo, commit, path, etag);
}

void put_ref(const struct fixture *f, const struct hc_repo *repo, const char *ref,
             const char *commit)
{
    char path[PATH_MAX];

    (void)hc_format(path, sizeof path, "%s/refs/%s", repo->folder, ref);
    temp_dir_write(f->dir, path, commit);
}

struct hc_removal_result remove_revisions(const struct fixture *f,
                                          const struct hc_repo *repo,
                                          const char *const *commits, size_t count,
                                          const struct hc_removal_options *options)
{
    const struct hc_removal_request request = {.repo = repo,
                                               .commits = commits,
                                               .commit_count = count,
                                               .detail = "test"};
    struct hc_removal_result result = {0};
    struct hc_error err;
    struct hc_removal *removal = hc_removal_new(f->cache, options, &result, &err);

    assert_non_null(removal);
    assert_int_equal(hc_removal_take(removal, &request, &err), 0);
    hc_removal_free(removal);
    return result;
}

uint64_t remove_revision(const struct fixture *f, const char *commit)
{
    const struct hc_removal_options options = {0};
    struct hc_removal_result result = remove_revisions(f, &f->repo, &commit, 1, &options);
    uint64_t freed = result.freed_bytes;

    assert_int_equal(result.kept_count, 0);
    assert_true(result.removed_count >= 1);
    hc_removal_result_clear(&result);
    return freed;
}

static void assert_pointers_lead_to_files(const struct fixture *f,
                                          const struct hc_repo *repo)
{
    char path[PATH_MAX];

    (void)hc_format(path, sizeof path, "%s/snapshots", repo->folder);

    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(hc_cache_fd(f->cache), path, HC_DEPTH_MAX);

    while (hc_directory_walk_next(&walk)) {
        struct stat status;

        if (!S_ISDIR(walk.type) && fstatat(walk.dir, walk.name, &status, 0) < 0)
            fail_msg("%s/%s is dangling", path, walk.path);
    }
}

static void assert_refs_lead_to_snapshots(const struct fixture *f,
                                          const struct hc_repo *repo)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_refs(f->cache, repo);
    char path[PATH_MAX];

    while (hc_directory_walk_next(&walk)) {
        struct hc_error err;
        struct hc_ref ref;

        assert_int_equal(hc_ref_find(f->cache, repo, walk.path, &ref, &err), 1);
        (void)hc_format(path, sizeof path, "%s/snapshots/%s", repo->folder, ref.commit);
        if (!temp_dir_has(f->dir, path))
            fail_msg("the ref %s names no snapshot", walk.path);
    }
}

void assert_cache_is_sound(const struct fixture *f)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(f->cache);
    struct hc_repo repo;

    while (hc_walk_next_repo(&walk, &repo)) {
        assert_pointers_lead_to_files(f, &repo);
        assert_refs_lead_to_snapshots(f, &repo);
    }
}

void assert_no_trash(const struct fixture *f)
{
    assert_int_equal(temp_dir_count(f->dir, ".hubcache/trash"), 0);
}
