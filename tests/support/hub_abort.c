/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every failure of a test's own parts ends here, at abort().
 */
#include "hub_abort.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void hub_abort(const char *what, const char *detail)
{
    (void)fprintf(stderr, "test hub: %s: %s\n", what, detail);
    abort();
}

void *hub_require(void *memory)
{
    if (!memory)
        hub_abort("out of memory", "malloc failed");
    return memory;
}

char *hub_format(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    int length;

    va_start(args, format);
    length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0)
        hub_abort("out of memory", format);
    return text;
}

char *hub_strdup(const char *text)
{
    return text ? hub_require(strdup(text)) : NULL;
}
