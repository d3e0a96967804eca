/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One walk of snapshots/ returns the files of one revision after the other, each followed
 * by the folder of the revision itself. The pointers of a revision are read during the
 * walk; then the blobs that no revision before it had are looked at, and what the files
 * are together is the revision. When all are read, a blob that one revision alone has is
 * room that its removal frees.
 *
 * A folder that is named like no commit is no revision, since no request can name it; the
 * scanner of the reference client counts its blobs all the same.
 */
#include "inventory.h"

#include "blob_table.h"
#include "hold.h"
#include "repo_refs.h"
#include "shared_store.h"

#include <base/directory.h>
#include <base/file.h>
#include <base/hash.h>
#include <base/parallel.h>
#include <base/text.h>
#include <cache/pointer.h>
#include <cache/tree_cache.h>
#include <claim/lease.h>
#include <claim/lease_directory.h>
#include <policy/policy.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
    PARALLEL_MIN = 16, /* looks that are worth other threads */
    CHECK_EVERY = 64,  /* files between two looks at the cancellation */
    WARNING_MAX = 512
};

#define NO_ENTRY UINT32_MAX

/* A file of the revision that is being read. */
struct revision_file {
    uint32_t blob;  /* its number in the table */
    uint32_t entry; /* of the listing, or NO_ENTRY */
};

struct repo_reading {
    const struct hc_inventory *inventory;
    const struct hc_repo *repo;
    struct hc_cached_repo *found;
    int folder, blobs, pins, leases; /* directories; -1: not there */
    struct hc_repo_refs refs;
    struct hc_blob_table table;
    size_t looked; /* blobs before this one have been looked at */
    size_t revision_room;

    /* The revision that is being read. */
    char name[NAME_MAX + 1]; /* of its folder; "": none */
    uint32_t number;         /* see blob_table.h */
    struct hc_tree *tree;    /* NULL: no listing */
    struct revision_file *files;
    size_t file_count, file_room;
};

static void repo_reading_release(struct repo_reading *reading)
{
    hc_repo_refs_clear(&reading->refs);
    hc_blob_table_clear(&reading->table);
    hc_tree_free(reading->tree);
    free(reading->files);
    hc_auto_close(&reading->leases);
    hc_auto_close(&reading->pins);
    hc_auto_close(&reading->blobs);
    hc_auto_close(&reading->folder);
}
HC_DEFINE_AUTO_VALUE(repo_reading, repo_reading_release)

/* The first warning stays: it is why the scanner drops the repo. */
static void reading_warn(struct repo_reading *reading, const char *format, ...)
    HC_PRINTF(2, 3);

static void reading_warn(struct repo_reading *reading, const char *format, ...)
{
    struct hc_error unused;
    char text[WARNING_MAX];
    va_list args;

    if (reading->found->warning)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    reading->found->warning = hc_text_copy(text, &unused);
}

/* ---- files ------------------------------------------------------------------------- */

static void reading_warn_dangling(struct repo_reading *reading, const char *path)
{
    reading_warn(reading, "Blob missing (broken symlink): %s/snapshots/%s",
                 reading->repo->folder, path);
}

/* The number of the file's blob in the table; -1: failed; -2: it is none, or gone. */
static int64_t reading_find_blob(struct repo_reading *reading,
                                 const struct hc_directory_walk *walk, const char *path,
                                 struct hc_error *err)
{
    char target[PATH_MAX] = "";
    const char *etag = NULL;
    struct stat status;

    if (S_ISLNK(walk->type)) {
        ssize_t length = readlinkat(walk->dir, walk->name, target, sizeof target - 1);

        if (length < 0)
            return -2;
        target[length] = '\0';
        etag = hc_pointer_parse(target, path);
    }
    if (etag)
        return hc_blob_table_find(&reading->table, etag, err);
    if (fstatat(walk->dir, walk->name, &status, 0) == 0)
        return S_ISREG(status.st_mode) ? hc_blob_table_add(&reading->table, &status, err)
                                       : -2;
    if (hc_file_is_absent(errno) && S_ISLNK(walk->type))
        reading_warn_dangling(reading, walk->path);
    return -2;
}

static int reading_add_file(struct repo_reading *reading,
                            const struct hc_directory_walk *walk, struct hc_error *err)
{
    const char *path = walk->path + strlen(reading->name) + 1;
    const struct hc_entry *entry =
        reading->tree ? hc_tree_find(reading->tree, path) : NULL;
    int64_t blob = reading_find_blob(reading, walk, path, err);

    if (blob < 0)
        return blob == -1 ? -1 : 0;
    if (reading->file_count == reading->file_room) {
        size_t room = reading->file_room ? 2 * reading->file_room : 64;
        struct revision_file *grown = reallocarray(reading->files, room, sizeof *grown);

        if (!grown)
            return hc_fail_memory(err);
        reading->files = grown;
        reading->file_room = room;
    }
    reading->files[reading->file_count++] =
        (struct revision_file){.blob = (uint32_t)blob,
                               .entry = entry ? (uint32_t)(entry - reading->tree->entries)
                                              : NO_ENTRY};
    return 0;
}

/* ---- blobs ------------------------------------------------------------------------- */

static int reading_look_at(void *ctx, size_t number, struct hc_error *err)
{
    struct repo_reading *reading = ctx;

    (void)err;
    hc_blob_table_look(&reading->table, reading->blobs, reading->looked + number);
    return 0;
}

static int reading_look_at_blobs(struct repo_reading *reading, struct hc_error *err)
{
    const struct hc_inventory *inventory = reading->inventory;
    size_t count = reading->table.count - reading->looked;
    const char *folder = reading->repo->folder;
    const struct hc_parallel looks = {.workers = inventory->workers,
                                      .run = reading_look_at,
                                      .ctx = reading,
                                      .repo = hc_hash_bytes(HC_HASH_START, folder,
                                                            strlen(folder)),
                                      .cancellation = inventory->cancellation};

    if (inventory->workers && inventory->is_slow && count >= PARALLEL_MIN) {
        if (hc_parallel_run(&looks, count, err) < 0)
            return -1;
    } else {
        for (size_t i = 0; i < count; i++) {
            (void)reading_look_at(reading, i, err);
            if (i % CHECK_EVERY == 0 &&
                hc_cancellation_check(inventory->cancellation, err) < 0)
                return -1;
        }
    }
    reading->looked = reading->table.count;
    return 0;
}

static void time_raise(int64_t *newest_ms, int64_t ms)
{
    if (*newest_ms < ms)
        *newest_ms = ms;
}

/* Counts a blob once in the revision, and once in the repo. */
static void revision_add_blob(struct repo_reading *reading, struct hc_cached_blob *blob,
                              struct hc_cached_revision *revision)
{
    struct hc_cached_repo *found = reading->found;

    if (blob->owner == HC_BLOB_OF_NONE) {
        found->size_bytes += blob->size;
        found->file_count++;
        time_raise(&found->last_used_ms, blob->used_ms);
        time_raise(&found->last_modified_ms, blob->modified_ms);
        blob->owner = reading->number;
    } else if (blob->owner != reading->number) {
        blob->owner = HC_BLOB_OF_SEVERAL;
    }
    if (blob->seen == reading->number)
        return;
    blob->seen = reading->number;
    revision->size_bytes += blob->size;
    time_raise(&revision->last_used_ms, blob->used_ms);
    time_raise(&revision->last_modified_ms, blob->modified_ms);
}

/* ---- completeness ------------------------------------------------------------------ */

/* As a resolution judges it (resolver/presence.c). */
static bool file_is_whole(const struct repo_reading *reading,
                          const struct revision_file *file)
{
    const struct hc_cached_blob *blob = &reading->table.items[file->blob];
    const char *etag = hc_blob_table_name(&reading->table, file->blob);
    const struct hc_entry *entry = &reading->tree->entries[file->entry];
    bool is_other = *etag && strcmp(etag, hc_entry_etag(entry)) != 0;

    return blob->is_there && !hc_blob_is_emptied(etag, blob->size) &&
           (!entry->has_etag || is_other || blob->size == hc_entry_size(entry));
}

/* Which files of the revision the caller may have. */
static int reading_decide(const struct repo_reading *reading,
                          const struct hc_cached_revision *revision,
                          struct hc_decision *decision, struct hc_error *err)
{
    const struct hc_inventory *inventory = reading->inventory;
    const struct hc_policy_question question = {.identity = inventory->identity,
                                                .type = reading->repo->type,
                                                .repo_id = reading->repo->id,
                                                .revision = revision->ref_count > 0
                                                                ? revision->refs[0]
                                                                : revision->commit_hash};
    struct hc_rules *rules =
        inventory->policy ? hc_policy_hold_rules(inventory->policy) : NULL;

    return hc_decision_make(decision, rules, &question, err);
}

static bool entry_counts(const struct hc_decision *decision, const struct hc_entry *entry)
{
    return hc_decision_verdict(decision, entry->path, hc_entry_size(entry)).is_allowed;
}

/* Without the files that a snapshot leaves out. */
static int reading_judge(const struct repo_reading *reading,
                         struct hc_cached_revision *revision, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_decision) decision = {0};
    const struct hc_tree *tree = reading->tree;
    size_t missing = 0;

    revision->completeness = HC_UNKNOWN;
    if (!tree)
        return 0;
    if (reading_decide(reading, revision, &decision, err) < 0)
        return -1;
    for (size_t i = 0; i < tree->count; i++)
        missing += entry_counts(&decision, &tree->entries[i]);
    for (size_t i = 0; i < reading->file_count; i++) {
        const struct revision_file *file = &reading->files[i];

        if (file->entry != NO_ENTRY && file_is_whole(reading, file))
            missing -= entry_counts(&decision, &tree->entries[file->entry]);
    }
    revision->completeness = missing == 0 ? HC_COMPLETE : HC_PARTIAL;
    return 0;
}

/* ---- revisions --------------------------------------------------------------------- */

static int revision_set_refs(struct hc_cached_revision *revision,
                             struct hc_repo_refs *refs, struct hc_error *err)
{
    size_t count;
    const struct hc_repo_ref *ref =
        hc_repo_refs_take(refs, revision->commit_hash, &count);
    struct hc_error unused;

    revision->refs = calloc(count + 1, sizeof *revision->refs);
    if (!revision->refs)
        return hc_fail_memory(err);
    for (size_t i = 0; i < count; i++) {
        if (hc_commit_is_valid(ref[i].name) ||
            hc_revision_check(ref[i].name, &unused) < 0)
            continue;
        revision->refs[revision->ref_count] = hc_text_copy(ref[i].name, err);
        if (!revision->refs[revision->ref_count])
            return -1;
        revision->ref_count++;
    }
    return 0;
}

static unsigned reading_count_leases(const struct repo_reading *reading)
{
    const struct hc_inventory *inventory = reading->inventory;
    HC_AUTO_VALUE(hc_lease_list)
    list =
        hc_lease_list(inventory->cache, reading->repo, reading->name, inventory->now_ms);
    unsigned count = 0;

    while (hc_lease_list_next(&list))
        count++;
    return count;
}

static bool revision_is_kept(const struct repo_reading *reading,
                             const struct hc_cached_revision *revision)
{
    const struct hc_hold_rules *rules = reading->inventory->rules;

    if (!rules || !rules->is_kept)
        return false;
    if (rules->is_kept(rules->ctx, reading->repo, revision->commit_hash))
        return true;
    for (size_t i = 0; i < revision->ref_count; i++) {
        if (rules->is_kept(rules->ctx, reading->repo, revision->refs[i]))
            return true;
    }
    return false;
}

static void revision_set_holds(const struct repo_reading *reading,
                               struct hc_cached_revision *revision)
{
    if (reading->pins >= 0)
        revision->is_pinned = faccessat(reading->pins, revision->commit_hash, F_OK,
                                        AT_SYMLINK_NOFOLLOW) == 0;
    if (reading->leases >= 0)
        revision->leases = reading_count_leases(reading);
    revision->is_kept = revision_is_kept(reading, revision);
}

static int reading_reserve_revision(struct repo_reading *reading, struct hc_error *err)
{
    struct hc_cached_repo *found = reading->found;
    size_t room = reading->revision_room ? 2 * reading->revision_room : 4;
    struct hc_cached_revision *grown;

    if (found->revision_count < reading->revision_room)
        return 0;
    grown = reallocarray(found->revisions, room, sizeof *grown);
    if (!grown)
        return hc_fail_memory(err);
    found->revisions = grown;
    reading->revision_room = room;
    return 0;
}

/* A folder of snapshots/ begins: a revision, if its name is a commit. */
static int reading_begin_revision(struct repo_reading *reading, const char *path,
                                  struct hc_error *err)
{
    const struct hc_inventory *inventory = reading->inventory;
    bool is_commit;

    (void)hc_format(reading->name, sizeof reading->name, "%.*s", (int)strcspn(path, "/"),
                    path);
    is_commit = hc_commit_is_valid(reading->name);
    reading->number =
        is_commit ? (uint32_t)reading->found->revision_count + 1 : HC_BLOB_OF_OTHERS;
    reading->file_count = 0;
    hc_tree_free(hc_take(&reading->tree));
    if (!is_commit || !inventory->with_revisions)
        return 0;
    return hc_tree_read(inventory->cache, reading->repo, reading->name, &reading->tree,
                        err) < 0
               ? -1
               : 0;
}

/* All files of the folder are read. */
static int reading_end_revision(struct repo_reading *reading, struct hc_error *err)
{
    struct hc_cached_revision *revision;

    if (reading_reserve_revision(reading, err) < 0 ||
        reading_look_at_blobs(reading, err) < 0)
        return -1;
    revision = &reading->found->revisions[reading->found->revision_count];
    *revision = (struct hc_cached_revision){.file_count = (unsigned)reading->file_count};
    for (size_t i = 0; i < reading->file_count; i++) {
        struct hc_cached_blob *blob = &reading->table.items[reading->files[i].blob];

        if (blob->is_there)
            revision_add_blob(reading, blob, revision);
        else
            reading_warn(reading, "Blob missing (broken symlink): %s/blobs/%s",
                         reading->repo->folder,
                         hc_blob_table_name(&reading->table, reading->files[i].blob));
    }
    if (reading->number == HC_BLOB_OF_OTHERS) {
        reading->name[0] = '\0';
        return 0;
    }
    (void)hc_format(revision->commit_hash, sizeof revision->commit_hash, "%s",
                    reading->name);
    reading->found->revision_count++;
    if (revision_set_refs(revision, &reading->refs, err) < 0 ||
        reading_judge(reading, revision, err) < 0)
        return -1;
    revision_set_holds(reading, revision);
    reading->name[0] = '\0';
    return 0;
}

/* ---- the repo ---------------------------------------------------------------------- */

/* An entry of the walk of snapshots/. */
static int reading_take_entry(struct repo_reading *reading,
                              const struct hc_directory_walk *walk, struct hc_error *err)
{
    bool is_folder = !strchr(walk->path, '/');

    if (is_folder && hc_scanner_ignores(walk->name))
        return 0;
    if (is_folder && !S_ISDIR(walk->type)) {
        reading_warn(reading, "Snapshots folder corrupted. Found a file: %s/snapshots/%s",
                     reading->repo->folder, walk->path);
        return 0;
    }
    if (!reading->name[0] && reading_begin_revision(reading, walk->path, err) < 0)
        return -1;
    if (is_folder)
        return reading_end_revision(reading, err);
    return S_ISDIR(walk->type) ? 0 : reading_add_file(reading, walk, err);
}

static int reading_read_snapshots(struct repo_reading *reading, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_directory_walk(reading->folder, "snapshots", HC_DEPTH_MAX);

    if (walk.depth == 0)
        reading_warn(reading, "Snapshots dir doesn't exist in cached repo: %s/snapshots",
                     reading->repo->folder);
    for (size_t i = 0; hc_directory_walk_next(&walk); i++) {
        if (reading_take_entry(reading, &walk, err) < 0 ||
            (i % CHECK_EVERY == 0 &&
             hc_cancellation_check(reading->inventory->cancellation, err) < 0))
            return -1;
    }
    if (walk.is_incomplete && walk.errnum != ENOENT)
        reading_warn(reading, "%s/snapshots could not be read in full: %s",
                     reading->repo->folder,
                     walk.errnum ? strerrordesc_np(walk.errnum) : "it is too deep");
    return 0;
}

static void reading_check_refs(struct repo_reading *reading)
{
    const struct hc_repo_ref *ref = hc_repo_refs_corrupt(&reading->refs);

    if (reading->refs.is_no_directory)
        reading_warn(reading, "Refs directory cannot be a file: %s/refs",
                     reading->repo->folder);
    if (ref)
        reading_warn(reading,
                     "Reference(s) refer to missing commit hashes: %s names '%.40s'%s "
                     "(%s)",
                     ref->name, ref->commit,
                     ref->has_snapshot ? " with white space around it" : "",
                     reading->repo->folder);
}

/* Whether nothing but its one revision has the blob. */
static bool blob_is_alone(const struct repo_reading *reading, size_t number)
{
    const struct hc_cached_blob *blob = &reading->table.items[number];
    char hash[HC_PAYLOAD_HASH_SIZE];
    struct stat status;

    if (!blob->is_payload)
        return !blob->is_linked;
    return hc_payload_read_link(reading->blobs,
                                hc_blob_table_name(&reading->table, number), hash) &&
           hc_payload_count_links(reading->inventory->cache, hash, &status) == 1;
}

static void reading_add_freeable(struct repo_reading *reading)
{
    for (size_t i = 0; i < reading->table.count; i++) {
        const struct hc_cached_blob *blob = &reading->table.items[i];

        if (blob->owner != HC_BLOB_OF_NONE && blob->owner < HC_BLOB_OF_OTHERS &&
            blob_is_alone(reading, i))
            reading->found->revisions[blob->owner - 1].freeable_bytes += blob->room;
    }
}

static int compare_revisions(const void *left, const void *right)
{
    const struct hc_cached_revision *a = left, *b = right;

    return strcmp(a->commit_hash, b->commit_hash);
}

/* .hubcache/pins/<repo folder>; -1: there is none. */
static int pins_open(const struct repo_reading *reading)
{
    HC_AUTO_CLOSE int hubcache =
        hc_directory_open(hc_cache_fd(reading->inventory->cache), ".hubcache");
    HC_AUTO_CLOSE int pins = hubcache < 0 ? -1 : hc_directory_open(hubcache, "pins");

    return pins < 0 ? -1 : hc_directory_open(pins, reading->repo->folder);
}

void hc_cached_revision_clear(struct hc_cached_revision *revision)
{
    while (revision->ref_count > 0)
        free(revision->refs[--revision->ref_count]);
    free(revision->refs);
    *revision = (struct hc_cached_revision){0};
}

static void repo_drop_revisions(struct hc_cached_repo *repo)
{
    while (repo->revision_count > 0)
        hc_cached_revision_clear(&repo->revisions[--repo->revision_count]);
    free(repo->revisions);
    repo->revisions = NULL;
}

static int reading_read_repo(struct repo_reading *reading, struct hc_error *err)
{
    struct hc_cached_repo *found = reading->found;

    (void)hc_format(found->id, sizeof found->id, "%s", reading->repo->id);
    (void)hc_format(found->cache_path, sizeof found->cache_path, "%s",
                    reading->repo->folder);
    reading->blobs = hc_directory_open(reading->folder, "blobs");
    reading->pins = pins_open(reading);
    reading->leases = hc_lease_directory_open(hc_cache_fd(reading->inventory->cache),
                                              reading->repo, NULL);
    if (hc_repo_refs_read(&reading->refs, reading->folder, err) < 0 ||
        reading_read_snapshots(reading, err) < 0)
        return -1;
    reading_check_refs(reading);
    if (!reading->inventory->with_revisions) {
        repo_drop_revisions(found);
        return 1;
    }
    reading_add_freeable(reading);
    if (found->revision_count > 0)
        qsort(found->revisions, found->revision_count, sizeof *found->revisions,
              compare_revisions);
    return 1;
}

int hc_inventory_read_repo(const struct hc_inventory *inventory,
                           const struct hc_repo *repo, struct hc_cached_repo *found,
                           struct hc_error *err)
{
    HC_AUTO_VALUE(repo_reading)
    reading = {.inventory = inventory,
               .repo = repo,
               .found = found,
               .folder = hc_directory_open(hc_cache_fd(inventory->cache), repo->folder),
               .blobs = -1,
               .pins = -1,
               .leases = -1};

    *found = (struct hc_cached_repo){.type = repo->type};
    if (reading.folder < 0)
        return 0;
    if (reading_read_repo(&reading, err) == 1)
        return 1;
    hc_cached_repo_clear(found);
    return -1;
}

void hc_cached_repo_clear(struct hc_cached_repo *repo)
{
    repo_drop_revisions(repo);
    free(repo->warning);
    *repo = (struct hc_cached_repo){0};
}

void hc_cached_repos_clear(struct hc_cached_repos *repos)
{
    for (size_t i = 0; i < repos->count; i++)
        hc_cached_repo_clear(&repos->items[i]);
    free(repos->items);
    free(repos->next_page_token);
    *repos = (struct hc_cached_repos){0};
}

void hc_cached_revisions_clear(struct hc_cached_revisions *revisions)
{
    for (size_t i = 0; i < revisions->count; i++)
        hc_cached_revision_clear(&revisions->items[i]);
    free(revisions->items);
    free(revisions->next_page_token);
    *revisions = (struct hc_cached_revisions){0};
}
