/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Written by hand because the bytes must be those of the reference client: indented by
 * one, in its order of keys, everything beyond ASCII as \uXXXX. Read entry by entry, and
 * strictly: a listing of which one entry cannot be understood is no listing.
 */
#include "tree_json.h"

#include "name.h"

#include <base/json.h>
#include <base/text.h>

#include <inttypes.h>
#include <string.h>

enum { FORMAT_VERSION = 1 };

static uint32_t utf8_decode(const char *text, size_t length)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *s = (const unsigned char *)text;
    uint32_t point = s[0] & lead_bits[length];

    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3f);
    return point;
}

/* The escapes that have a letter, in Python's order of preference. */
static bool json_write_short_escape(FILE *out, uint32_t point)
{
    static const char characters[] = "\"\\\n\r\t\f\b";
    static const char letters[] = "\"\\nrtfb";
    const char *found = point < 0x80 && point ? strchr(characters, (int)point) : NULL;

    if (!found)
        return false;
    (void)fprintf(out, "\\%c", letters[found - characters]);
    return true;
}

static void json_write_character(FILE *out, uint32_t point)
{
    if (json_write_short_escape(out, point))
        return;
    if (point >= ' ' && point <= '~')
        (void)fputc((int)point, out);
    else if (point < 0x10000)
        (void)fprintf(out, "\\u%04" PRIx32, point);
    else
        (void)fprintf(out, "\\u%04" PRIx32 "\\u%04" PRIx32,
                      0xd800 + ((point - 0x10000) >> 10), 0xdc00 + (point & 0x3ff));
}

/* Texts of a listing came out of JSON, and are UTF-8. */
static void json_write_string(FILE *out, const char *text)
{
    (void)fputc('"', out);
    while (*text) {
        size_t length = hc_text_utf8_length(text);

        json_write_character(out, utf8_decode(text, length));
        text += length;
    }
    (void)fputc('"', out);
}

static void tree_entry_write_json(FILE *out, const struct hc_entry *entry)
{
    (void)fputs("\n  ", out);
    json_write_string(out, entry->path);
    (void)fprintf(out, ": {\n   \"size\": %" PRIu64 ",\n   \"blob_id\": ", entry->size);
    json_write_string(out, entry->blob_id);
    if (entry->lfs_sha256) {
        (void)fputs(",\n   \"lfs_sha256\": ", out);
        json_write_string(out, entry->lfs_sha256);
        (void)fprintf(out, ",\n   \"lfs_size\": %" PRIu64, entry->lfs_size);
    }
    if (entry->xet_hash)
        (void)fprintf(out, ",\n   \"xet_hash\": \"%s\"", entry->xet_hash);
    (void)fputs("\n  }", out);
}

void hc_tree_write_json(const struct hc_tree *tree, FILE *out)
{
    (void)fprintf(out, "{\n \"format_version\": %d,\n \"files\": {", FORMAT_VERSION);
    for (size_t i = 0; i < tree->count; i++) {
        if (i > 0)
            (void)fputc(',', out);
        tree_entry_write_json(out, &tree->entries[i]);
    }
    (void)fputs(tree->count > 0 ? "\n }\n}" : "}\n}", out);
}

/* A size: an integer that is not negative. */
static bool tree_entry_read_size(const json_t *info, const char *key, uint64_t *size)
{
    const json_t *value = json_object_get(info, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *size = (uint64_t)json_integer_value(value);
    return true;
}

/* A string; absent and null are NULL. */
static bool tree_entry_read_text(const json_t *info, const char *key, const char **text)
{
    const json_t *value = json_object_get(info, key);

    *text = json_string_value(value);
    return *text || !value || json_is_null(value);
}

/* Borrows from `info`. A Xet hash that is none spoils the listing, as in the reference. */
static bool tree_entry_read_json(const json_t *info, struct hc_entry *entry)
{
    if (!tree_entry_read_size(info, "size", &entry->size) ||
        !tree_entry_read_text(info, "blob_id", &entry->blob_id) ||
        !tree_entry_read_text(info, "lfs_sha256", &entry->lfs_sha256) ||
        !tree_entry_read_text(info, "xet_hash", &entry->xet_hash))
        return false;
    if (entry->xet_hash && !hc_xet_hash_is_valid(entry->xet_hash))
        return false;
    return !entry->lfs_sha256 || tree_entry_read_size(info, "lfs_size", &entry->lfs_size);
}

static bool tree_read_files(struct hc_json *json, struct hc_tree *tree)
{
    int more;

    if (!hc_json_enter(json, '{'))
        return false;
    while ((more = hc_json_next(json)) > 0) {
        HC_AUTO_FREE char *path = hc_json_key(json);
        HC_AUTO_JSON *info = path ? hc_json_value(json) : NULL;
        struct hc_entry entry = {.path = path};
        struct hc_error unused;

        if (!info || !tree_entry_read_json(info, &entry) ||
            hc_tree_add(tree, &entry, &unused) < 0)
            return false;
    }
    hc_json_resume(json, '{');
    return more == 0;
}

/* One member of the root. */
static bool tree_read_member(struct hc_json *json, struct hc_tree *tree, unsigned *files,
                             unsigned *versions)
{
    HC_AUTO_FREE char *key = hc_json_key(json);
    HC_AUTO_JSON *value = NULL;

    if (key && strcmp(key, "files") == 0)
        return ++*files == 1 && tree_read_files(json, tree);
    value = key ? hc_json_value(json) : NULL;
    if (value && strcmp(key, "format_version") == 0)
        return ++*versions == 1 && json_is_integer(value) &&
               json_integer_value(value) == FORMAT_VERSION;
    return value;
}

struct hc_tree *hc_tree_read_json(struct hc_json *json)
{
    struct hc_error unused;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&unused);
    unsigned files = 0, versions = 0;
    int more = -1;

    if (!tree || !hc_json_enter(json, '{'))
        return NULL;
    while ((more = hc_json_next(json)) > 0) {
        if (!tree_read_member(json, tree, &files, &versions))
            return NULL;
    }
    if (more < 0 || files == 0 || versions == 0 || !hc_json_is_done(json) ||
        hc_tree_finish(tree, &unused) < 0)
        return NULL;
    return hc_take(&tree);
}

struct hc_tree *hc_tree_parse_json(const char *json, size_t size)
{
    struct hc_json reader;

    hc_json_from_text(&reader, json, size);
    return hc_tree_read_json(&reader);
}
