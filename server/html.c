/* SPDX-License-Identifier: Apache-2.0 */
#include "html.h"

#include <base/text.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>

/* NULL: the character stands for itself. */
static const char *character_entity(char character)
{
    switch (character) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

/* Control characters, and bytes that are no UTF-8, are shown as hc_text_escape() has
 * them. */
void hc_html_text(FILE *out, const char *text)
{
    while (*text) {
        const char *entity = character_entity(*text);
        char escaped[HC_ESCAPED_MAX];

        if (entity) {
            (void)fputs(entity, out);
            text++;
        } else {
            size_t length = hc_text_escape_character(escaped, &text, "");

            (void)fwrite(escaped, 1, length, out);
        }
    }
}

void hc_html_count(FILE *out, uint64_t count)
{
    char digits[24];
    int length = hc_format(digits, sizeof digits, "%" PRIu64, count);

    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            (void)fputc(',', out);
        (void)fputc(digits[i], out);
    }
}

/* Three digits at least, as "9.99 GB" or "120 GB". */
void hc_html_bytes(FILE *out, uint64_t bytes)
{
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes / 1000;
    size_t unit = 0;
    int decimals = 0;

    if (bytes < 1000) {
        (void)fprintf(out, "%" PRIu64 " B", bytes);
        return;
    }
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    if (value < 9.995)
        decimals = 2;
    else if (value < 99.95)
        decimals = 1;
    (void)fprintf(out, "%.*f %s", decimals, value, units[unit]);
}

void hc_html_duration(FILE *out, int64_t ms)
{
    static const struct {
        int64_t seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    int64_t left = ms > 0 ? ms / 1000 : 0;
    size_t first = 0;

    while (units[first].seconds > 1 && left < units[first].seconds)
        first++;
    (void)fprintf(out, "%" PRId64 " %s", left / units[first].seconds, units[first].name);
    left %= units[first].seconds;
    if (left > 0 && left >= units[first + 1].seconds)
        (void)fprintf(out, " %" PRId64 " %s", left / units[first + 1].seconds,
                      units[first + 1].name);
}

void hc_html_time_text(char buffer[32], int64_t epoch_ms)
{
    time_t seconds = (time_t)(epoch_ms / 1000);
    struct tm utc;

    buffer[0] = '\0';
    if (gmtime_r(&seconds, &utc) && utc.tm_year + 1900 <= 9999)
        (void)strftime(buffer, 32, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

void hc_html_time(FILE *out, int64_t epoch_ms)
{
    char text[32];

    hc_html_time_text(text, epoch_ms);
    (void)fprintf(out, "<time datetime=\"%s\">%.10s %.8s</time>", text, text,
                  *text ? text + 11 : "");
}

void hc_html_age(FILE *out, int64_t now_ms, int64_t then_ms)
{
    hc_html_duration(out, now_ms - then_ms);
    (void)fputs(" ago", out);
}

void hc_html_repo(FILE *out, enum hc_repo_type type, const char *id)
{
    (void)fputs("<bdi class=\"name\">", out);
    hc_html_text(out, id);
    (void)fputs("</bdi>", out);
    if (type != HC_REPO_DEFAULT && type != HC_REPO_MODEL)
        (void)fprintf(out, " <span class=\"tag\">%s</span>", hc_repo_type_name(type));
}
