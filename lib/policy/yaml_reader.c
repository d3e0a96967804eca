/* SPDX-License-Identifier: Apache-2.0 */
#include "yaml_reader.h"

#include <base/quantity.h>
#include <base/text.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { TEXT_MAX = 4096 /* bytes */ };

struct hc_yaml_reader {
    const char *name;
    yaml_parser_t parser;
    yaml_event_t event; /* the current one */
};

/* ---- failures ---------------------------------------------------------------------- */

static struct hc_yaml_place mark_place(const yaml_mark_t *mark)
{
    return (struct hc_yaml_place){.line = (unsigned)mark->line + 1,
                                  .column = (unsigned)mark->column + 1};
}

struct hc_yaml_place hc_yaml_place(const struct hc_yaml_reader *yaml)
{
    return mark_place(&yaml->event.start_mark);
}

int hc_yaml_fail_at(const struct hc_yaml_reader *yaml, struct hc_yaml_place place,
                    struct hc_error *err, const char *format, ...)
{
    char text[384];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return hc_fail_field(err, HC_INVALID_OPTIONS, "policy", "%s:%u:%u: %s", yaml->name,
                         place.line, place.column, text);
}

/* ---- events ------------------------------------------------------------------------ */

static bool event_has_extras(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor || event->data.mapping_start.tag;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static int yaml_fail_parse(const struct hc_yaml_reader *yaml, struct hc_error *err)
{
    const yaml_parser_t *parser = &yaml->parser;

    if (parser->error == YAML_MEMORY_ERROR)
        return hc_fail_memory(err);
    return hc_yaml_fail_at(yaml, mark_place(&parser->problem_mark), err, "%s",
                           parser->problem ? parser->problem : "this is no YAML");
}

int hc_yaml_next(struct hc_yaml_reader *yaml, struct hc_error *err)
{
    yaml_event_delete(&yaml->event);
    if (!yaml_parser_parse(&yaml->parser, &yaml->event)) {
        memset(&yaml->event, 0, sizeof yaml->event);
        return yaml_fail_parse(yaml, err);
    }
    if (event_has_extras(&yaml->event))
        return hc_yaml_fail(yaml, err, "a policy has no anchors, aliases or tags");
    return 0;
}

static int yaml_expect(const struct hc_yaml_reader *yaml, yaml_event_type_t type,
                       const char *what, struct hc_error *err)
{
    return yaml->event.type == type ? 0
                                    : hc_yaml_fail(yaml, err, "this must be %s", what);
}

const char *hc_yaml_text(const struct hc_yaml_reader *yaml, struct hc_error *err)
{
    const yaml_event_t *event = &yaml->event;
    const char *text = (const char *)event->data.scalar.value;

    if (yaml_expect(yaml, YAML_SCALAR_EVENT, "a text", err) < 0)
        return NULL;
    if (event->data.scalar.length == 0)
        (void)hc_yaml_fail(yaml, err, "this must be a text, and is empty");
    else if (strlen(text) != event->data.scalar.length || !hc_text_is_printable(text))
        (void)hc_yaml_fail(yaml, err, "this text has control characters");
    else if (event->data.scalar.length > TEXT_MAX)
        (void)hc_yaml_fail(yaml, err, "this text has more than %d bytes", TEXT_MAX);
    else
        return text;
    return NULL;
}

/* ---- mappings ---------------------------------------------------------------------- */

static const struct hc_yaml_key *keys_find(const struct hc_yaml_key *keys,
                                           const char *name)
{
    for (; keys->name; keys++) {
        if (strcmp(keys->name, name) == 0)
            return keys;
    }
    return NULL;
}

static int keys_fail_unknown(const struct hc_yaml_reader *yaml,
                             const struct hc_yaml_key *keys, const char *name,
                             struct hc_error *err)
{
    char shown[64], known[256] = "";
    size_t used = 0;

    hc_text_excerpt(shown, sizeof shown, name);
    for (; keys->name; keys++) {
        int length = hc_format(known + used, sizeof known - used, "%s%s",
                               used ? ", " : "", keys->name);

        if (length < 0)
            break;
        used += (size_t)length;
    }
    return hc_yaml_fail(yaml, err, "there is no key '%s' here; there are: %s", shown,
                        known);
}

/* One key and its value. `*seen` has a bit for each key that was there before. */
static int mapping_read_pair(struct hc_yaml_reader *yaml, const struct hc_yaml_key *keys,
                             void *target, uint32_t *seen, struct hc_error *err)
{
    const char *name = hc_yaml_text(yaml, err);
    const struct hc_yaml_key *key;
    uint32_t bit;

    if (!name)
        return -1;
    key = keys_find(keys, name);
    if (!key)
        return keys_fail_unknown(yaml, keys, name, err);
    bit = UINT32_C(1) << (key - keys);
    if (*seen & bit)
        return hc_yaml_fail(yaml, err, "the key '%s' is here twice", key->name);
    *seen |= bit;
    if (hc_yaml_next(yaml, err) < 0)
        return -1;
    return key->read(yaml, target, err);
}

int hc_yaml_read_mapping(struct hc_yaml_reader *yaml, const struct hc_yaml_key *keys,
                         size_t required, void *target, struct hc_error *err)
{
    struct hc_yaml_place start = hc_yaml_place(yaml);
    uint32_t seen = 0;

    if (yaml_expect(yaml, YAML_MAPPING_START_EVENT, "a mapping, 'key: value'", err) < 0)
        return -1;
    for (;;) {
        if (hc_yaml_next(yaml, err) < 0)
            return -1;
        if (yaml->event.type == YAML_MAPPING_END_EVENT)
            break;
        if (mapping_read_pair(yaml, keys, target, &seen, err) < 0)
            return -1;
    }
    for (size_t i = 0; i < required; i++) {
        if (!(seen & UINT32_C(1) << i))
            return hc_yaml_fail_at(yaml, start, err, "the key '%s' is missing",
                                   keys[i].name);
    }
    return 0;
}

/* Calls `add` at each item up to the event of type `end`. */
static int yaml_read_items(struct hc_yaml_reader *yaml, yaml_event_type_t end,
                           hc_yaml_read *add, void *target, struct hc_error *err)
{
    for (;;) {
        if (hc_yaml_next(yaml, err) < 0)
            return -1;
        if (yaml->event.type == end)
            return 0;
        if (add(yaml, target, err) < 0)
            return -1;
    }
}

int hc_yaml_read_list(struct hc_yaml_reader *yaml, hc_yaml_read *add, void *target,
                      struct hc_error *err)
{
    if (yaml_expect(yaml, YAML_SEQUENCE_START_EVENT, "a list, [a, b]", err) < 0)
        return -1;
    return yaml_read_items(yaml, YAML_SEQUENCE_END_EVENT, add, target, err);
}

int hc_yaml_read_names(struct hc_yaml_reader *yaml, const char *what, hc_yaml_read *add,
                       void *target, struct hc_error *err)
{
    if (yaml_expect(yaml, YAML_MAPPING_START_EVENT, what, err) < 0)
        return -1;
    return yaml_read_items(yaml, YAML_MAPPING_END_EVENT, add, target, err);
}

/* ---- scalars ----------------------------------------------------------------------- */

int hc_yaml_read_text(const struct hc_yaml_reader *yaml, char **value,
                      struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    *value = hc_text_copy(text, err);
    return *value ? 0 : -1;
}

int hc_yaml_read_bool(const struct hc_yaml_reader *yaml, bool *value,
                      struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    *value = strcmp(text, "true") == 0;
    if (*value || strcmp(text, "false") == 0)
        return 0;
    return hc_yaml_fail(yaml, err, "this must be true or false");
}

int hc_yaml_read_size(const struct hc_yaml_reader *yaml, uint64_t *value,
                      struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    if (hc_size_parse(text, value) == 0 && *value > 0)
        return 0;
    return hc_yaml_fail(yaml, err, "this must be a size such as 500M, 10G or 2T");
}

int hc_yaml_read_duration(const struct hc_yaml_reader *yaml, int64_t *value,
                          struct hc_error *err)
{
    const char *text = hc_yaml_text(yaml, err);

    if (!text)
        return -1;
    if (hc_duration_parse(text, value) == 0)
        return 0;
    return hc_yaml_fail(yaml, err, "this must be a duration such as 60s, 5m, 1h or 30d");
}

/* ---- the whole --------------------------------------------------------------------- */

int hc_yaml_read_document(struct hc_yaml_reader *yaml, const struct hc_yaml_key *keys,
                          size_t required, void *target, struct hc_error *err)
{
    if (hc_yaml_next(yaml, err) < 0) /* the stream begins */
        return -1;
    if (hc_yaml_next(yaml, err) < 0)
        return -1;
    if (yaml->event.type == YAML_STREAM_END_EVENT)
        return hc_yaml_fail(yaml, err, "the policy is empty; write 'version: 1'");
    if (hc_yaml_next(yaml, err) < 0 ||
        hc_yaml_read_mapping(yaml, keys, required, target, err) < 0 ||
        hc_yaml_next(yaml, err) < 0 || hc_yaml_next(yaml, err) < 0)
        return -1;
    if (yaml->event.type != YAML_STREAM_END_EVENT)
        return hc_yaml_fail(yaml, err, "a policy is one document");
    return 0;
}

void hc_yaml_reader_free(struct hc_yaml_reader *yaml)
{
    if (!yaml)
        return;
    yaml_event_delete(&yaml->event);
    yaml_parser_delete(&yaml->parser);
    free(yaml);
}

struct hc_yaml_reader *hc_yaml_reader_new(const char *text, size_t size, const char *name,
                                          struct hc_error *err)
{
    struct hc_yaml_reader *yaml = calloc(1, sizeof *yaml);

    if (!yaml || !yaml_parser_initialize(&yaml->parser)) {
        (void)hc_fail_memory(err);
        hc_yaml_reader_free(yaml);
        return NULL;
    }
    yaml->name = name;
    yaml_parser_set_input_string(&yaml->parser, (const unsigned char *)text, size);
    return yaml;
}
