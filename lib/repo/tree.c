/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In memory, a listing is an array of entries, and chunks that hold their texts: a
 * listing of a million files takes a few hundred allocations.
 *
 * Its JSON is written by hand because the bytes must be those of Python's json.dump(…,
 * indent=1): indented by one, the keys in the reference client's order, and everything
 * beyond ASCII as \uXXXX. It is read entry by entry, and strictly: if one entry cannot be
 * understood, the whole is no listing, for a listing decides what is complete.
 */
#include "tree.h"

#include "name.h"

#include <base/json.h>
#include <base/text.h>

#include <inttypes.h>
#include <string.h>

enum {
    FORMAT_VERSION = 1,
    CHUNK_MIN = 4096,
    CHUNK_MAX = 1024 * 1024,
    HASH_MAX = 200, /* bytes of a hash, well-formed or not */
    EXCERPT_SIZE = 256
};

/* Texts lie one behind the other, and stay where they are: entries point at them. */
struct hc_text_chunk {
    struct hc_text_chunk *next;
    size_t size;
    size_t used;
    char text[];
};

struct hc_tree *hc_tree_new(struct hc_error *err)
{
    struct hc_tree *tree = calloc(1, sizeof *tree);

    if (!tree)
        (void)hc_fail_memory(err);
    return tree;
}

/* The last owner finds no other, and frees; the counter is not read after that. */
void hc_tree_unshare(struct hc_tree *tree)
{
    if (atomic_fetch_sub(&tree->other_owners, 1) > 0)
        return;
    while (tree->chunks) {
        struct hc_text_chunk *chunk = tree->chunks;

        tree->chunks = chunk->next;
        free(chunk);
    }
    free(tree->entries);
    free(tree);
}

/* The observer is read first: after the share is given up, another owner may free the
 * tree. The tree cache outlives all trees that it has shared. */
void hc_tree_free(struct hc_tree *tree)
{
    struct hc_tree_observer *observer = tree ? tree->observer : NULL;

    if (tree)
        hc_tree_unshare(tree);
    if (observer)
        observer->share_released(observer);
}

struct hc_tree *hc_tree_share(struct hc_tree *tree)
{
    if (tree)
        (void)atomic_fetch_add(&tree->other_owners, 1);
    return tree;
}

/* What malloc(3) adds to each block is not counted; chunks make it little. */
size_t hc_tree_memory_bytes(const struct hc_tree *tree)
{
    return sizeof *tree + tree->capacity * sizeof *tree->entries + tree->text_bytes;
}

/* ---- adding ------------------------------------------------------------------------ */

/* `size` bytes of the last chunk, or of a new one; chunks grow with the tree. */
static char *tree_allocate_text(struct hc_tree *tree, size_t size, struct hc_error *err)
{
    struct hc_text_chunk *chunk = tree->chunks;

    if (!chunk || chunk->size - chunk->used < size) {
        size_t room = chunk ? chunk->size * 2 : CHUNK_MIN;

        if (room > CHUNK_MAX)
            room = CHUNK_MAX;
        if (room < size)
            room = size;
        chunk = malloc(sizeof *chunk + room);
        if (!chunk) {
            (void)hc_fail_memory(err);
            return NULL;
        }
        *chunk = (struct hc_text_chunk){.next = tree->chunks, .size = room};
        tree->chunks = chunk;
        tree->text_bytes += sizeof *chunk + room;
    }
    chunk->used += size;
    return chunk->text + chunk->used - size;
}

/* NULL stays NULL. */
static int tree_copy_text(struct hc_tree *tree, const char **text, struct hc_error *err)
{
    size_t size = *text ? strlen(*text) + 1 : 0;
    char *copy = *text ? tree_allocate_text(tree, size, err) : NULL;

    if (!*text)
        return 0;
    if (!copy)
        return -1;
    *text = memcpy(copy, *text, size);
    return 0;
}

/* Space for one more entry. The limit keeps a forged listing from taking all memory. */
static int tree_grow(struct hc_tree *tree, struct hc_error *err)
{
    size_t room = tree->capacity ? tree->capacity * 2 : 64;
    struct hc_entry *entries;

    if (tree->count < tree->capacity)
        return 0;
    if (tree->count >= HC_TREE_ENTRIES_MAX)
        return hc_fail(err, HC_BAD_HUB_REPLY, "the listing has more than %d files",
                       HC_TREE_ENTRIES_MAX);
    entries = reallocarray(tree->entries, room, sizeof *entries);
    if (!entries)
        return hc_fail_memory(err);
    tree->entries = entries;
    tree->capacity = room;
    return 0;
}

/* A hash as listed; "" instead of a text that is longer than any hash. */
static const char *hash_bounded(const char *hash)
{
    return hash && strnlen(hash, HASH_MAX + 1) > HASH_MAX ? "" : hash;
}

/* Git's id is a SHA-1 and the LFS hash a SHA-256, both in lower case; an entry with
 * another one is kept without an etag, for the Hub's HEAD may still name the blob. */
int hc_tree_add(struct hc_tree *tree, const struct hc_entry *entry, struct hc_error *err)
{
    struct hc_entry added = *entry;

    if (!entry->path || !entry->path[0] || !entry->blob_id)
        return hc_fail(err, HC_BAD_HUB_REPLY, "a file listed has no path or no id");
    if (strnlen(entry->path, HC_TREE_PATH_MAX + 1) > HC_TREE_PATH_MAX)
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "a file listed has a path of more than %d bytes",
                       HC_TREE_PATH_MAX);
    added.blob_id = hash_bounded(entry->blob_id);
    added.lfs_sha256 = hash_bounded(entry->lfs_sha256);
    added.is_safe = hc_filename_is_safe(entry->path);
    added.has_etag = added.lfs_sha256 ? hc_text_is_hex(added.lfs_sha256, 64)
                                      : hc_text_is_hex(added.blob_id, 40);
    if (!added.has_etag || !added.xet_hash || !hc_xet_hash_is_valid(added.xet_hash))
        added.xet_hash = NULL;
    if (tree_grow(tree, err) < 0 || tree_copy_text(tree, &added.path, err) < 0 ||
        tree_copy_text(tree, &added.blob_id, err) < 0 ||
        tree_copy_text(tree, &added.lfs_sha256, err) < 0 ||
        tree_copy_text(tree, &added.xet_hash, err) < 0)
        return -1;
    tree->entries[tree->count++] = added;
    return 0;
}

int hc_tree_add_path(struct hc_tree *tree, const char *path, struct hc_error *err)
{
    return hc_tree_add(tree, &(const struct hc_entry){.path = path, .blob_id = ""}, err);
}

/* ---- sorting and checking ---------------------------------------------------------- */

/* By bytes, as Python sorts UTF-8 text by code points: the order is the same. */
static int tree_entry_compare(const void *a, const void *b)
{
    const struct hc_entry *left = a, *right = b;

    return strcmp(left->path, right->path);
}

/* Most listings are in this order already, and only checked for it. */
void hc_tree_sort(struct hc_tree *tree)
{
    size_t i = 1;

    while (i < tree->count &&
           tree_entry_compare(&tree->entries[i - 1], &tree->entries[i]) < 0)
        i++;
    if (i < tree->count)
        qsort(tree->entries, tree->count, sizeof *tree->entries, tree_entry_compare);
}

static bool text_equals(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* As the Hub listed them; what hc_tree_add derives is equal then. */
static bool tree_entry_equals(const struct hc_entry *a, const struct hc_entry *b)
{
    return strcmp(a->path, b->path) == 0 && a->size == b->size &&
           a->lfs_size == b->lfs_size && text_equals(a->blob_id, b->blob_id) &&
           text_equals(a->lfs_sha256, b->lfs_sha256) &&
           text_equals(a->xet_hash, b->xet_hash);
}

/* The same entry twice counts once; two entries of one path are a contradiction. */
static int tree_drop_repeated(struct hc_tree *tree, struct hc_error *err)
{
    size_t kept = 0;

    for (size_t i = 0; i < tree->count; i++) {
        const struct hc_entry *entry = &tree->entries[i];
        const struct hc_entry *last = kept > 0 ? &tree->entries[kept - 1] : NULL;
        char excerpt[EXCERPT_SIZE];

        if (last && strcmp(last->path, entry->path) == 0) {
            if (tree_entry_equals(last, entry))
                continue;
            hc_text_excerpt(excerpt, sizeof excerpt, entry->path);
            return hc_fail(err, HC_BAD_HUB_REPLY,
                           "the listing says two different things of '%s'", excerpt);
        }
        tree->entries[kept++] = *entry;
    }
    tree->count = kept;
    return 0;
}

/* The length of the directories, with their "/", that two paths have in common. */
static size_t path_shared_directories(const char *before, const char *path)
{
    size_t shared = 0;

    for (size_t i = 0; before[i] && before[i] == path[i]; i++) {
        if (path[i] == '/')
            shared = i + 1;
    }
    return shared;
}

/* No directory of `path` may be a file of the listing. Those that it shares with the path
 * before it in the order have been checked with that. */
static int tree_check_directories(const struct hc_tree *tree, const char *before,
                                  const char *path, struct hc_error *err)
{
    const char *slash = strchr(path + path_shared_directories(before, path), '/');
    char directory[HC_TREE_PATH_MAX + 1], excerpt[EXCERPT_SIZE];

    for (; slash; slash = strchr(slash + 1, '/')) {
        (void)hc_format(directory, sizeof directory, "%.*s", (int)(slash - path), path);
        if (!hc_tree_find(tree, directory))
            continue;
        hc_text_excerpt(excerpt, sizeof excerpt, directory);
        return hc_fail(err, HC_BAD_HUB_REPLY,
                       "the listing has '%s' both as a file and as a directory", excerpt);
    }
    return 0;
}

/* Gives back the entries that were allocated and not used. */
static void tree_shrink(struct hc_tree *tree)
{
    struct hc_entry *entries;

    if (tree->count == 0 || tree->count == tree->capacity)
        return;
    entries = reallocarray(tree->entries, tree->count, sizeof *entries);
    if (!entries)
        return;
    tree->entries = entries;
    tree->capacity = tree->count;
}

int hc_tree_finish(struct hc_tree *tree, struct hc_error *err)
{
    const char *before = "";

    hc_tree_sort(tree);
    if (tree_drop_repeated(tree, err) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++) {
        const char *path = tree->entries[i].path;

        if (tree_check_directories(tree, before, path, err) < 0)
            return -1;
        before = path;
    }
    tree_shrink(tree);
    return 0;
}

/* ---- lookups ----------------------------------------------------------------------- */

/* The index of the first entry that does not come before `path`. */
static size_t tree_lower_bound(const struct hc_tree *tree, const char *path)
{
    size_t low = 0, high = tree->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (strcmp(tree->entries[middle].path, path) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct hc_entry *hc_tree_find(const struct hc_tree *tree, const char *path)
{
    size_t i = tree_lower_bound(tree, path);

    return i < tree->count && strcmp(tree->entries[i].path, path) == 0 ? &tree->entries[i]
                                                                       : NULL;
}

/* In the order of the paths, those below a directory follow its name with a "/". */
bool hc_tree_has_directory(const struct hc_tree *tree, const char *path)
{
    char prefix[HC_TREE_PATH_MAX + 2];
    size_t i;

    if (hc_format(prefix, sizeof prefix, "%s/", path) < 0)
        return false;
    i = tree_lower_bound(tree, prefix);
    return i < tree->count && hc_text_starts(tree->entries[i].path, prefix);
}

bool hc_tree_equals(const struct hc_tree *a, const struct hc_tree *b)
{
    bool is_same = a->count == b->count;

    for (size_t i = 0; is_same && i < a->count; i++)
        is_same = tree_entry_equals(&a->entries[i], &b->entries[i]);
    return is_same;
}

const char *hc_entry_etag(const struct hc_entry *entry)
{
    if (!entry->has_etag)
        return "";
    return entry->lfs_sha256 ? entry->lfs_sha256 : entry->blob_id;
}

uint64_t hc_entry_size(const struct hc_entry *entry)
{
    return entry->lfs_sha256 ? entry->lfs_size : entry->size;
}

/* ---- its JSON ---------------------------------------------------------------------- */

/* The character that the `length` bytes of valid UTF-8 encode. */
static uint32_t utf8_decode(const char *text, size_t length)
{
    static const unsigned char lead_bits[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    const unsigned char *s = (const unsigned char *)text;
    uint32_t point = s[0] & lead_bits[length];

    for (size_t i = 1; i < length; i++)
        point = point << 6 | (s[i] & 0x3f);
    return point;
}

/* Writes an escape of two characters, where JSON has one; "/" is written as it is, as by
 * Python. */
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

/* Beyond U+FFFF JSON has a pair of UTF-16 surrogates. */
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

/* The texts of a listing came out of JSON, and are UTF-8. */
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

/* An empty listing is written as {}, without the line ends of one that has files: so does
 * Python. There is no line end after the last brace. */
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

/* An integer that is not negative. */
static bool tree_entry_read_size(const json_t *info, const char *key, uint64_t *size)
{
    const json_t *value = json_object_get(info, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return false;
    *size = (uint64_t)json_integer_value(value);
    return true;
}

/* A string, or NULL where the key is absent or null. */
static bool tree_entry_read_text(const json_t *info, const char *key, const char **text)
{
    const json_t *value = json_object_get(info, key);

    *text = json_string_value(value);
    return *text || !value || json_is_null(value);
}

/* Borrows from `info`. A malformed Xet hash makes the whole listing invalid, as in the
 * reference client (§1.1). */
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

/* Each entry is a value of its own, so that memory holds one at a time and never the
 * whole JSON, which may be HC_TREE_BYTES_MAX long. */
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

/* A member of the root that is unknown is passed over: later versions may add some. */
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

/* Both members must be there once: jansson and Python differ in which of two they
 * take. */
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
