/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repos from a directory: <dir>/<type>s/<org>/<name>/<revision>/<files…>. Every level is
 * read in the order of names, so that commits come out the same on every run.
 */
#include "hub_content.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_abort.h"
#include "hub_blob.h"
#include "hub_route.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const uint64_t LFS_SIZE = UINT64_C(64) * 1024;

static const char *const LFS_SUFFIXES[] = {".safetensors", ".bin", ".gguf", ".pt",
                                           ".onnx"};

/* Calls `visit` for each entry of `dir`, names sorted; a missing directory has none. */
typedef void (*visitor)(void *ctx, const char *path, const char *name);

static void visit_entries(const char *dir, visitor visit, void *ctx)
{
    struct dirent **entries = NULL;
    int count = scandir(dir, &entries, NULL, alphasort);

    if (count < 0 && errno != ENOENT)
        hub_abort(dir, strerrordesc_np(errno));
    for (int i = 0; i < count; i++) {
        HC_AUTO_FREE struct dirent *entry = entries[i];
        HC_AUTO_FREE char *path = hub_format("%s/%s", dir, entry->d_name);

        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            visit(ctx, path, entry->d_name);
    }
    free(entries);
}

static bool file_is_lfs(const char *path, uint64_t size)
{
    for (size_t i = 0; i < sizeof LFS_SUFFIXES / sizeof *LFS_SUFFIXES; i++) {
        if (hc_text_ends(path, LFS_SUFFIXES[i]))
            return true;
    }
    return size > LFS_SIZE;
}

/* Where a walk through one revision is. */
struct walk {
    struct hub_content *content;
    const char *prefix; /* of paths in the repo: "" or "sub/" */
};

static void load_file(void *ctx, const char *path, const char *name)
{
    const struct walk *walk = ctx;
    HC_AUTO_FREE char *inside = NULL;
    struct stat info;

    if (strcmp(name, ".git") == 0 || hc_text_starts(name, ".lfs-"))
        return;
    if (stat(path, &info) < 0)
        hub_abort(path, strerrordesc_np(errno));
    if (S_ISDIR(info.st_mode)) {
        struct walk below = {walk->content, NULL};

        inside = hub_format("%s%s/", walk->prefix, name);
        below.prefix = inside;
        visit_entries(path, load_file, &below);
        return;
    }
    inside = hub_format("%s%s", walk->prefix, name);
    hub_content_stage(walk->content, inside,
                      hub_blob_of_file(path, file_is_lfs(path, (uint64_t)info.st_size)));
}

/* The same struct serves the levels above: there `prefix` is "models/org/". */
static void load_revision(void *ctx, const char *path, const char *name)
{
    const struct walk *repo = ctx;
    struct walk files = {repo->content, ""};
    HC_AUTO_FREE char *revision = hub_url_decode(name, strlen(name));
    char commit[41];

    visit_entries(path, load_file, &files);
    hub_content_commit(repo->content, repo->prefix, revision, commit);
}

static void load_repo(void *ctx, const char *path, const char *name)
{
    const struct walk *org = ctx;
    HC_AUTO_FREE char *repo_name = hub_format("%s%s", org->prefix, name);
    struct walk repo = {org->content, repo_name};

    visit_entries(path, load_revision, &repo);
}

static void load_org(void *ctx, const char *path, const char *name)
{
    const struct walk *type = ctx;
    HC_AUTO_FREE char *prefix = hub_format("%s%s/", type->prefix, name);
    struct walk org = {type->content, prefix};

    visit_entries(path, load_repo, &org);
}

void hub_content_load(struct hub_content *content, const char *dir)
{
    static const char *const types[] = {"models", "datasets", "spaces", "kernels"};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        HC_AUTO_FREE char *path = hub_format("%s/%s", dir, types[i]);
        HC_AUTO_FREE char *prefix = hub_format("%s/", types[i]);
        struct walk type = {content, prefix};

        visit_entries(path, load_org, &type);
    }
}
