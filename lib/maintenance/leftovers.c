/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A repo is read in an order that takes nothing for a leftover which a client makes
 * meanwhile: first which blobs there are, then the pointers, then the blobs again, of
 * which those that are no pointer's are looked at. A file's age is that of its ctime,
 * which a link or rename sets, and which no client can set back.
 */
#include "leftovers.h"

#include "etag_set.h"
#include "shared_store.h"

#include <base/file.h>
#include <base/text.h>
#include <cache/blob_lock.h>
#include <cache/pointer.h>
#include <cache/ref.h>
#include <cache/walk.h>
#include <claim/claim_record.h>
#include <claim/fetching.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

enum {
    CHECK_EVERY = 256,  /* entries between two looks at the cancellation */
    REF_SIZE_MAX = 256, /* as cache/ref.c */
    HEX_SUFFIX = 9,     /* ".<8 hex>" */
    BLOCK_SIZE = 512    /* of st_blocks */
};

#define INCOMPLETE_SUFFIX ".incomplete"

struct repo_search {
    const struct hc_leftovers *search;
    const struct hc_repo *repo;
    struct hc_etag_set present; /* blobs that are regular files */
    struct hc_etag_set used;    /* etags that a pointer has */
    struct hc_fetching fetching;
    unsigned entries; /* seen so far */
};

static void repo_search_clear(struct repo_search *self)
{
    hc_etag_set_clear(&self->present);
    hc_etag_set_clear(&self->used);
    hc_fetching_clear(&self->fetching);
}

HC_DEFINE_AUTO_VALUE(repo_search, repo_search_clear)

static int search_go_on(struct repo_search *self, struct hc_error *err)
{
    return ++self->entries % CHECK_EVERY == 0
               ? hc_cancellation_check(self->search->cancellation, err)
               : 0;
}

static uint64_t leftover_room(const struct stat *status)
{
    return S_ISREG(status->st_mode) && status->st_nlink <= 1
               ? (uint64_t)status->st_blocks * BLOCK_SIZE
               : 0;
}

/* Tells what the walk is at, which is below `directory` of the repo, when it is old
 * enough. */
static int search_tell(const struct repo_search *self,
                       const struct hc_directory_walk *walk, const char *directory,
                       const struct hc_leftover *leftover, struct hc_error *err)
{
    struct hc_leftover told = *leftover;
    char path[PATH_MAX];
    struct stat status;
    int64_t age_ms;

    if (fstatat(walk->dir, walk->name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        hc_format(path, sizeof path, "%s/%s/%s", self->repo->folder, directory,
                  walk->path) < 0)
        return 0;
    told.repo = self->repo;
    told.cache_path = path;
    told.name = walk->path;
    told.size_bytes = S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
    told.room_bytes = leftover_room(&status);
    told.changed_ms = hc_file_time_ms(&status.st_ctim);
    age_ms = told.kind == HC_DANGLING_POINTER ? self->search->pointer_age_ms
                                              : self->search->age_ms;
    if (self->search->now_ms - told.changed_ms < age_ms)
        return 0;
    return self->search->found(self->search->ctx, &told, err);
}

/* ---- blobs in use ------------------------------------------------------------------ */

/* Whether a process of this or another client fetches the blob. */
static bool blob_is_fetched(const struct repo_search *self, const char *etag)
{
    const struct hc_blob_id blob = {self->repo->folder, etag};

    return hc_fetching_has(&self->fetching, etag) ||
           hc_blob_lock_is_held(self->search->cache, &blob);
}

/* The reference client makes such a file to find out its umask (§1.5). */
static bool name_is_of_probe(const char *name)
{
    return hc_text_starts(name, "tmp_") && strlen(name) == 40;
}

static int search_list_blobs(struct repo_search *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_blobs(self->search->cache, self->repo);

    while (hc_directory_walk_next(&walk)) {
        if (search_go_on(self, err) < 0 ||
            (S_ISREG(walk.type) && hc_etag_set_add(&self->present, walk.path, err) < 0))
            return -1;
    }
    hc_etag_set_finish(&self->present);
    return 0;
}

/* Nothing is an orphan in a repo that cannot be read whole. */
static int search_find_orphans(struct repo_search *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_blobs(self->search->cache, self->repo);

    while (hc_directory_walk_next(&walk)) {
        struct hc_leftover orphan = {.kind = HC_ORPHAN_BLOB,
                                     .etag = walk.path,
                                     .commit = ""};

        if (search_go_on(self, err) < 0)
            return -1;
        if (name_is_of_probe(walk.path) || hc_etag_set_has(&self->used, walk.path) ||
            blob_is_fetched(self, walk.path))
            continue;
        if (search_tell(self, &walk, "blobs", &orphan, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- pointers ---------------------------------------------------------------------- */

static bool pointer_dangles(const struct hc_directory_walk *walk)
{
    struct stat status;

    return fstatat(walk->dir, walk->name, &status, 0) < 0 && hc_file_is_absent(errno);
}

static int search_look_at_pointer(struct repo_search *self,
                                  const struct hc_directory_walk *walk,
                                  const char *commit, struct hc_error *err)
{
    char etag[HC_ETAG_MAX + 1], directory[64];
    struct hc_leftover dangling = {.kind = HC_DANGLING_POINTER,
                                   .commit = commit,
                                   .etag = etag};

    (void)hc_pointer_read_etag(walk->dir, walk->name, etag);
    if (etag[0] && hc_etag_set_add(&self->used, etag, err) < 0)
        return -1;
    if ((etag[0] && hc_etag_set_has(&self->present, etag)) || !pointer_dangles(walk) ||
        (etag[0] && blob_is_fetched(self, etag)))
        return 0;
    (void)hc_format(directory, sizeof directory, "snapshots/%s", commit);
    return search_tell(self, walk, directory, &dangling, err);
}

/* 1: the whole snapshot was read; 0: not. */
static int search_read_snapshot(struct repo_search *self, const char *commit,
                                struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_files(self->search->cache, self->repo, commit);

    while (hc_directory_walk_next(&walk)) {
        if (search_go_on(self, err) < 0 ||
            (S_ISLNK(walk.type) && search_look_at_pointer(self, &walk, commit, err) < 0))
            return -1;
    }
    return walk.is_incomplete ? 0 : 1;
}

/* Directories whose names are no commits may have pointers as well (§1.2): the names
 * that hc_walk_snapshots passes over count, too. */
static int search_read_snapshots(struct repo_search *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_snapshots(self->search->cache, self->repo);
    int is_whole = 1;

    walk.accepts = NULL;
    while (is_whole >= 0 && hc_directory_walk_next(&walk)) {
        int read = S_ISDIR(walk.type) ? search_read_snapshot(self, walk.path, err) : 1;

        is_whole = read < 0 ? -1 : is_whole & read;
    }
    hc_etag_set_finish(&self->used);
    return is_whole < 0 ? -1 : is_whole & (walk.is_incomplete ? 0 : 1);
}

/* ---- temporaries ------------------------------------------------------------------- */

/* ".<8 hex>" at the end of the first `length` bytes. */
static bool name_has_hex_suffix(const char *name, size_t length)
{
    return length > HEX_SUFFIX && name[length - HEX_SUFFIX] == '.' &&
           strspn(name + length - HEX_SUFFIX + 1, "0123456789abcdef") >= 8;
}

/* The etag of a partial file, or of a symlink ".<etag>.<8 hex>.shared" (§1.9). */
static bool temporary_parse(const char *name, char etag[HC_ETAG_MAX + 1])
{
    size_t length = strlen(name);

    if (hc_partial_parse(name, etag))
        return true;
    if (name[0] != '.' || !hc_text_ends(name, ".shared"))
        return false;
    length -= strlen(".shared");
    return name_has_hex_suffix(name, length) &&
           hc_format(etag, HC_ETAG_MAX + 1, "%.*s", (int)length - HEX_SUFFIX - 1,
                     name + 1) > 0 &&
           hc_etag_is_valid(etag);
}

/* One that a claim names is the claim's: claim/sweep.h removes it in its time. */
static bool temporary_is_claimed(const struct repo_search *self, const char *name,
                                 const char *etag)
{
    const struct hc_blob_id blob = {self->repo->folder, etag};
    const size_t length = strlen(name) - (sizeof INCOMPLETE_SUFFIX - 1);
    char superseded[NAME_MAX + 1];
    const struct hc_blob_id other = {self->repo->folder, superseded};
    int root = hc_cache_fd(self->search->cache);
    struct hc_claim_record claim;

    if (hc_claim_record_find(root, &blob, &claim) == 1 &&
        (strcmp(claim.partial, name) == 0 || strcmp(claim.previous, name) == 0))
        return true;
    return hc_format(superseded, sizeof superseded, "%.*s", (int)length, name) > 0 &&
           hc_claim_record_find(root, &other, &claim) == 1;
}

static bool walk_accepts_temporary(const struct hc_directory_walk *walk)
{
    char etag[HC_ETAG_MAX + 1];

    return (S_ISREG(walk->type) || S_ISLNK(walk->type)) &&
           (temporary_parse(walk->name, etag) || name_is_of_probe(walk->name));
}

static int search_find_temporaries(struct repo_search *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_blobs(self->search->cache, self->repo);

    walk.accepts = walk_accepts_temporary;
    while (hc_directory_walk_next(&walk)) {
        char etag[HC_ETAG_MAX + 1] = "";
        struct hc_leftover stray = {.kind = HC_STRAY_TEMPORARY,
                                    .etag = etag,
                                    .commit = ""};

        (void)temporary_parse(walk.name, etag);
        if (search_go_on(self, err) < 0)
            return -1;
        if (etag[0] &&
            (blob_is_fetched(self, etag) || temporary_is_claimed(self, walk.name, etag)))
            continue;
        if (search_tell(self, &walk, "blobs", &stray, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- refs -------------------------------------------------------------------------- */

/* "<ref>.<8 hex>.tmp", which the reference client renames to the ref. */
static bool ref_is_temporary(const char *name)
{
    return hc_text_ends(name, ".tmp") && name_has_hex_suffix(name, strlen(name) - 4);
}

static bool snapshot_is_there(const struct repo_search *self, const char *commit)
{
    char path[PATH_MAX];
    struct hc_error unused;
    struct stat status;

    return hc_cache_snapshot_path(path, self->repo, commit, NULL, &unused) < 0 ||
           fstatat(hc_cache_fd(self->search->cache), path, &status,
                   AT_SYMLINK_NOFOLLOW) == 0 ||
           !hc_file_is_absent(errno);
}

static int search_look_at_ref(const struct repo_search *self,
                              const struct hc_directory_walk *walk, struct hc_error *err)
{
    char content[REF_SIZE_MAX], commit[HC_COMMIT_SIZE] = "";
    struct hc_leftover leftover = {.etag = "", .commit = commit};
    struct hc_error unused;

    if (ref_is_temporary(walk->name))
        leftover.kind = HC_STRAY_TEMPORARY;
    else if (hc_file_read(walk->dir, walk->name, content, sizeof content, &unused) == 1 &&
             hc_ref_parse(content, commit) && !snapshot_is_there(self, commit))
        leftover.kind = HC_DANGLING_REF;
    else
        return 0;
    return search_tell(self, walk, "refs", &leftover, err);
}

static int search_find_refs(struct repo_search *self, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_refs(self->search->cache, self->repo);

    while (hc_directory_walk_next(&walk)) {
        if (search_go_on(self, err) < 0 || search_look_at_ref(self, &walk, err) < 0)
            return -1;
    }
    return 0;
}

/* ---- the interface ----------------------------------------------------------------- */

int hc_leftovers_find(const struct hc_leftovers *search, const struct hc_repo *repo,
                      struct hc_error *err)
{
    HC_AUTO_VALUE(repo_search) self = {.search = search, .repo = repo};
    int is_whole;

    if (hc_fetching_read(&self.fetching, search->cache, repo, search->now_ms, err) < 0 ||
        search_list_blobs(&self, err) < 0)
        return -1;
    is_whole = search_read_snapshots(&self, err);
    if (is_whole < 0 || (is_whole && search_find_orphans(&self, err) < 0) ||
        search_find_temporaries(&self, err) < 0)
        return -1;
    return search_find_refs(&self, err);
}

/* A payload that a client is about to publish or use is young, or has its line. */
static int payload_look(const struct hc_leftovers *search, const char *hash,
                        struct hc_error *err)
{
    char path[PATH_MAX];
    struct hc_leftover orphan = {.kind = HC_ORPHAN_PAYLOAD,
                                 .cache_path = path,
                                 .name = hash,
                                 .commit = "",
                                 .etag = ""};
    struct stat status;

    if (hc_payload_count_links(search->cache, hash, &status) != 0 ||
        hc_format(path, sizeof path, "blobs/%.2s/%s", hash, hash) < 0)
        return 0;
    orphan.size_bytes = (uint64_t)status.st_size;
    orphan.room_bytes = leftover_room(&status);
    orphan.changed_ms = hc_file_time_ms(&status.st_ctim);
    if (search->now_ms - orphan.changed_ms < search->age_ms)
        return 0;
    return search->found(search->ctx, &orphan, err);
}

int hc_leftovers_find_payloads(const struct hc_leftovers *search, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_payload_walk(search->cache);
    char hash[HC_PAYLOAD_HASH_SIZE];

    while (hc_payload_walk_next(&walk, hash)) {
        if (hc_cancellation_check(search->cancellation, err) < 0 ||
            payload_look(search, hash, err) < 0)
            return -1;
    }
    return 0;
}
