/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a test hub that cannot go on, and the allocations that lead there.
 */
#include "hub_must.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hub_die(const char *what, const char *detail)
{
    (void)fprintf(stderr, "test hub: %s: %s\n", what, detail);
    abort();
}

void *hub_must(void *memory)
{
    if (!memory)
        hub_die("out of memory", "no more to be had");
    return memory;
}

char *hub_text(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    int length;

    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        hub_die("out of memory", format);
    return text;
}

char *hub_copy(const char *text)
{
    return text ? hub_must(strdup(text)) : NULL;
}
