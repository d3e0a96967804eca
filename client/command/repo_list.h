/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All pages of ListRepos, and the entries of a table: repos, or revisions. Used by one
 * thread.
 */
#ifndef HC_COMMAND_REPO_LIST_H
#define HC_COMMAND_REPO_LIST_H

#include "base/auto.h"
#include "client/cache_call.h"

#include <stddef.h>

struct hc_repo_list {
    ProtobufCMessage **pages; /* which own the repos */
    size_t page_count;
    const Hubcache__V1__CachedRepo **repos;
    size_t count;
};

/* All pages of what `request` asks for. The caller clears `list` in every case. */
int hc_repo_list_fetch(struct hc_client *client, Hubcache__V1__ListReposRequest *request,
                       struct hc_repo_list *list, struct hc_error *err);
void hc_repo_list_clear(struct hc_repo_list *list);
HC_DEFINE_AUTO_VALUE(hc_repo_list, hc_repo_list_clear)

/*
 * Whether the cache has no repo that is meant by `text`, but one of the same id and
 * another type: then `name` is how that is written, "dataset/org/name". A failure counts
 * as no.
 */
bool hc_repo_list_find_other_type(struct hc_client *client, const char *text,
                                  char name[256]);

/* A repo, or one of its revisions. */
struct hc_repo_entry {
    const Hubcache__V1__CachedRepo *repo;
    const Hubcache__V1__CachedRevision *revision; /* NULL: the repo */
};

/* Room for `list` with all its revisions, which the caller frees; the entries are the
 * repos, or with `has_revisions` the revisions. NULL: memory is short. */
struct hc_repo_entry *hc_repo_list_entries(const struct hc_repo_list *list,
                                           bool has_revisions, size_t *count,
                                           struct hc_error *err);

#endif
