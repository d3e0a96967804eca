/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table per kind of unit.
 */
#include "units.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t milliseconds;
};

static const struct unit units[] = {
    {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

int hc_duration_parse(const char *text, int64_t *milliseconds)
{
    char *end;
    long long count;

    if (!isdigit((unsigned char)text[0]))
        return -1;
    errno = 0;
    count = strtoll(text, &end, 10);
    if (errno != 0)
        return -1;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(end, units[i].name) == 0)
            return __builtin_mul_overflow(count, units[i].milliseconds, milliseconds) ? -1
                                                                                      : 0;
    }
    return -1;
}

void hc_duration_format(char text[HC_UNITS_TEXT_MAX], uint64_t seconds)
{
    unsigned second = (unsigned)(seconds % 60);
    unsigned minute = (unsigned)(seconds / 60 % 60);

    if (seconds < 3600)
        (void)snprintf(text, HC_UNITS_TEXT_MAX, "%u:%02u", minute, second);
    else
        (void)snprintf(text, HC_UNITS_TEXT_MAX, "%llu:%02u:%02u",
                       (unsigned long long)(seconds / 3600), minute, second);
}

void hc_bytes_format(char text[HC_UNITS_TEXT_MAX], uint64_t bytes)
{
    static const char *const names[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1000;
    size_t i = 0;

    if (bytes < 1000) {
        (void)snprintf(text, HC_UNITS_TEXT_MAX, "%u B", (unsigned)bytes);
        return;
    }
    /* What would be shown as 1000.0 belongs to the next unit. */
    for (; value >= 999.95 && i + 1 < sizeof names / sizeof *names; i++)
        value /= 1000;
    (void)snprintf(text, HC_UNITS_TEXT_MAX, "%.1f %s", value, names[i]);
}
