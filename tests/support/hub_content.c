/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The repos of the hub: lists under one lock. A file is staged first, and becomes part of
 * the next commit, whichever repo that is of; a commit moves the ref that it is made for.
 * Nothing is removed from them before the end, since a test hub does not live long.
 * hub_content_load() reads repos from a directory,
 * <dir>/<type>s/<org>/<name>/<revision>/<files…>; it reads every level in the order of
 * names, so that commits get the same hashes on every run.
 */
#include "hub_content.h"

#include "base/auto.h"
#include "base/text.h"
#include "hub_abort.h"
#include "hub_blob.h"
#include "hub_route.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { SHORT_HASH_MIN = 7 };

struct hub_ref {
    char *name;
    const struct hub_commit *commit;
    struct hub_ref *next;
};

/* Stays when the access is taken away. */
struct hub_grant {
    char *token;
    bool is_granted;
    struct hub_grant *next;
};

struct hub_repo {
    char *name; /* "models/org/name" */
    char *moved_to;
    enum test_hub_access access;
    struct hub_grant *grants; /* none: every token has access */
    struct hub_commit *commits;
    struct hub_ref *refs;
    struct hub_repo *next;
};

struct hub_content {
    pthread_mutex_t lock;
    struct {
        struct hub_repo *repos;
        struct hub_file *staged;
        size_t staged_count;
    } shared;
};

/* Every static function below is called with the lock held. */
static struct hub_repo *content_find_repo(struct hub_content *content, const char *name)
{
    struct hub_repo *repo = content->shared.repos;

    while (repo && strcmp(repo->name, name) != 0)
        repo = repo->next;
    return repo;
}

static struct hub_repo *content_add_repo(struct hub_content *content, const char *name)
{
    struct hub_repo *repo = content_find_repo(content, name);

    if (repo)
        return repo;
    repo = hub_require(calloc(1, sizeof *repo));
    repo->name = hub_strdup(name);
    repo->next = content->shared.repos;
    content->shared.repos = repo;
    return repo;
}

static struct hub_ref *repo_find_ref(const struct hub_repo *repo, const char *name)
{
    struct hub_ref *ref = repo->refs;

    while (ref && strcmp(ref->name, name) != 0)
        ref = ref->next;
    return ref;
}

static void repo_set_ref(struct hub_repo *repo, const char *name,
                         const struct hub_commit *commit)
{
    struct hub_ref *ref = repo_find_ref(repo, name);

    if (!ref) {
        ref = hub_require(calloc(1, sizeof *ref));
        ref->name = hub_strdup(name);
        ref->next = repo->refs;
        repo->refs = ref;
    }
    ref->commit = commit;
}

/* `prefix` is a whole hash or the start of one. */
static const struct hub_commit *repo_find_commit(const struct hub_repo *repo,
                                                 const char *prefix)
{
    const struct hub_commit *commit = repo->commits;

    while (commit && !hc_text_starts(commit->hash, prefix))
        commit = commit->next;
    return commit;
}

/* A ref is preferred to a commit whose hash begins like it, as in git. */
static const struct hub_commit *repo_find_revision(const struct hub_repo *repo,
                                                   const char *revision)
{
    const struct hub_ref *ref = repo_find_ref(repo, revision);

    if (ref)
        return ref->commit;
    if (strlen(revision) < SHORT_HASH_MIN)
        return NULL;
    return repo_find_commit(repo, revision);
}

static int compare_files(const void *left, const void *right)
{
    const struct hub_file *a = left, *b = right;

    return strcmp(a->path, b->path);
}

/* The hash depends on the files alone: neither on the repo nor on the time. */
static void commit_set_hash(struct hub_commit *commit)
{
    HC_AUTO_FREE char *text = NULL;
    size_t size = 0;
    FILE *stream = hub_require(open_memstream(&text, &size));

    for (size_t i = 0; i < commit->count; i++) {
        (void)fprintf(stream, "%s %s\n", commit->files[i].blob->git_oid,
                      commit->files[i].path);
    }
    (void)fclose(stream);
    hub_blob_name_text(text, commit->hash);
}

static void hub_commit_free(struct hub_commit *commit)
{
    for (size_t i = 0; i < commit->count; i++) {
        free(commit->files[i].path);
        hub_blob_free(commit->files[i].blob);
    }
    free(commit->files);
    free(commit);
}

/* Sorted by path, so that a file is found by bsearch() and listings have an order. */
static struct hub_commit *content_take_staged(struct hub_content *content)
{
    struct hub_commit *commit = hub_require(calloc(1, sizeof *commit));

    commit->files = hc_take(&content->shared.staged);
    commit->count = content->shared.staged_count;
    content->shared.staged_count = 0;
    if (commit->count > 0)
        qsort(commit->files, commit->count, sizeof *commit->files, compare_files);
    commit_set_hash(commit);
    return commit;
}

static void hub_repo_free(struct hub_repo *repo)
{
    while (repo->refs) {
        struct hub_ref *ref = repo->refs;

        repo->refs = ref->next;
        free(ref->name);
        free(ref);
    }
    while (repo->commits) {
        struct hub_commit *commit = repo->commits;

        repo->commits = commit->next;
        hub_commit_free(commit);
    }
    while (repo->grants) {
        struct hub_grant *grant = repo->grants;

        repo->grants = grant->next;
        free(grant->token);
        free(grant);
    }
    free(repo->name);
    free(repo->moved_to);
    free(repo);
}

static const struct hub_blob *repo_find_xet(const struct hub_repo *repo,
                                            const char *xet_hash)
{
    for (const struct hub_commit *commit = repo->commits; commit; commit = commit->next) {
        for (size_t i = 0; i < commit->count; i++) {
            if (strcmp(commit->files[i].blob->xet_hash, xet_hash) == 0)
                return commit->files[i].blob;
        }
    }
    return NULL;
}

struct hub_content *hub_content_new(void)
{
    struct hub_content *content = hub_require(calloc(1, sizeof *content));

    (void)pthread_mutex_init(&content->lock, NULL);
    return content;
}

/* Files that were staged and never committed are freed as a commit of their own. */
void hub_content_free(struct hub_content *content)
{
    char unused[41];

    if (!content)
        return;
    hub_content_commit(content, "models/unused/left-over", "main", unused);
    while (content->shared.repos) {
        struct hub_repo *repo = content->shared.repos;

        content->shared.repos = repo->next;
        hub_repo_free(repo);
    }
    (void)pthread_mutex_destroy(&content->lock);
    free(content);
}

void hub_content_stage(struct hub_content *content, const char *path,
                       struct hub_blob *blob)
{
    struct hub_file file = {hub_strdup(path), blob};
    HC_LOCKED(&content->lock);

    content->shared.staged =
        hub_require(reallocarray(content->shared.staged, content->shared.staged_count + 1,
                                 sizeof *content->shared.staged));
    content->shared.staged[content->shared.staged_count++] = file;
}

void hub_content_commit(struct hub_content *content, const char *repo,
                        const char *revision, char commit[41])
{
    struct hub_commit *made;
    struct hub_repo *home;
    HC_LOCKED(&content->lock);

    made = content_take_staged(content);
    home = content_add_repo(content, repo);
    made->next = home->commits;
    home->commits = made;
    repo_set_ref(home, revision, made);
    memcpy(commit, made->hash, sizeof made->hash);
}

bool hub_content_tag(struct hub_content *content, const char *repo, const char *revision,
                     const char *commit)
{
    const struct hub_commit *found = NULL;
    struct hub_repo *home;
    HC_LOCKED(&content->lock);

    home = content_find_repo(content, repo);
    if (home)
        found = repo_find_commit(home, commit);
    if (found)
        repo_set_ref(home, revision, found);
    return found != NULL;
}

bool hub_content_set_access(struct hub_content *content, const char *repo,
                            enum test_hub_access access)
{
    struct hub_repo *found;
    HC_LOCKED(&content->lock);

    found = content_find_repo(content, repo);
    if (found)
        found->access = access;
    return found != NULL;
}

static struct hub_grant *repo_find_grant(const struct hub_repo *repo, const char *token)
{
    struct hub_grant *grant = repo->grants;

    while (grant && strcmp(grant->token, token) != 0)
        grant = grant->next;
    return grant;
}

bool hub_content_set_granted(struct hub_content *content, const char *repo,
                             const char *token, bool is_granted)
{
    struct hub_repo *found;
    struct hub_grant *grant;
    HC_LOCKED(&content->lock);

    found = content_find_repo(content, repo);
    if (!found || !token)
        return false;
    grant = repo_find_grant(found, token);
    if (!grant) {
        grant = hub_require(calloc(1, sizeof *grant));
        *grant = (struct hub_grant){.token = hub_strdup(token), .next = found->grants};
        found->grants = grant;
    }
    grant->is_granted = is_granted;
    return true;
}

bool hub_content_is_granted(struct hub_content *content, const char *repo,
                            const char *token)
{
    const struct hub_repo *found;
    const struct hub_grant *grant;
    HC_LOCKED(&content->lock);

    found = content_find_repo(content, repo);
    if (!token || !found || !found->grants)
        return token;
    grant = repo_find_grant(found, token);
    return grant && grant->is_granted;
}

/* The content goes to the new name unless that has content already. */
void hub_content_rename(struct hub_content *content, const char *old_repo,
                        const char *new_repo)
{
    struct hub_repo *repo;
    HC_LOCKED(&content->lock);

    repo = content_find_repo(content, old_repo);
    if (repo && !content_find_repo(content, new_repo)) {
        free(repo->name);
        repo->name = hub_strdup(new_repo);
    }
    repo = content_add_repo(content, old_repo);
    if (!repo->moved_to)
        repo->moved_to = hub_strdup(new_repo);
}

bool hub_content_find(struct hub_content *content, const char *repo, const char *revision,
                      struct hub_view *view)
{
    const struct hub_repo *found;
    HC_LOCKED(&content->lock);

    found = content_find_repo(content, repo);
    if (found) {
        *view = (struct hub_view){.access = found->access,
                                  .moved_to = found->moved_to,
                                  .commit = repo_find_revision(found, revision)};
    }
    return found != NULL;
}

const struct hub_blob *hub_commit_find(const struct hub_commit *commit, const char *path)
{
    HC_AUTO_FREE char *copy = hub_strdup(path);
    struct hub_file key = {.path = copy};
    const struct hub_file *file;

    if (commit->count == 0)
        return NULL;
    file = bsearch(&key, commit->files, commit->count, sizeof key, compare_files);
    return file ? file->blob : NULL;
}

const struct hub_blob *hub_content_find_xet(struct hub_content *content,
                                            const char *xet_hash)
{
    const struct hub_blob *blob = NULL;

    if (!hc_text_is_hex(xet_hash, 64))
        return NULL;
    HC_LOCKED(&content->lock);

    for (const struct hub_repo *repo = content->shared.repos; repo && !blob;
         repo = repo->next)
        blob = repo_find_xet(repo, xet_hash);
    return blob;
}

static const uint64_t LFS_SIZE = UINT64_C(64) * 1024;

static const char *const LFS_SUFFIXES[] = {".safetensors", ".bin", ".gguf", ".pt",
                                           ".onnx"};

/* Calls `visit` for each entry of `dir`, names sorted; a missing directory has none. */
typedef void (*visit_fn)(void *ctx, const char *path, const char *name);

static void visit_entries(const char *dir, visit_fn visit, void *ctx)
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

/* A simple rule in the place of .gitattributes, which the Hub goes by. */
static bool file_is_lfs(const char *path, uint64_t size)
{
    for (size_t i = 0; i < sizeof LFS_SUFFIXES / sizeof *LFS_SUFFIXES; i++) {
        if (hc_text_ends(path, LFS_SUFFIXES[i]))
            return true;
    }
    return size > LFS_SIZE;
}

/* A directory that is being read; for the levels above a revision, `prefix` is a part of
 * the repo's name, such as "models/org/". */
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
