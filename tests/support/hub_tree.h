/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Hub's JSON about a commit: the repo's page, and the listing of its tree.
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

/* One page of the tree below place->path; false when there is nothing there. */
bool hub_tree_answer(const struct hub_request *request, const struct hub_route *route,
                     const struct hub_commit *commit, struct hub_answer *answer);

#endif
