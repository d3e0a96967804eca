/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table of units for sizes and one for ages, both those of `hf cache ls`.
 */
#include "units.h"

#include "base/text.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct unit {
    const char *name;
    uint64_t factor;
};

#define KILO UINT64_C(1000)
#define DAY UINT64_C(86400)
#define DAY_S INT64_C(86400)

static const struct unit byte_units[] = {
    {"", 1},
    {"b", 1},
    {"k", KILO},
    {"kb", KILO},
    {"m", KILO *KILO},
    {"mb", KILO *KILO},
    {"g", KILO *KILO *KILO},
    {"gb", KILO *KILO *KILO},
    {"t", KILO *KILO *KILO *KILO},
    {"tb", KILO *KILO *KILO *KILO},
    {"p", KILO *KILO *KILO *KILO *KILO},
    {"pb", KILO *KILO *KILO *KILO *KILO},
    {NULL, 0},
};

static const struct unit age_units[] = {
    {"", 1},        {"s", 1},         {"m", 60},        {"h", 3600}, {"d", DAY},
    {"w", 7 * DAY}, {"mo", 30 * DAY}, {"y", 365 * DAY}, {NULL, 0},
};

/* A number with a unit, of either case and perhaps after a space. */
static int number_parse(const char *text, const struct unit *units, uint64_t *number)
{
    char *end;
    double value;

    if (!isdigit((unsigned char)text[0]) || text[1] == 'x' || text[1] == 'X')
        return -1;
    value = strtod(text, &end);
    end += strspn(end, " ");
    for (; units->name; units++) {
        if (strcasecmp(end, units->name) != 0)
            continue;
        value *= (double)units->factor;
        if (!(value < (double)INT64_MAX))
            return -1;
        *number = (uint64_t)llround(value);
        return 0;
    }
    return -1;
}

int hc_bytes_parse(const char *text, uint64_t *bytes)
{
    return number_parse(text, byte_units, bytes);
}

int hc_age_parse(const char *text, int64_t *seconds)
{
    uint64_t number;

    if (number_parse(text, age_units, &number) < 0)
        return -1;
    *seconds = (int64_t)number;
    return 0;
}

/* The largest unit of which there is at least one, as `hf cache ls` rounds. */
void hc_age_format(char text[HC_UNITS_TEXT_MAX], const Google__Protobuf__Timestamp *time,
                   int64_t now_s)
{
    static const struct {
        const char *name;
        int64_t seconds, max;
    } units[] = {
        {"second", 1, 59},
        {"minute", 60, 59},
        {"hour", 3600, 23},
        {"day", DAY_S, 6},
        {"week", 7 * DAY_S, 6},
        {"month", 30 * DAY_S, 11},
        {"year", 365 * DAY_S, INT64_MAX},
    };
    int64_t age = time ? now_s - time->seconds : 0;
    long long value = 0;
    size_t i = 0;

    text[0] = '\0';
    if (!time)
        return;
    if (age < 20) {
        (void)hc_format(text, HC_UNITS_TEXT_MAX, "a few seconds ago");
        return;
    }
    for (;; i++) {
        value = llround((double)age / (double)units[i].seconds);
        if (value <= units[i].max)
            break;
    }
    (void)hc_format(text, HC_UNITS_TEXT_MAX, "%lld %s%s ago", value, units[i].name,
                    value > 1 ? "s" : "");
}

void hc_time_format(char text[HC_UNITS_TEXT_MAX], const Google__Protobuf__Timestamp *time)
{
    time_t seconds = time ? (time_t)time->seconds : 0;
    char date[HC_UNITS_TEXT_MAX];
    struct tm utc;

    text[0] = '\0';
    if (!time || !gmtime_r(&seconds, &utc) ||
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &utc) == 0)
        return;
    (void)hc_format(text, HC_UNITS_TEXT_MAX, "%s.%03dZ", date, time->nanos / 1000000);
}
