/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strtoull() would accept white space and a sign, so the first character is checked. A
 * factor that overflows is a failure and not a small number.
 */
#include "quantity.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* The digits times the factor of the unit behind them; -1: neither, or above `most`. */
static int quantity_parse(const char *text, const struct unit *units, size_t count,
                          uint64_t most, uint64_t *value)
{
    uint64_t number, product;
    char *rest;

    if (!isdigit((unsigned char)text[0]))
        return -1;
    errno = 0;
    number = strtoull(text, &rest, 10);
    if (errno != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rest, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(number, units[i].factor, &product) || product > most)
            return -1;
        *value = product;
        return 0;
    }
    return -1;
}

int hc_size_parse(const char *text, uint64_t *bytes)
{
    static const struct unit units[] = {
        {"", 1},
        {"k", 1000},
        {"K", 1000},
        {"M", UINT64_C(1000) * 1000},
        {"G", UINT64_C(1000) * 1000 * 1000},
        {"T", UINT64_C(1000) * 1000 * 1000 * 1000},
    };

    return quantity_parse(text, units, sizeof units / sizeof *units, UINT64_MAX, bytes);
}

int hc_duration_parse(const char *text, int64_t *milliseconds)
{
    static const struct unit units[] = {
        {"", 1000}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
    };
    uint64_t value;

    if (quantity_parse(text, units, sizeof units / sizeof *units, INT64_MAX, &value) < 0)
        return -1;
    *milliseconds = (int64_t)value;
    return 0;
}
