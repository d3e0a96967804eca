/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python's fnmatch, without its detour over regular expressions. A pattern is compiled to
 * tokens, one for each character, "?", "*" or set; matching then remembers the last "*"
 * only: what an earlier one could still give up, the last one can take as well.
 *
 * Sets follow what fnmatch.translate() makes of them, down to what happens when a range
 * that is the wrong way round is dropped: whatever then stands first decides whether the
 * set is negated.
 */
#include "patterns.h"

#include <base/error.h>
#include <base/text.h>
#include <hubcache/resolver.h>

#include <string.h>

enum kind { END, CHARACTER, ANY, STAR, SET };

struct token {
    enum kind kind;
    bool is_negated; /* SET */
    uint32_t point;  /* CHARACTER */
    uint16_t first;  /* SET: its symbols are [first, last) */
    uint16_t last;
};

/* A character of a set, or the "-" of a range. */
struct symbol {
    uint32_t point;
    bool is_range;
};

enum { ROOM = HC_PATTERN_MAX + 2 }; /* with the "*" after a "/", and END */

struct program {
    struct token tokens[ROOM];
    struct symbol symbols[ROOM];
    uint16_t token_count;
};

/* The next character; bytes that are none count as one each, as in Python's file names.
 */
static uint32_t next_point(const char **text)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *s = (const unsigned char *)*text;
    size_t length = hc_text_utf8_length(*text);
    uint32_t point = length ? s[0] & lead_bits[length] : 0xdc00U + s[0];

    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3f);
    *text += length ? length : 1;
    return point == '\\' ? '/' : point;
}

/* Where the set that starts after "[" ends; NULL: nowhere, the "[" is a character. */
static const char *find_set_end(const char *start)
{
    if (*start == '!')
        start++;
    if (*start == ']')
        start++;
    return strchr(start, ']');
}

/* Marks each "-" that stands between two ends of a range, as translate() finds them. */
static void mark_ranges(struct symbol *symbols, size_t count)
{
    size_t i = symbols[0].point == '!' ? 2 : 1;

    for (; i + 1 < count; i++) {
        if (symbols[i].point != '-')
            continue;
        symbols[i].is_range = true;
        i += 2;
    }
}

/* Drops ranges that are the wrong way round, from the right. Returns the new start. */
static size_t drop_empty_ranges(struct symbol *symbols, size_t count)
{
    size_t kept = count;

    for (size_t i = count; i-- > 0;) {
        if (symbols[i].is_range && symbols[i - 1].point > symbols[kept].point) {
            kept++;
            i--;
            continue;
        }
        symbols[--kept] = symbols[i];
    }
    return kept;
}

static struct token compile_set(struct program *program, const char *start,
                                const char *end, uint16_t first)
{
    struct symbol *symbols = program->symbols + first;
    struct token token = {.kind = SET};
    size_t count = 0;

    while (start < end)
        symbols[count++] = (struct symbol){.point = next_point(&start)};
    mark_ranges(symbols, count);
    token.first = (uint16_t)(first + drop_empty_ranges(symbols, count));
    token.last = (uint16_t)(first + count);
    if (token.first < token.last && program->symbols[token.first].point == '!') {
        token.is_negated = true;
        token.first++;
    }
    return token;
}

static struct token compile_token(struct program *program, const char **pattern,
                                  uint16_t *symbol_count)
{
    const char *start = *pattern;
    uint32_t point = next_point(pattern);
    const char *end = point == '[' ? find_set_end(*pattern) : NULL;
    struct token token = {.kind = CHARACTER, .point = point};

    if (point == '*')
        token.kind = STAR;
    if (point == '?')
        token.kind = ANY;
    if (end) {
        token = compile_set(program, start + 1, end, *symbol_count);
        *symbol_count = token.last;
        *pattern = end + 1;
    }
    return token;
}

static void compile(struct program *program, const char *pattern)
{
    uint16_t symbol_count = 0;
    uint32_t last = 0;

    program->token_count = 0;
    while (*pattern) {
        struct token token = compile_token(program, &pattern, &symbol_count);

        last = token.kind == CHARACTER ? token.point : 0;
        program->tokens[program->token_count++] = token;
    }
    if (last == '/')
        program->tokens[program->token_count++] = (struct token){.kind = STAR};
    program->tokens[program->token_count] = (struct token){.kind = END};
}

static bool set_has(const struct program *program, const struct token *token,
                    uint32_t point)
{
    const struct symbol *symbols = program->symbols;
    bool is_in = false;

    for (size_t i = token->first; i < token->last; i++) {
        if (i + 2 < token->last && symbols[i + 1].is_range) {
            is_in |= symbols[i].point <= point && point <= symbols[i + 2].point;
            i += 2;
            continue;
        }
        is_in |= symbols[i].point == point;
    }
    return is_in != token->is_negated;
}

static bool token_takes(const struct program *program, const struct token *token,
                        uint32_t point)
{
    switch (token->kind) {
    case CHARACTER:
        return token->point == point;
    case ANY:
        return true;
    case SET:
        return set_has(program, token, point);
    default:
        return false;
    }
}

static bool run(const struct program *program, const char *path)
{
    const struct token *token = program->tokens;
    const struct token *after_star = NULL;
    const char *retry = NULL; /* what the last star has not taken yet */

    while (*path || token->kind == STAR) {
        const char *next = path;

        if (token->kind == STAR) {
            after_star = ++token;
            retry = path;
            continue;
        }
        if (token_takes(program, token, next_point(&next))) {
            token++;
            path = next;
            continue;
        }
        if (!after_star)
            return false;
        (void)next_point(&retry);
        path = retry;
        token = after_star;
    }
    return token->kind == END;
}

bool hc_pattern_matches(const char *pattern, const char *path)
{
    struct program program;

    if (strnlen(pattern, HC_PATTERN_MAX + 1) > HC_PATTERN_MAX)
        return false;
    compile(&program, pattern);
    return run(&program, path);
}

static int check_list(const char *const *patterns, size_t count, const char *field,
                      struct hc_error *err)
{
    if (count > HC_PATTERNS_MAX)
        return hc_fail_field(err, HC_INVALID_PATTERN, field,
                             "%zu patterns: at most %d are allowed", count,
                             HC_PATTERNS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (strnlen(patterns[i], HC_PATTERN_MAX + 1) > HC_PATTERN_MAX)
            return hc_fail_field(err, HC_INVALID_PATTERN, field,
                                 "pattern %zu has more than %d bytes", i + 1,
                                 HC_PATTERN_MAX);
        if (!hc_text_is_utf8(patterns[i]))
            return hc_fail_field(err, HC_INVALID_PATTERN, field,
                                 "pattern %zu is not UTF-8", i + 1);
    }
    return 0;
}

int hc_patterns_check(const struct hc_patterns *patterns, struct hc_error *err)
{
    if (check_list(patterns->allow, patterns->allow_count, "allow_patterns", err) < 0)
        return -1;
    return check_list(patterns->ignore, patterns->ignore_count, "ignore_patterns", err);
}

static bool any_matches(const char *const *patterns, size_t count, const char *path)
{
    for (size_t i = 0; i < count; i++) {
        if (hc_pattern_matches(patterns[i], path))
            return true;
    }
    return false;
}

bool hc_patterns_select(const struct hc_patterns *patterns, const char *path)
{
    if (patterns->allow_count > 0 &&
        !any_matches(patterns->allow, patterns->allow_count, path))
        return false;
    return !any_matches(patterns->ignore, patterns->ignore_count, path);
}
