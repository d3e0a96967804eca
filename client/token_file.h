/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file that holds the caller's token for hubcached. It is read for each call, because
 * it changes: Kubernetes rotates the token of a ServiceAccount in its mounted file. Any
 * thread.
 */
#ifndef HC_CLIENT_TOKEN_FILE_H
#define HC_CLIENT_TOKEN_FILE_H

#include "base/error.h"

/*
 * The header "Bearer <token>", which the caller wipes. NULL: INVALID_OPTIONS (field
 * "bearer_token_file") with the path, when the file has no token or cannot be read.
 */
char *hc_token_file_authorization(const char *path, struct hc_error *err);

/* INVALID_OPTIONS when the text cannot be a token; the message does not show it. */
int hc_token_check(const char *token, const char *what, struct hc_error *err);

#endif
