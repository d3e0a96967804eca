/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The refs that a removal has taken, in its trash as refs/<commit>/<ref>. They are moved
 * first, so that no ref names a snapshot that is not there. If the removal stops before
 * the snapshot is in the trash, too, they are moved back, so that no name is lost.
 */
#ifndef HC_MAINTENANCE_TAKEN_REFS_H
#define HC_MAINTENANCE_TAKEN_REFS_H

#include "trash.h"

/* Moves all refs that name the commit. -1: one could not be moved; give them back. */
int hc_taken_refs_take(const struct hc_cache *cache, const struct hc_repo *repo,
                       struct hc_trash *trash, const char *commit, struct hc_error *err);

/*
 * Moves the refs of the commit back, if its snapshot is in its place and not in the
 * trash. With NULL, of each commit that no living process bars, for its removal was
 * interrupted; 1: a living process bars one. -1: one could not be moved; then the trash
 * has to stay.
 */
int hc_taken_refs_give_back(const struct hc_cache *cache, const struct hc_repo *repo,
                            struct hc_trash *trash, const char *commit,
                            struct hc_error *err);

/* The same from the trash of each removal of the repo, by the process that bars the
 * commit: so those of the commit were interrupted. */
int hc_taken_refs_give_back_all(const struct hc_cache *cache, const struct hc_repo *repo,
                                const char *commit, struct hc_error *err);

#endif
