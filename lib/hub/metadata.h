/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not there, when a response does not say: gateways and self-hosted hubs answer
 * with a bare 404 or 401, without the Hub's headers, and leave open whether the repo, the
 * revision or the file is missing. For the files of this folder.
 */
#ifndef HC_HUB_METADATA_H
#define HC_HUB_METADATA_H

#include "hub_request.h"

/*
 * After a request about a file or a tree that failed with `err`: when that leaves open
 * what is missing, asks the same endpoint once for the revision, together with all
 * callers that want to know the same, and makes `err` say which of repo, revision and
 * file it is. Always -1.
 */
int hc_not_found_explain(struct hc_hub_request *request, struct hc_error *err);

#endif
