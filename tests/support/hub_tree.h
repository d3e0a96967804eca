/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's JSON about a commit: the information about the repo, and the listing of the
 * tree. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_TREE_H
#define HC_SUPPORT_HUB_TREE_H

#include <stdbool.h>

struct hub_answer;
struct hub_commit;
struct hub_route;
struct hub_request;
struct hub_view;

/* `view` has a commit. */
void hub_tree_answer_info(const struct hub_route *route, const struct hub_view *view,
                          struct hub_answer *answer);

/* One page of the tree below route->path; false when there is no such directory. */
bool hub_tree_answer(const struct hub_request *request, const struct hub_route *route,
                     const struct hub_commit *commit, struct hub_answer *answer);

#endif
