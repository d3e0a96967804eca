/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text of lines: the facts, a digit for each four entries of the listing, and the hash
 * of all that. The facts are made from what is on the volume now, and compared with those
 * in the file as they are, so there is nothing to parse.
 */
#include "proof.h"

#include "walk.h"

#include <base/cancellation.h>
#include <base/directory.h>
#include <base/file.h>
#include <base/hash.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char proofs_path[] = ".hubcache/proofs";

static const int64_t PROOF_MAX_AGE_MS = INT64_C(30) * 24 * 60 * 60 * 1000;

static const char hex_digits[] = "0123456789abcdef";

/* A directory of the snapshot, "" for the topmost; the first one is the repo's blobs/. */
struct proof_directory {
    const char *path; /* the beginning of an entry's */
    size_t length;
    bool is_there;
    struct stat status;
};

struct hc_proof {
    const struct hc_cache *cache;
    const struct hc_repo_file *place;
    const struct hc_tree *tree;
    struct proof_directory *directories;
    size_t directory_count;
    char *facts;
    size_t facts_size;
    uint8_t *seen;       /* 1 for each entry that was */
    bool is_changed;     /* since the file was read */
    int64_t written_ms;  /* the file's mtime; 0: there was none */
    char path[PATH_MAX]; /* of the file */
};

/* ---- directories ------------------------------------------------------------------- */

static int directory_compare(const void *left, const void *right)
{
    const struct proof_directory *a = left, *b = right;
    size_t length = a->length < b->length ? a->length : b->length;
    int order = memcmp(a->path, b->path, length);

    if (order != 0)
        return order;
    return (a->length > b->length) - (a->length < b->length);
}

static size_t path_directory_length(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? (size_t)(slash - path) : 0;
}

/* Each once, after the one for blobs/. False: none, too many, or memory is short. */
static bool proof_list_directories(struct hc_proof *proof)
{
    const struct hc_tree *tree = proof->tree;
    struct proof_directory *all = calloc(tree->count + 1, sizeof *all), *last = all;
    size_t count = 1;

    proof->directories = all;
    if (!all)
        return false;
    for (size_t i = 0; i < tree->count; i++) {
        struct proof_directory next = {.path = tree->entries[i].path};

        if (!tree->entries[i].is_safe) /* it may name a file anywhere */
            continue;
        next.length = path_directory_length(next.path);
        if (count == 1 || directory_compare(last, &next) != 0) {
            last = &all[count++];
            *last = next;
        }
    }
    if (count == 1)
        return false;
    qsort(all + 1, count - 1, sizeof *all, directory_compare);
    last = all + 1;
    for (size_t i = 2; i < count; i++) {
        if (directory_compare(last, &all[i]) != 0)
            *++last = all[i];
    }
    proof->directory_count = (size_t)(last - all) + 1;
    return proof->directory_count <= HC_PROOF_DIRECTORIES_MAX + 1;
}

static int proof_format_directory(const struct hc_proof *proof, size_t number,
                                  char path[PATH_MAX])
{
    const struct proof_directory *directory = &proof->directories[number];
    const char *folder = proof->place->repo->folder;

    return number == 0 ? hc_format(path, PATH_MAX, "%s/blobs", folder)
                       : hc_format(path, PATH_MAX, "%s/snapshots/%s/%.*s", folder,
                                   proof->place->revision, (int)directory->length,
                                   directory->path);
}

/* A symlink in the place of a directory is none: what is behind it may change unseen. */
static int proof_look_at_directory(void *ctx, size_t number, struct hc_error *err)
{
    struct hc_proof *proof = ctx;
    struct proof_directory *directory = &proof->directories[number];
    int root = hc_cache_fd(proof->cache);
    char path[PATH_MAX];

    if (proof_format_directory(proof, number, path) < 0)
        return hc_fail_errno(err, ENAMETOOLONG, "directory of a proof");
    directory->is_there =
        fstatat(root, path, &directory->status, AT_SYMLINK_NOFOLLOW) == 0;
    if (!directory->is_there)
        return hc_file_is_absent(errno) ? 0
                                        : hc_fail_errno(err, errno, "stat '%s'", path);
    return S_ISDIR(directory->status.st_mode)
               ? 0
               : hc_fail_errno(err, ENOTDIR, "stat '%s'", path);
}

/* ---- facts ------------------------------------------------------------------------- */

static bool text_hash(const char *text, size_t size, char hex[HC_DIGEST_HEX_MAX + 1])
{
    struct hc_error unused;
    HC_AUTO(hc_digest) *digest = hc_digest_new(HC_DIGEST_SHA256, size, &unused);

    return digest && hc_digest_update(digest, text, size, &unused) == 0 &&
           hc_digest_finish(digest, hex, &unused) == 0;
}

/* Texts with their NUL, so that no two listings have the same hash. */
static bool tree_hash(const struct hc_tree *tree, char hex[HC_DIGEST_HEX_MAX + 1])
{
    struct hc_error unused;
    HC_AUTO(hc_digest) *digest = hc_digest_new(HC_DIGEST_SHA256, 0, &unused);

    for (size_t i = 0; digest && i < tree->count; i++) {
        const struct hc_entry *entry = &tree->entries[i];
        const char *etag = hc_entry_etag(entry);
        uint64_t size = hc_entry_size(entry);

        if (hc_digest_update(digest, entry->path, strlen(entry->path) + 1, &unused) < 0 ||
            hc_digest_update(digest, etag, strlen(etag) + 1, &unused) < 0 ||
            hc_digest_update(digest, &size, sizeof size, &unused) < 0)
            return false;
    }
    return digest && hc_digest_finish(digest, hex, &unused) == 0;
}

static void directory_write_fact(const struct proof_directory *directory, FILE *out)
{
    const struct stat *status = &directory->status;

    if (directory->is_there)
        (void)fprintf(out, "%ju %jd.%09ld %jd.%09ld", (uintmax_t)status->st_ino,
                      (intmax_t)status->st_mtim.tv_sec, status->st_mtim.tv_nsec,
                      (intmax_t)status->st_ctim.tv_sec, status->st_ctim.tv_nsec);
    else
        (void)fputs("absent", out);
    (void)fprintf(out, " %.*s\n", (int)directory->length,
                  directory->path ? directory->path : "");
}

static bool proof_state_facts(struct hc_proof *proof)
{
    char hex[HC_DIGEST_HEX_MAX + 1];
    FILE *out;

    if (!tree_hash(proof->tree, hex))
        return false;
    out = open_memstream(&proof->facts, &proof->facts_size);
    if (!out)
        return false;
    (void)fprintf(out, "hubcache proof 1\n%s %zu\n", hex, proof->tree->count);
    for (size_t i = 0; i < proof->directory_count; i++)
        directory_write_fact(&proof->directories[i], out);
    return fclose(out) == 0;
}

/* ---- the file ---------------------------------------------------------------------- */

static size_t proof_digit_count(const struct hc_proof *proof)
{
    return (proof->tree->count + 3) / 4;
}

/* The facts and the digits, each with a newline; the hash and its newline follow. */
static size_t proof_hashed_size(const struct hc_proof *proof)
{
    return proof->facts_size + proof_digit_count(proof) + 1;
}

static size_t proof_text_size(const struct hc_proof *proof)
{
    return proof_hashed_size(proof) + HC_DIGEST_HEX_MAX + 1;
}

static char *proof_format(const struct hc_proof *proof)
{
    size_t hashed_size = proof_hashed_size(proof);
    HC_AUTO_FREE char *text = malloc(proof_text_size(proof) + 1);
    char *next;

    if (!text)
        return NULL;
    memcpy(text, proof->facts, proof->facts_size);
    next = text + proof->facts_size;
    for (size_t i = 0; i < proof->tree->count; i += 4) {
        unsigned digit = 0;

        for (size_t k = 0; k < 4 && i + k < proof->tree->count; k++)
            digit |= (unsigned)proof->seen[i + k] << k;
        *next++ = hex_digits[digit];
    }
    *next++ = '\n';
    if (!text_hash(text, hashed_size, next))
        return NULL;
    memcpy(next + HC_DIGEST_HEX_MAX, "\n", 2);
    return hc_take(&text);
}

static bool proof_text_is_right(const struct hc_proof *proof, const char *text)
{
    size_t hashed_size = proof_hashed_size(proof);
    char hex[HC_DIGEST_HEX_MAX + 1];

    return strlen(text) == proof_text_size(proof) &&
           memcmp(text, proof->facts, proof->facts_size) == 0 &&
           text_hash(text, hashed_size, hex) &&
           memcmp(text + hashed_size, hex, HC_DIGEST_HEX_MAX) == 0;
}

/* The hash is right, but any program may have written it: other characters than digits
 * count as 0. */
static void proof_read_digits(struct hc_proof *proof, const char *digits)
{
    for (size_t i = 0; i < proof->tree->count; i++) {
        const char *found = strchr(hex_digits, digits[i / 4]);

        proof->seen[i] = found && (((unsigned)(found - hex_digits) >> i % 4) & 1);
    }
}

static void proof_read(struct hc_proof *proof)
{
    size_t size = proof_text_size(proof) + 1;
    HC_AUTO_FREE char *text = malloc(size);
    struct hc_error unused;
    struct stat status;

    if (!text ||
        hc_file_read_stat(hc_cache_fd(proof->cache), proof->path, text, size, &status,
                          &unused) != 1 ||
        !proof_text_is_right(proof, text))
        return;
    proof_read_digits(proof, text + proof->facts_size);
    proof->written_ms = hc_file_time_ms(&status.st_mtim);
}

/* ---- whether it may be written ----------------------------------------------------- */

static int64_t proof_changed_ms(const struct hc_proof *proof)
{
    int64_t changed_ms = 0;

    for (size_t i = 0; i < proof->directory_count; i++) {
        const struct stat *status = &proof->directories[i].status;
        int64_t mtime_ms = hc_file_time_ms(&status->st_mtim);
        int64_t ctime_ms = hc_file_time_ms(&status->st_ctim);

        changed_ms = mtime_ms > changed_ms ? mtime_ms : changed_ms;
        changed_ms = ctime_ms > changed_ms ? ctime_ms : changed_ms;
    }
    return changed_ms;
}

/* The store that newer clients share between repos (§1.9) loses blobs without a change
 * to the directories of the repo. */
static bool repo_shares_blobs(const struct hc_cache *cache, const struct hc_repo *repo)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_blobs(cache, repo);

    while (hc_directory_walk_next(&walk)) {
        if (!S_ISREG(walk.type))
            return true;
    }
    return walk.is_incomplete;
}

/* One that counted says something wrong. */
static void proof_remove(const struct hc_proof *proof)
{
    if (proof->written_ms > 0)
        (void)unlinkat(hc_cache_fd(proof->cache), proof->path, 0);
}

/* ---- the interface ----------------------------------------------------------------- */

struct hc_proof *hc_proof_open(const struct hc_cache *cache,
                               const struct hc_repo_file *place,
                               const struct hc_tree *tree,
                               const struct hc_parallel *looks)
{
    HC_AUTO(hc_proof) *proof = calloc(1, sizeof *proof);
    struct hc_parallel parallel = *looks;
    struct hc_error unused;

    if (!proof)
        return NULL;
    proof->cache = cache;
    proof->place = place;
    proof->tree = tree;
    proof->seen = calloc(tree->count + 1, 1);
    parallel.run = proof_look_at_directory;
    parallel.ctx = proof;
    if (!proof->seen ||
        hc_format(proof->path, sizeof proof->path, "%s/%s/%s", proofs_path,
                  place->repo->folder, place->revision) < 0 ||
        !proof_list_directories(proof) ||
        hc_parallel_run(&parallel, proof->directory_count, &unused) < 0 ||
        !proof_state_facts(proof))
        return NULL;
    proof_read(proof);
    return hc_take(&proof);
}

void hc_proof_close(struct hc_proof *proof)
{
    if (!proof)
        return;
    free(proof->directories);
    free(proof->facts);
    free(proof->seen);
    free(proof);
}

bool hc_proof_has(const struct hc_proof *proof, size_t entry)
{
    return proof->seen[entry];
}

void hc_proof_set(struct hc_proof *proof, size_t entry, bool is_whole)
{
    proof->is_changed = proof->is_changed || proof->seen[entry] != is_whole;
    proof->seen[entry] = is_whole;
}

bool hc_proof_is_changed(const struct hc_proof *proof)
{
    return proof->is_changed;
}

void hc_proof_save(const struct hc_proof *proof, int64_t opened_ms)
{
    HC_AUTO_FREE char *text = NULL;
    struct hc_error unused;

    if (opened_ms - proof_changed_ms(proof) < HC_PROOF_MIN_AGE_MS ||
        repo_shares_blobs(proof->cache, proof->place->repo)) {
        proof_remove(proof);
        return;
    }
    text = proof_format(proof);
    if (text)
        (void)hc_cache_publish(proof->cache, proof->path, text, proof_text_size(proof),
                               &unused);
}

/* The file's own time stamp is the claim: a volume that refuses to set it has no claim,
 * and no proof can be written there either. */
bool hc_proof_is_old(const struct hc_proof *proof)
{
    return proof->written_ms > 0 && hc_epoch_ms() - proof->written_ms > HC_PROOF_OLD_MS &&
           utimensat(hc_cache_fd(proof->cache), proof->path, NULL, AT_SYMLINK_NOFOLLOW) ==
               0;
}

void hc_proof_drop(const struct hc_cache *cache, const struct hc_repo *repo,
                   const char *commit)
{
    char path[PATH_MAX];

    if (hc_format(path, sizeof path, "%s/%s/%s", proofs_path, repo->folder, commit) > 0)
        (void)unlinkat(hc_cache_fd(cache), path, 0);
}

void hc_proof_sweep(const struct hc_cache *cache, int64_t now_ms)
{
    (void)hc_directory_remove_older(hc_cache_fd(cache), proofs_path,
                                    now_ms - PROOF_MAX_AGE_MS);
}
