/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns, "<pattern>\n<path>": "*" takes everything, and a pattern without anything
 * special is the path.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <hubcache/resolver.h>
#include <policy/patterns.h>

static void turn_backslashes(char *text)
{
    for (char *s = strchr(text, '\\'); s; s = strchr(s, '\\'))
        *s = '/';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *pattern = text_of(data, size);
    char *path = cut(pattern);
    size_t length = strlen(pattern);
    bool matches;

    if (!path)
        return 0;
    matches = hc_pattern_matches(pattern, path);
    must(hc_pattern_matches("*", path));
    turn_backslashes(pattern);
    turn_backslashes(path);
    must(hc_pattern_matches(pattern, path) == matches);
    if (length > HC_PATTERN_MAX)
        must(!matches);
    else if (!strpbrk(pattern, "*?[") && (length == 0 || pattern[length - 1] != '/'))
        must(matches == (strcmp(pattern, path) == 0));
    return 0;
}
