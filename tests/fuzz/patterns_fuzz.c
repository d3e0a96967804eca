/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns, "<pattern>\n<path>". The pattern "*" matches every path, and a pattern
 * without special characters matches only the path that it spells.
 */
#include "../support/pattern.h"
#include "fuzz.h"

#include <base/auto.h>
#include <hubcache/resolver.h>
#include <policy/patterns.h>

static void fuzz_turn_backslashes(char *text)
{
    for (char *s = strchr(text, '\\'); s; s = strchr(s, '\\'))
        *s = '/';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *pattern = fuzz_text(data, size);
    char *path = fuzz_cut_line(pattern);
    size_t length = strlen(pattern);
    bool matches;

    if (!path)
        return 0;
    matches = pattern_selects(pattern, path);
    fuzz_require(pattern_selects("*", path));
    fuzz_turn_backslashes(pattern);
    fuzz_turn_backslashes(path);
    fuzz_require(pattern_selects(pattern, path) == matches);
    if (length > HC_PATTERN_MAX)
        fuzz_require(!matches);
    else if (!strpbrk(pattern, "*?[") && (length == 0 || pattern[length - 1] != '/'))
        fuzz_require(matches == (strcmp(pattern, path) == 0));
    return 0;
}
