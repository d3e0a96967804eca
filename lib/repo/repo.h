/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repo as the cache names it: type, id, and the folder "models--org--name" (§1.1). An
 * initialised hc_repo is proof that its id is valid (§2.1 step 1), so that functions that
 * take one check nothing. A value, copyable.
 */
#ifndef HC_REPO_REPO_H
#define HC_REPO_REPO_H

#include <hubcache/repo.h>

#include <stdbool.h>
#include <stddef.h>

enum {
    HC_REPO_ID_MAX = 200,
    HC_REPO_FOLDER_MAX = 220 /* leaves room for suffixes below NAME_MAX */
};

struct hc_repo {
    enum hc_repo_type type; /* never HC_REPO_DEFAULT */
    char id[HC_REPO_ID_MAX + 1];
    char folder[HC_REPO_FOLDER_MAX + 1];
};

/*
 * INVALID_REPO_ID (field "repo_id") unless `id` is "name" or "namespace/name" of letters,
 * digits, "_", "-", "." (ASCII only; each part starts and ends with a letter, digit or
 * "_"), name at most 96 bytes, no "--", no "..", not ending in ".git"; INVALID_OPTIONS
 * (field "repo_type") for an unknown type.
 */
int hc_repo_init(struct hc_repo *repo, enum hc_repo_type type, const char *id,
                 struct hc_error *err);

/* Whether the repo is of one of the types, of which HC_REPO_DEFAULT means model; none:
 * every type. */
bool hc_repo_has_type(const struct hc_repo *repo, const enum hc_repo_type *types,
                      size_t count);

/* Finds the repo whose folder has this name; false when it is no repo's, as that of
 * any other file of a cache root. */
bool hc_repo_parse_folder(struct hc_repo *repo, const char *folder);

/* To which clients the Hub gives the files of a repo. */
enum hc_visibility {
    HC_VISIBILITY_UNKNOWN,
    HC_VISIBILITY_PUBLIC, /* to every client */
    HC_VISIBILITY_GATED,  /* to accounts that asked for access; all may list them */
    HC_VISIBILITY_PRIVATE /* to accounts of its owner */
};

/* Not to every client. */
static inline bool hc_visibility_is_restricted(enum hc_visibility visibility)
{
    return visibility == HC_VISIBILITY_GATED || visibility == HC_VISIBILITY_PRIVATE;
}

/* A file of a repo at a revision; in the cache, the revision is a commit. Borrows. */
struct hc_repo_file {
    const struct hc_repo *repo;
    const char *revision;
    const char *path;
};

/* "", "datasets/", "spaces/", "kernels/": the part of a Hub URL before the id. */
const char *hc_repo_url_prefix(const struct hc_repo *repo);

/* "models", "datasets", …: the collection in the Hub's API URLs. */
const char *hc_repo_collection(const struct hc_repo *repo);

#endif
