/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brackets, commas and colons are read here, values by jansson, which says where it
 * stopped. Of a file, only a window is in memory. Before each value the window holds at
 * least HC_JSON_VALUE_MAX bytes, or all that is left: jansson cannot tell a value that is
 * cut off from one that is malformed. The window is four times as large, so that moving
 * its end to its start costs little per value.
 */
#include "json.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { WINDOW_SIZE = 4 * HC_JSON_VALUE_MAX };

void hc_json_from_text(struct hc_json *json, const char *bytes, size_t count)
{
    *json = (struct hc_json){.bytes = bytes, .count = count, .fd = -1};
}

int hc_json_from_file(struct hc_json *json, int fd, struct hc_error *err)
{
    *json = (struct hc_json){.fd = fd, .window = malloc(WINDOW_SIZE)};
    json->bytes = json->window;
    return json->window ? 0 : hc_fail_memory(err);
}

void hc_json_clear(struct hc_json *json)
{
    free(json->window);
    *json = (struct hc_json){.fd = -1};
}

/* Moves the window forward when the next value may reach beyond its end. */
static void json_fill_window(struct hc_json *json)
{
    if (json->fd < 0 || json->count - json->at >= HC_JSON_VALUE_MAX)
        return;
    json->count -= json->at;
    memmove(json->window, json->window + json->at, json->count);
    json->at = 0;
    while (json->count < WINDOW_SIZE) {
        ssize_t got =
            read(json->fd, json->window + json->count, WINDOW_SIZE - json->count);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            json->has_failed |= got < 0;
            json->fd = -1;
            return;
        }
        json->count += (size_t)got;
    }
}

/* The next byte that is no white space; '\0' at the end. */
static char json_peek(struct hc_json *json)
{
    for (;;) {
        json_fill_window(json);
        while (json->at < json->count && strchr(" \t\r\n", json->bytes[json->at]) &&
               json->bytes[json->at] != '\0')
            json->at++;
        if (json->at < json->count)
            return json->bytes[json->at];
        if (json->fd < 0)
            return '\0';
    }
}

static bool json_take_byte(struct hc_json *json, char byte)
{
    if (json_peek(json) != byte || json->at == json->count)
        return false;
    json->at++;
    return true;
}

bool hc_json_enter(struct hc_json *json, char open)
{
    if (!json_take_byte(json, open))
        return false;
    hc_json_resume(json, open);
    json->is_first = true;
    return true;
}

void hc_json_resume(struct hc_json *json, char open)
{
    json->close = (char)(open == '[' ? ']' : '}');
    json->is_first = false;
}

int hc_json_next(struct hc_json *json)
{
    if (json_take_byte(json, json->close))
        return 0;
    if (!json->is_first && !json_take_byte(json, ','))
        return -1;
    json->is_first = false;
    return 1;
}

/* Without JSON_DISABLE_EOF_CHECK jansson would take what follows the value for
 * garbage. */
json_t *hc_json_value(struct hc_json *json)
{
    json_error_t cause = {0};
    json_t *value;

    json_fill_window(json);
    value = json_loadb(json->bytes + json->at, json->count - json->at,
                       JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &cause);
    if (value)
        json->at += (size_t)cause.position;
    return value;
}

char *hc_json_key(struct hc_json *json)
{
    HC_AUTO_JSON *key = json_peek(json) == '"' ? hc_json_value(json) : NULL;
    const char *text = json_string_value(key);

    return text && json_take_byte(json, ':') ? strdup(text) : NULL;
}

/* A file that cannot be read to its end is not done: a short listing would look whole. */
bool hc_json_is_done(struct hc_json *json)
{
    return json_peek(json) == '\0' && json->at == json->count && !json->has_failed;
}
