/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not there, when an answer does not say: gateways and self-hosted hubs answer a
 * bare 404 or 401, without the Hub's headers, and leave open whether the repo, the
 * revision or the file is missing. For the files of this folder.
 */
#ifndef HC_HUB_NOT_FOUND_H
#define HC_HUB_NOT_FOUND_H

#include "hub_request.h"

/* Whether the last answer to `ask` is such a 404 or 401, of the endpoint itself. */
bool hc_not_found_is_ambiguous(const struct hc_hub_request *request);

/*
 * After a question about a revision that failed with `err`: a bare 404 becomes
 * REPO_NOT_FOUND, or REVISION_NOT_FOUND when its text says so. Always -1.
 */
int hc_not_found_fail_revision(const struct hc_hub_request *request,
                               struct hc_error *err);

/*
 * After a question about a file or a tree that failed with `err`: when that leaves open
 * what is missing, asks the same endpoint once for the revision, together with all callers
 * that want to know the same, and makes `err` say which of repo, revision and file it is.
 * Always -1.
 */
int hc_not_found_explain(struct hc_hub_request *request, struct hc_error *err);

#endif
