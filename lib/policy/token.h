/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which token a request to the Hub carries: the caller's own, else HF_TOKEN, else the
 * content of the token file, trimmed (§2.6). The file is read each time, so that a
 * rotated secret takes effect at once.
 */
#ifndef HC_POLICY_TOKEN_H
#define HC_POLICY_TOKEN_H

#include <hubcache/error.h>
#include <hubcache/settings.h>
#include <stdatomic.h>

enum { HC_TOKEN_MAX = 4096 };

/*
 * Fills `token`, "" for none. A token with control characters or white space inside is
 * HUB_UNAUTHORIZED: it would forge a header.
 *
 * A token file that is not there, or is empty, is no token, as the reference has it, unless
 * it has held one: `*held` remembers that (Optional). One that is lost, or that cannot be
 * read, is neither a refusal of the Hub nor a caller without a token, but a failure of
 * its own, INTERNAL with its path, and is read again for the next request.
 */
int hc_token_choose(const struct hc_settings *settings, const char *caller_token,
                    atomic_bool *had_token, char token[HC_TOKEN_MAX + 1],
                    struct hc_error *err);

#endif
