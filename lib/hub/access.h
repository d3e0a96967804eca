/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether the Hub gives the files of a repo to the account of a token. Callable from any
 * thread.
 */
#ifndef HC_HUB_ACCESS_H
#define HC_HUB_ACCESS_H

#include "hub.h"

/*
 * 0: it does. -1 as the Hub refuses it (hc_hub_error_is_refusal()), or as it could not
 * say. `*visibility` is what the Hub says of the repo, in both cases; with PUBLIC, every
 * account has access, and so has a caller without a token. One request for a public repo,
 * two for others. No mirror is asked if the credentials say so. `revision` is that of the
 * caller, for a repo without a branch "main".
 */
int hc_hub_access(struct hc_hub *hub, const struct hc_repo *repo, const char *revision,
                  const struct hc_hub_credentials *credentials,
                  enum hc_visibility *visibility, struct hc_error *err);

/* Whether the file is one that the Hub gives to no client that lacks access to the repo.
 * It is not, when in doubt. */
bool hc_hub_file_proves_access(const char *path);

/* Whether the Hub itself has refused the repo to the token: GATED_REPO, REPO_NOT_FOUND,
 * REPO_DISABLED, HUB_UNAUTHORIZED. */
bool hc_hub_error_is_refusal(const struct hc_error *err);

#endif
