/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Python's fnmatch, without its detour over regular expressions. A pattern is compiled to
 * tokens, one for each character, "?", "*" or set, and to the text that it begins and
 * ends with. That text refuses most files, and decides a pattern that has one "*" at most
 * and nothing else. Matching the tokens remembers the last "*" only: what an earlier one
 * could still give up, the last one can take as well.
 *
 * Sets follow what fnmatch.translate() makes of them, down to what happens when a range
 * that is the wrong way round is dropped: whatever then stands first decides whether the
 * set is negated.
 */
#include "patterns.h"

#include <base/error.h>
#include <base/text.h>
#include <hubcache/resolver.h>

#include <stdint.h>
#include <string.h>

/* A token is its kind and a value: the code point of a CHARACTER, or where among the
 * symbols of the filter a SET begins. */
enum token_kind { END, CHARACTER, ANY, STAR, SET };

enum { VALUE_BITS = 29, CHECK_STEPS = 1 << 17 };

static const uint32_t value_mask = (UINT32_C(1) << VALUE_BITS) - 1;

/* In a symbol: it is the "-" of a range. In the head of a set: the set is negated. */
static const uint32_t mark = UINT32_C(1) << 31;

/* A pattern of a filter; all point into the arrays of the filter. */
struct pattern {
    const uint32_t *tokens;
    const char *prefix; /* what every path that matches begins with */
    const char *suffix; /* and ends with, behind the prefix */
    uint16_t prefix_length;
    uint16_t suffix_length;
    bool is_exact;  /* the path is the prefix */
    bool is_simple; /* prefix and suffix decide */
};

/* One array for each kind of thing, of all patterns together: compiling a thousand
 * patterns allocates no more often than compiling one. */
struct hc_filter {
    struct pattern *patterns; /* those that allow, then those that ignore */
    size_t allow_count;
    size_t count;
    uint32_t *tokens;  /* of all patterns */
    uint32_t *symbols; /* of all sets: for each a head with their number, then they */
    char *texts;       /* prefixes and suffixes */
    size_t token_count;
    size_t symbol_count;
    size_t text_used;
    struct hc_cancellation *cancellation;
    size_t steps; /* since the cancellation was last checked */
    char *path;   /* with "/" for each "\" */
    size_t path_size;
};

/* One of `enum kind`. */
static uint32_t token_kind_of(uint32_t token)
{
    return token >> VALUE_BITS;
}

static uint32_t token_of(enum token_kind token_kind, uint32_t value)
{
    return (uint32_t)token_kind << VALUE_BITS | value;
}

/* The next character. A byte that is no UTF-8 counts as one, as Python's os.fsdecode()
 * makes of it (surrogateescape). */
static uint32_t next_code_point(const char **text)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *s = (const unsigned char *)*text;
    size_t length;
    uint32_t point;

    if (s[0] < 0x80) {
        ++*text;
        return s[0] == '\\' ? '/' : s[0];
    }
    length = hc_text_utf8_length(*text);
    point = length ? s[0] & lead_bits[length] : 0xdc00U + s[0];
    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3f);
    *text += length ? length : 1;
    return point;
}

/* ---- compiling --------------------------------------------------------------------- */

/* The "]" of the set that starts after "["; NULL: there is none, the "[" is a
 * character. */
static const char *find_set_end(const char *start)
{
    if (*start == '!')
        start++;
    if (*start == ']')
        start++;
    return strchr(start, ']');
}

/* Marks each "-" that stands between two ends of a range, as translate() finds them. */
static void mark_ranges(uint32_t *symbols, size_t count)
{
    size_t i = symbols[0] == '!' ? 2 : 1;

    for (; i + 1 < count; i++) {
        if (symbols[i] != '-')
            continue;
        symbols[i] |= mark;
        i += 2;
    }
}

/* Drops ranges whose ends are in the wrong order, such as "z-a", from the right, and
 * moves what stays to the end. Returns where it starts. */
static size_t drop_empty_ranges(uint32_t *symbols, size_t count)
{
    size_t kept = count;

    for (size_t i = count; i-- > 0;) {
        if ((symbols[i] & mark) && symbols[i - 1] > symbols[kept]) {
            kept++;
            i--;
            continue;
        }
        symbols[--kept] = symbols[i];
    }
    return kept;
}

/* The head is written right before the first symbol that is kept. */
static uint32_t pattern_compile_set(struct hc_filter *filter, const char *start,
                                    const char *end)
{
    size_t head = filter->symbol_count;
    uint32_t *symbols = filter->symbols + head + 1;
    uint32_t is_negated = 0;
    size_t count = 0;
    size_t first;

    while (start < end)
        symbols[count++] = next_code_point(&start);
    filter->symbol_count += count + 1;
    mark_ranges(symbols, count);
    first = drop_empty_ranges(symbols, count);
    if (first < count && symbols[first] == '!') {
        is_negated = mark;
        first++;
    }
    head += first;
    filter->symbols[head] = (uint32_t)(count - first) | is_negated;
    return token_of(SET, (uint32_t)head);
}

static uint32_t pattern_compile_token(struct hc_filter *filter, const char **pattern)
{
    uint32_t point = next_code_point(pattern);
    const char *start = *pattern;
    const char *end = point == '[' ? find_set_end(start) : NULL;

    if (point == '*')
        return token_of(STAR, 0);
    if (point == '?')
        return token_of(ANY, 0);
    if (!end)
        return token_of(CHARACTER, point);
    *pattern = end + 1;
    return pattern_compile_set(filter, start, end);
}

/* Copies the bytes [from, to) of a pattern into the texts of the filter. */
static const char *filter_keep_text(struct hc_filter *filter, const char *from,
                                    const char *to)
{
    char *text = filter->texts + filter->text_used;
    size_t length = (size_t)(to - from);

    for (size_t i = 0; i < length; i++)
        text[i] = (char)(from[i] == '\\' ? '/' : from[i]);
    filter->text_used += length;
    return text;
}

/* Fills `pattern` with its tokens, and with the runs of characters at both ends. */
static void pattern_compile(struct hc_filter *filter, const char *text,
                            struct pattern *pattern)
{
    uint32_t *tokens = filter->tokens + filter->token_count;
    const char *at = text, *run = text; /* where the last run of characters began */
    const char *prefix_end = NULL;
    unsigned stars = 0, others = 0;
    size_t count = 0;

    while (*at) {
        const char *start = at;
        uint32_t token = pattern_compile_token(filter, &at);

        tokens[count++] = token;
        if (token_kind_of(token) == CHARACTER)
            continue;
        if (!prefix_end)
            prefix_end = start;
        run = at;
        others += token_kind_of(token) != STAR;
        stars +=
            token_kind_of(token) == STAR &&
            (count < 2 || token_kind_of(tokens[count - 2]) != STAR); /* "**" is "*" */
    }
    if (count > 0 && tokens[count - 1] == token_of(CHARACTER, '/')) {
        tokens[count++] = token_of(STAR, 0);
        prefix_end = prefix_end ? prefix_end : at;
        run = at;
        stars++;
    }
    tokens[count++] = token_of(END, 0);
    filter->token_count += count;
    pattern->tokens = tokens;
    pattern->is_exact = !prefix_end;
    pattern->is_simple = others == 0 && stars <= 1;
    prefix_end = prefix_end ? prefix_end : at;
    pattern->prefix = filter_keep_text(filter, text, prefix_end);
    pattern->prefix_length = (uint16_t)(prefix_end - text);
    if (pattern->is_exact)
        return;
    pattern->suffix = filter_keep_text(filter, run, at);
    pattern->suffix_length = (uint16_t)(at - run);
}

static size_t patterns_total_length(const char *const *patterns, size_t count)
{
    size_t total = 0;

    for (size_t i = 0; i < count; i++)
        total += strlen(patterns[i]);
    return total;
}

/* At most one token for each byte, one for the end of each pattern, and one for the "*"
 * behind a "/" at its end. */
static int filter_allocate(struct hc_filter *filter, size_t length, struct hc_error *err)
{
    filter->patterns = calloc(filter->count + 1, sizeof *filter->patterns);
    filter->tokens = calloc(length + 2 * filter->count + 1, sizeof *filter->tokens);
    filter->symbols = calloc(length + 1, sizeof *filter->symbols);
    filter->texts = malloc(length + 1);
    if (!filter->patterns || !filter->tokens || !filter->symbols || !filter->texts)
        return hc_fail_memory(err);
    return 0;
}

struct hc_filter *hc_filter_new(const struct hc_patterns *patterns,
                                struct hc_cancellation *cancellation,
                                struct hc_error *err)
{
    HC_AUTO(hc_filter) *filter = calloc(1, sizeof *filter);
    size_t length = patterns_total_length(patterns->allow, patterns->allow_count) +
                    patterns_total_length(patterns->ignore, patterns->ignore_count);

    if (!filter) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    filter->cancellation = cancellation;
    filter->allow_count = patterns->allow_count;
    filter->count = patterns->allow_count + patterns->ignore_count;
    if (filter_allocate(filter, length, err) < 0)
        return NULL;
    for (size_t i = 0; i < patterns->allow_count; i++)
        pattern_compile(filter, patterns->allow[i], &filter->patterns[i]);
    for (size_t i = 0; i < patterns->ignore_count; i++)
        pattern_compile(filter, patterns->ignore[i],
                        &filter->patterns[patterns->allow_count + i]);
    return hc_take(&filter);
}

void hc_filter_free(struct hc_filter *filter)
{
    if (!filter)
        return;
    free(filter->patterns);
    free(filter->tokens);
    free(filter->symbols);
    free(filter->texts);
    free(filter->path);
    free(filter);
}

/* ---- matching ---------------------------------------------------------------------- */

static bool set_has(const struct hc_filter *filter, uint32_t token, uint32_t point)
{
    const uint32_t *symbols = filter->symbols + (token & value_mask);
    size_t count = *symbols & ~mark;
    bool is_negated = *symbols & mark;
    bool is_in = false;

    symbols++;
    for (size_t i = 0; i < count; i++) {
        if (i + 2 < count && (symbols[i + 1] & mark)) {
            is_in |= symbols[i] <= point && point <= symbols[i + 2];
            i += 2;
            continue;
        }
        is_in |= (symbols[i] & ~mark) == point;
    }
    return is_in != is_negated;
}

static bool token_matches(const struct hc_filter *filter, uint32_t token, uint32_t point)
{
    switch (token_kind_of(token)) {
    case CHARACTER:
        return (token & value_mask) == point;
    case ANY:
        return true;
    case SET:
        return set_has(filter, token, point);
    default:
        return false;
    }
}

/* What is matched, and how many steps that has taken. */
struct subject {
    const char *text;
    size_t length;
    size_t steps;
};

static bool pattern_match_tokens(const struct hc_filter *filter, const uint32_t *token,
                                 struct subject *subject)
{
    const char *path = subject->text;
    const uint32_t *after_star = NULL;
    const char *retry =
        NULL; /* the part of the path that the last star has not taken yet */

    while (*path || token_kind_of(*token) == STAR) {
        const char *next = path;

        subject->steps++;
        if (token_kind_of(*token) == STAR) {
            after_star = ++token;
            retry = path;
            if (token_kind_of(*token) == END)
                return true;
            continue;
        }
        if (token_matches(filter, *token, next_code_point(&next))) {
            token++;
            path = next;
            continue;
        }
        if (!after_star)
            return false;
        (void)next_code_point(&retry);
        path = retry;
        token = after_star;
    }
    return token_kind_of(*token) == END;
}

/* Prefix and suffix decide most files; the tokens are compared for what is left. */
static bool pattern_matches(const struct hc_filter *filter, const struct pattern *pattern,
                            struct subject *subject)
{
    const char *path = subject->text;
    size_t length = subject->length;
    size_t prefix = pattern->prefix_length, suffix = pattern->suffix_length;

    if (length < prefix + suffix || memcmp(path, pattern->prefix, prefix) != 0)
        return false;
    if (pattern->is_exact)
        return length == prefix;
    if (suffix > 0 && memcmp(path + length - suffix, pattern->suffix, suffix) != 0)
        return false;
    return pattern->is_simple || pattern_match_tokens(filter, pattern->tokens, subject);
}

/* Checks the cancellation every CHECK_STEPS steps: a check reads a clock. */
static int filter_count_step(struct hc_filter *filter, struct hc_error *err)
{
    if (++filter->steps <= CHECK_STEPS)
        return 0;
    filter->steps = 0;
    return hc_cancellation_check(filter->cancellation, err);
}

/* 1: one of the patterns [first, last) matches; 0; -1 when it was cancelled. */
static int any_pattern_matches(struct hc_filter *filter, size_t first, size_t last,
                               const char *path, struct hc_error *err)
{
    struct subject subject = {.text = path, .length = strlen(path)};

    for (size_t i = first; i < last; i++) {
        bool matches = pattern_matches(filter, &filter->patterns[i], &subject);

        filter->steps += subject.steps;
        subject.steps = 0;
        if (matches)
            return 1;
        if (filter_count_step(filter, err) < 0)
            return -1;
    }
    return 0;
}

/* A copy of `path` with "/" for each "\", borrowed until the next call. */
static const char *filter_replace_backslashes(struct hc_filter *filter, const char *path,
                                              struct hc_error *err)
{
    size_t size = strlen(path) + 1;

    if (size > filter->path_size) {
        char *grown = realloc(filter->path, size);

        if (!grown) {
            (void)hc_fail_memory(err);
            return NULL;
        }
        filter->path = grown;
        filter->path_size = size;
    }
    for (size_t i = 0; i < size; i++)
        filter->path[i] = (char)(path[i] == '\\' ? '/' : path[i]);
    return filter->path;
}

int hc_filter_check(const struct hc_filter *filter, size_t files, struct hc_error *err)
{
    if (filter->count == 0 || files <= HC_MATCHES_MAX / filter->count)
        return 0;
    return hc_fail_field(err, HC_INVALID_PATTERN,
                         filter->allow_count > 0 ? "allow_patterns" : "ignore_patterns",
                         "%zu patterns for %zu files: patterns times files may be %d at "
                         "most; use fewer patterns",
                         filter->count, files, HC_MATCHES_MAX);
}

int hc_filter_select(struct hc_filter *filter, const char *path, struct hc_error *err)
{
    int result = 1;

    if (filter_count_step(filter, err) < 0)
        return -1;
    if (filter->count == 0)
        return 1;
    if (strchr(path, '\\')) {
        path = filter_replace_backslashes(filter, path, err);
        if (!path)
            return -1;
    }
    if (filter->allow_count > 0)
        result = any_pattern_matches(filter, 0, filter->allow_count, path, err);
    if (result <= 0)
        return result;
    result = any_pattern_matches(filter, filter->allow_count, filter->count, path, err);
    return result < 0 ? -1 : !result;
}

bool hc_filter_allows(const struct hc_filter *filter, const char *text)
{
    char turned[HC_FILTER_TEXT_MAX + 1];
    struct subject subject = {.text = text, .length = strlen(text)};

    if (strchr(text, '\\')) {
        if (subject.length > HC_FILTER_TEXT_MAX)
            return false;
        for (size_t i = 0; i <= subject.length; i++)
            turned[i] = (char)(text[i] == '\\' ? '/' : text[i]);
        subject.text = turned;
    }
    for (size_t i = 0; i < filter->allow_count; i++) {
        if (pattern_matches(filter, &filter->patterns[i], &subject))
            return true;
    }
    return false;
}

/* ---- limits ------------------------------------------------------------------------ */

static int patterns_check_list(const char *const *patterns, size_t count,
                               const char *field, struct hc_error *err)
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
    if (patterns_check_list(patterns->allow, patterns->allow_count, "allow_patterns",
                            err) < 0)
        return -1;
    return patterns_check_list(patterns->ignore, patterns->ignore_count,
                               "ignore_patterns", err);
}
