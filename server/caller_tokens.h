/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of --auth-tokens: the callers and the hashes of their tokens, one a line:
 *
 *     name sha256:<64 hexadecimal digits> [group...]
 *
 * Words are printable ASCII with spaces or tabs between them; lines that are empty or
 * begin with "#" do not count. A caller may have several tokens, so that a new one can be
 * handed out before the old one is withdrawn. The set is immutable once it is read.
 */
#ifndef HC_SERVER_CALLER_TOKENS_H
#define HC_SERVER_CALLER_TOKENS_H

#include "caller_memory.h"

enum {
    HC_CALLER_TOKENS_MAX = 4096,
    HC_CALLER_TOKENS_BYTES_MAX = 1024 * 1024 /* of the file */
};

struct hc_caller_tokens;

/*
 * Reads the content of the file `name`, which INVALID_OPTIONS names with the line.
 * Changes `text`, which has `size` bytes and a NUL after them.
 */
struct hc_caller_tokens *hc_caller_tokens_parse(char *text, size_t size, const char *name,
                                                struct hc_error *err);
void hc_caller_tokens_free(struct hc_caller_tokens *tokens);
HC_DEFINE_AUTO(hc_caller_tokens, hc_caller_tokens_free)

size_t hc_caller_tokens_count(const struct hc_caller_tokens *tokens);

/* Borrowed; NULL: no caller has that token. Takes the same time for each hash. */
struct hc_caller *hc_caller_tokens_find(const struct hc_caller_tokens *tokens,
                                        const struct hc_credential_hash *hash);

#endif
