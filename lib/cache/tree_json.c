/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Written by hand because the bytes must be those of the reference client: indented by
 * one, in its order of keys, everything beyond ASCII as \uXXXX. Read with jansson,
 * strictly: a listing of which one entry cannot be trusted is no listing.
 */
#include "tree_json.h"

#include <base/text.h>

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

enum { FORMAT_VERSION = 1 };

static uint32_t decode(const char *text, size_t length)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *s = (const unsigned char *)text;
    uint32_t point = s[0] & lead_bits[length];

    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3f);
    return point;
}

static void write_character(FILE *out, uint32_t point)
{
    if (point == '"' || point == '\\')
        (void)fprintf(out, "\\%c", (int)point);
    else if (point >= ' ' && point <= '~')
        (void)fputc((int)point, out);
    else if (point < 0x10000)
        (void)fprintf(out, "\\u%04" PRIx32, point);
    else
        (void)fprintf(out, "\\u%04" PRIx32 "\\u%04" PRIx32,
                      0xd800 + ((point - 0x10000) >> 10), 0xdc00 + (point & 0x3ff));
}

/* Paths are UTF-8 without control characters: hc_tree_add saw to that. */
static void write_string(FILE *out, const char *text)
{
    (void)fputc('"', out);
    while (*text) {
        size_t length = hc_text_utf8_length(text);

        write_character(out, decode(text, length));
        text += length;
    }
    (void)fputc('"', out);
}

static void write_entry(FILE *out, const struct hc_entry *entry)
{
    (void)fputs("\n  ", out);
    write_string(out, entry->path);
    (void)fprintf(out, ": {\n   \"size\": %" PRIu64 ",\n   \"blob_id\": \"%s\"",
                  entry->size, entry->blob_id);
    if (entry->lfs_sha256[0])
        (void)fprintf(out, ",\n   \"lfs_sha256\": \"%s\",\n   \"lfs_size\": %" PRIu64,
                      entry->lfs_sha256, entry->lfs_size);
    if (entry->xet_hash[0])
        (void)fprintf(out, ",\n   \"xet_hash\": \"%s\"", entry->xet_hash);
    (void)fputs("\n  }", out);
}

static void write_tree(FILE *out, const struct hc_tree *tree)
{
    (void)fprintf(out, "{\n \"format_version\": %d,\n \"files\": {", FORMAT_VERSION);
    for (size_t i = 0; i < tree->count; i++) {
        if (i > 0)
            (void)fputc(',', out);
        write_entry(out, &tree->entries[i]);
    }
    (void)fputs(tree->count > 0 ? "\n }\n}" : "}\n}", out);
}

char *hc_tree_format(const struct hc_tree *tree, size_t *size, struct hc_error *err)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    bool is_whole;

    if (!out) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    write_tree(out, tree);
    is_whole = !ferror(out);
    if (fclose(out) == 0 && is_whole)
        return text;
    free(text);
    (void)hc_fail_memory(err);
    return NULL;
}

/* A size: an integer that is not negative. */
static bool read_size(const json_t *info, const char *key, uint64_t *size)
{
    const json_t *value = json_object_get(info, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *size = (uint64_t)json_integer_value(value);
    return true;
}

/* A string that fits; absent and null are "". */
static bool read_text(const json_t *info, const char *key, char *text, size_t size)
{
    const json_t *value = json_object_get(info, key);

    text[0] = '\0';
    if (!value || json_is_null(value))
        return true;
    return json_is_string(value) &&
           hc_format(text, size, "%s", json_string_value(value)) > 0;
}

static bool read_entry(const json_t *info, struct hc_entry *entry)
{
    if (!read_size(info, "size", &entry->size) ||
        !read_text(info, "blob_id", entry->blob_id, sizeof entry->blob_id) ||
        !read_text(info, "lfs_sha256", entry->lfs_sha256, sizeof entry->lfs_sha256) ||
        !read_text(info, "xet_hash", entry->xet_hash, sizeof entry->xet_hash))
        return false;
    return !entry->lfs_sha256[0] || read_size(info, "lfs_size", &entry->lfs_size);
}

static bool read_files(json_t *files, struct hc_tree *tree)
{
    struct hc_error unused;

    for (void *i = json_object_iter(files); i; i = json_object_iter_next(files, i)) {
        struct hc_entry entry = {0};
        HC_AUTO_FREE char *path = strdup(json_object_iter_key(i));

        entry.path = path;
        if (!path || !read_entry(json_object_iter_value(i), &entry) ||
            hc_tree_add(tree, &entry, &unused) < 0)
            return false;
    }
    return true;
}

static bool read_root(const json_t *root, struct hc_tree *tree)
{
    const json_t *version = json_object_get(root, "format_version");
    json_t *files = json_object_get(root, "files");

    return json_is_integer(version) && json_integer_value(version) == FORMAT_VERSION &&
           json_is_object(files) && read_files(files, tree);
}

struct hc_tree *hc_tree_parse(const char *json, size_t size)
{
    struct hc_error unused;
    HC_AUTO(hc_tree) *tree = hc_tree_new(&unused);
    json_t *root = json_loadb(json, size, 0, NULL);
    bool is_listing = tree && root && read_root(root, tree);

    json_decref(root);
    if (!is_listing)
        return NULL;
    hc_tree_sort(tree);
    return hc_take(&tree);
}
