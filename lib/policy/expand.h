/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python's os.path.expanduser and os.path.expandvars. Only for start-up: the environment
 * and the user database are read without a lock.
 */
#ifndef HC_POLICY_EXPAND_H
#define HC_POLICY_EXPAND_H

struct hc_error;

/* A copy of `path` with "~" or "~user" at its start expanded; an unknown user stays. */
char *hc_path_expand_user(const char *path, struct hc_error *err);

/* The same and then $NAME and ${NAME}; frees `path`. NULL stays NULL. */
char *hc_path_expand(char *path, struct hc_error *err);

#endif
