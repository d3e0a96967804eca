/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The refs of a repo by the commits that they name, and those that the reference client's
 * scanner would call corrupt, for which it drops the whole repo: refs that name a commit
 * without a snapshot, also because of white space around it. A value, used by one thread.
 */
#ifndef HC_MAINTENANCE_REPO_REFS_H
#define HC_MAINTENANCE_REPO_REFS_H

#include <base/auto.h>
#include <base/error.h>
#include <repo/name.h>

#include <stdbool.h>
#include <stddef.h>

struct hc_repo_ref {
    char commit[HC_COMMIT_SIZE]; /* "": it names none */
    char *name;
    bool is_exact;     /* it has the commit and nothing else */
    bool has_snapshot; /* as hc_repo_refs_take() has found */
};

struct hc_repo_refs {
    struct hc_repo_ref *items; /* sorted by commit and name */
    size_t count, capacity;
    bool is_no_directory;
};

/* Whether the scanner passes over a file of that name, which a file manager has left in
 * refs/ or snapshots/. */
bool hc_scanner_ignores(const char *name);

/* Reads refs/ of the folder that `repo` is open as. The caller clears `refs` in every
 * case. */
int hc_repo_refs_read(struct hc_repo_refs *refs, int repo, struct hc_error *err);

/* The first of the `*count` refs that name the commit; marks all of them as having a
 * snapshot. */
const struct hc_repo_ref *hc_repo_refs_take(struct hc_repo_refs *refs, const char *commit,
                                            size_t *count);

/* A ref that the scanner calls corrupt, after all snapshots are taken; NULL: none. */
const struct hc_repo_ref *hc_repo_refs_corrupt(const struct hc_repo_refs *refs);

void hc_repo_refs_clear(struct hc_repo_refs *refs);
HC_DEFINE_AUTO_VALUE(hc_repo_refs, hc_repo_refs_clear)

#endif
