/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file with one wrong line is wrong as a whole: half of a list of callers would refuse
 * the other half without a word. A file without a token is wrong, too: an editor that
 * writes in place empties the file first.
 */
#include "caller_tokens.h"

#include <base/error.h>
#include <base/hash.h>
#include <base/text.h>

#include <openssl/crypto.h>
#include <string.h>

static const char hash_prefix[] = "sha256:";

struct hc_caller_tokens {
    size_t count;
    struct {
        struct hc_credential_hash hash;
        struct hc_caller *caller;
    } entries[HC_CALLER_TOKENS_MAX];
};

/* A line while it is read: its words, and where it stands. */
struct token_line {
    const char *file;
    size_t number;
    const char *words[HC_CALLER_GROUPS_MAX + 2]; /* name, hash, groups */
    size_t count;
};

static int token_line_refuse(const struct token_line *line, const char *why,
                             struct hc_error *err)
{
    return hc_fail_field(err, HC_INVALID_OPTIONS, "auth-tokens",
                         "auth-tokens: %s, line %zu: %s", line->file, line->number, why);
}

static bool is_word(const char *text)
{
    const char *end = text;

    while (*end > ' ' && *end < 0x7f)
        end++;
    return *end == '\0' && end - text <= HC_CALLER_NAME_MAX;
}

/* Cuts the line into its words. */
static int token_line_split(struct token_line *line, char *text, struct hc_error *err)
{
    char *rest = NULL;
    const size_t most = sizeof line->words / sizeof *line->words;

    line->count = 0;
    for (char *word = strtok_r(text, " \t\r", &rest); word;
         word = strtok_r(NULL, " \t\r", &rest)) {
        if (!is_word(word))
            return token_line_refuse(line,
                                     "a word is longer than 512 bytes, or has bytes that "
                                     "are not printable ASCII",
                                     err);
        if (line->count == most)
            return token_line_refuse(line, "it has more than 32 groups", err);
        line->words[line->count++] = word;
    }
    if (line->count == 1)
        return token_line_refuse(line, "it needs 'name sha256:<hex> [group...]'", err);
    return 0;
}

static unsigned hex_value(char digit)
{
    return (unsigned)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

static int token_line_read_hash(const struct token_line *line,
                                struct hc_credential_hash *hash, struct hc_error *err)
{
    const char *digits = line->words[1] + strlen(hash_prefix);

    if (!hc_text_starts(line->words[1], hash_prefix) ||
        !hc_text_is_hex(digits, 2 * sizeof hash->bytes))
        return token_line_refuse(
            line, "the second word is not 'sha256:' and 64 lower-case hex digits", err);
    /* A script that hashes an unset variable writes it. */
    if (hc_digest_is_of_empty_file(digits))
        return token_line_refuse(line, "it is the hash of an empty token", err);
    for (size_t i = 0; i < sizeof hash->bytes; i++)
        hash->bytes[i] =
            (unsigned char)(hex_value(digits[2 * i]) << 4 | hex_value(digits[2 * i + 1]));
    return 0;
}

/* These begin names of other kinds of callers, which logs and rules show without kind. */
static bool name_is_reserved(const char *name)
{
    return hc_text_starts(name, "system:") || hc_text_starts(name, "uid:");
}

static int tokens_add(struct hc_caller_tokens *tokens, const struct token_line *line,
                      struct hc_error *err)
{
    struct hc_credential_hash hash;
    struct hc_caller *caller;

    if (token_line_read_hash(line, &hash, err) < 0)
        return -1;
    if (name_is_reserved(line->words[0]))
        return token_line_refuse(line, "a name cannot begin with 'system:' or 'uid:'",
                                 err);
    if (hc_caller_tokens_find(tokens, &hash))
        return token_line_refuse(line, "an earlier line has the same token", err);
    if (tokens->count == HC_CALLER_TOKENS_MAX)
        return token_line_refuse(line, "there are more than 4096 tokens", err);
    caller = hc_caller_new(HC_CALLER_TOKEN, line->words[0], line->words + 2,
                           line->count - 2, err);
    if (!caller)
        return -1;
    tokens->entries[tokens->count].hash = hash;
    tokens->entries[tokens->count++].caller = caller;
    return 0;
}

struct hc_caller_tokens *hc_caller_tokens_parse(char *text, size_t size, const char *name,
                                                struct hc_error *err)
{
    HC_AUTO(hc_caller_tokens) *tokens = calloc(1, sizeof *tokens);
    struct token_line line = {.file = name};
    char *rest = text;

    if (!tokens) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    if (strlen(text) != size) {
        (void)hc_fail_field(err, HC_INVALID_OPTIONS, "auth-tokens",
                            "auth-tokens: %s: the file has a NUL byte", name);
        return NULL;
    }
    for (char *start = strsep(&rest, "\n"); start; start = strsep(&rest, "\n")) {
        line.number++;
        if (*start == '#')
            continue;
        if (token_line_split(&line, start, err) < 0 ||
            (line.count > 1 && tokens_add(tokens, &line, err) < 0))
            return NULL;
    }
    if (tokens->count > 0)
        return hc_take(&tokens);
    (void)hc_fail_field(err, HC_INVALID_OPTIONS, "auth-tokens",
                        "auth-tokens: %s: the file has no token", name);
    return NULL;
}

void hc_caller_tokens_free(struct hc_caller_tokens *tokens)
{
    if (!tokens)
        return;
    for (size_t i = 0; i < tokens->count; i++)
        hc_caller_release(tokens->entries[i].caller);
    free(tokens);
}

size_t hc_caller_tokens_count(const struct hc_caller_tokens *tokens)
{
    return tokens->count;
}

struct hc_caller *hc_caller_tokens_find(const struct hc_caller_tokens *tokens,
                                        const struct hc_credential_hash *hash)
{
    size_t found = tokens->count;

    for (size_t i = 0; i < tokens->count; i++) {
        if (CRYPTO_memcmp(tokens->entries[i].hash.bytes, hash->bytes,
                          sizeof hash->bytes) == 0)
            found = i;
    }
    return found < tokens->count ? tokens->entries[found].caller : NULL;
}
