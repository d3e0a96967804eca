/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hub's content: repos with their commits, the refs that name them, and the access to
 * them. Commits and their files never change and stay until the content is freed, so the
 * result of a lookup is used without a lock. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_CONTENT_H
#define HC_SUPPORT_HUB_CONTENT_H

#include "test_hub.h"

#include <stdbool.h>
#include <stddef.h>

struct hub_blob;
struct hub_content;

struct hub_file {
    char *path;
    struct hub_blob *blob;
};

struct hub_commit {
    char hash[41];
    struct hub_file *files; /* sorted by path */
    size_t count;
    struct hub_commit *next;
};

/* A repo at a revision, as it was when it was looked up. */
struct hub_view {
    enum test_hub_access access;
    const char *moved_to;            /* NULL: it was not renamed */
    const struct hub_commit *commit; /* NULL: no such revision */
};

struct hub_content *hub_content_new(void);
void hub_content_free(struct hub_content *content);

/* Takes `blob`, which becomes a file of the next commit. */
void hub_content_stage(struct hub_content *content, const char *path,
                       struct hub_blob *blob);
void hub_content_commit(struct hub_content *content, const char *repo,
                        const char *revision, char commit[41]);

/* False when there is no such repo or commit. */
bool hub_content_tag(struct hub_content *content, const char *repo, const char *revision,
                     const char *commit);
bool hub_content_set_access(struct hub_content *content, const char *repo,
                            enum test_hub_access access);
bool hub_content_set_granted(struct hub_content *content, const char *repo,
                             const char *token, bool is_granted);

/* Whether the account of `token`, NULL for none, has access to a private or gated
 * repo. */
bool hub_content_is_granted(struct hub_content *content, const char *repo,
                            const char *token);
void hub_content_rename(struct hub_content *content, const char *old_repo,
                        const char *new_repo);

/*
 * False when there is no such repo. A revision is a ref, a commit, or the first 7 or more
 * digits of a commit.
 */
bool hub_content_find(struct hub_content *content, const char *repo, const char *revision,
                      struct hub_view *view);

/* NULL when the commit has no such file. */
const struct hub_blob *hub_commit_find(const struct hub_commit *commit, const char *path);

/* The LFS file with this name on the CDN; NULL when there is none. */
const struct hub_blob *hub_content_find_xet(struct hub_content *content,
                                            const char *xet_hash);

/* Commits every repo below `dir` (see test_hub_load). */
void hub_content_load(struct hub_content *content, const char *dir);

#endif
