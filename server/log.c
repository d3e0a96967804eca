/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is put together in memory and written with one write, so that the lines of
 * several threads do not mix. Quotes, backslashes and what hc_text_escape() knows are
 * escaped as in JSON, in both formats.
 */
#include "log.h"

#include <base/auto.h>
#include <base/text.h>

#include <inttypes.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Written once before there are threads. */
static struct {
    enum hc_log_level level;
    bool is_json;
} sink = {HC_LOG_INFO, false};

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void hc_log_set(enum hc_log_level level, bool is_json)
{
    sink.level = level;
    sink.is_json = is_json;
}

bool hc_log_wants(enum hc_log_level level)
{
    return level <= sink.level;
}

static void put_quoted(FILE *line, const char *text)
{
    (void)fputc('"', line);
    hc_text_escape(line, text, "\"\\");
    (void)fputc('"', line);
}

/* A word that no reader of key=value can mistake needs no quotes. */
static bool is_word(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at <= ' ' || *at > '~' || *at == '"' || *at == '\\' || *at == '=')
            return false;
    }
    return *text != '\0';
}

static void put_value(FILE *line, const struct hc_log_field *field)
{
    if (!field->text)
        (void)fprintf(line, "%" PRId64, field->number);
    else if (!sink.is_json && is_word(field->text))
        (void)fputs(field->text, line);
    else
        put_quoted(line, field->text);
}

static void put_json(FILE *line, enum hc_log_level level, const char *message,
                     const struct hc_log_field *fields)
{
    char when[40] = "";
    struct timespec now;
    struct tm utc;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (gmtime_r(&now.tv_sec, &utc))
        (void)strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)fprintf(line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"msg\":", when,
                  now.tv_nsec / 1000000, level_names[level]);
    put_quoted(line, message);
    for (; fields->key; fields++) {
        (void)fprintf(line, ",\"%s\":", fields->key);
        put_value(line, fields);
    }
    (void)fputs("}\n", line);
}

static void put_text(FILE *line, enum hc_log_level level, const char *message,
                     const struct hc_log_field *fields)
{
    (void)fprintf(line, "%s %s", level_names[level], message);
    for (; fields->key; fields++) {
        (void)fprintf(line, " %s=", fields->key);
        put_value(line, fields);
    }
    (void)fputc('\n', line);
}

void hc_log(enum hc_log_level level, const char *message,
            const struct hc_log_field *fields)
{
    HC_AUTO_FREE char *text = NULL;
    size_t size = 0;
    FILE *line = open_memstream(&text, &size);

    if (!line)
        return;
    if (sink.is_json)
        put_json(line, level, message, fields);
    else
        put_text(line, level, message, fields);
    if (fclose(line) == 0 && write(STDERR_FILENO, text, size) < 0)
        return; /* nobody is left to tell */
}
