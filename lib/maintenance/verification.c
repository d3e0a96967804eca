/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pass makes two rounds over what is selected: one counts, so that the progress has
 * totals, and one hashes. What both rounds need of a repo is its plan (verify_plan.h).
 *
 * A file with several names, by hard links or by symlinks to the shared store, is hashed
 * under the first of them; if it is right, it is right under each that says the same.
 */
#include "verification.h"

#include "leftovers.h"
#include "quarantine.h"
#include "quarantine_limit.h"
#include "verify_plan.h"

#include <base/size.h>
#include <base/text.h>
#include <cache/blob_lock.h>
#include <cache/ref.h>
#include <cache/walk.h>
#include <claim/claim_record.h>

#include <errno.h>
#include <fcntl.h>
#include <search.h>
#include <string.h>
#include <sys/stat.h>

/* A part of one repo. */
struct part {
    struct hc_repo repo;
    char commit[HC_COMMIT_SIZE]; /* "": all of them */
    struct hc_filter *filter;    /* NULL: every file */
};

struct pass {
    const struct hc_verification *options;
    struct hc_verify_result *result;
    struct hc_idle_reader *reader;
    struct hc_verify_progress progress;
    uint64_t file_bytes; /* of the file that is being read */
    struct part *parts;
    size_t part_count;
    bool has_moved;    /* a blob of the part that is verified */
    void *right_files; /* a tree of struct right_file, as tsearch(3) has it */
};

/* A file that hashes to a name, and may be found under another one. */
struct right_file {
    dev_t dev;
    ino_t ino;
    char etag[HC_DIGEST_HEX_MAX + 1];
};

static void pass_clear(struct pass *pass)
{
    for (size_t i = 0; i < pass->part_count; i++)
        hc_filter_free(pass->parts[i].filter);
    free(pass->parts);
    tdestroy(pass->right_files, free);
    hc_idle_reader_close(pass->reader);
}

HC_DEFINE_AUTO_VALUE(pass, pass_clear)

static struct hc_verify_scope part_scope(const struct pass *pass, const struct part *part)
{
    return (struct hc_verify_scope){.repo = &part->repo,
                                    .commit = part->commit[0] ? part->commit : NULL,
                                    .filter = part->filter,
                                    .cancellation = pass->options->cancellation};
}

/* ---- what is selected -------------------------------------------------------------- */

static struct part *pass_add_part(struct pass *pass, const struct hc_repo *repo,
                                  struct hc_error *err)
{
    struct part *grown =
        reallocarray(pass->parts, pass->part_count + 1, sizeof *pass->parts);

    if (!grown) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    pass->parts = grown;
    grown[pass->part_count] = (struct part){.repo = *repo};
    return &grown[pass->part_count++];
}

/* The commit of a revision that the cache has. */
static int part_find_commit(const struct pass *pass, struct part *part,
                            const char *revision, struct hc_error *err)
{
    const struct hc_cache *cache = pass->options->cache;
    int found = hc_ref_find_commit(cache, &part->repo, revision, part->commit, err);
    char path[PATH_MAX];

    if (found < 0 || (found == 1 && hc_cache_snapshot_path(path, &part->repo,
                                                           part->commit, NULL, err) < 0))
        return -1;
    if (found == 0 || faccessat(hc_cache_fd(cache), path, F_OK, 0) < 0)
        return hc_fail(err, HC_NOT_CACHED, "%s '%s' at '%s' is not in the cache",
                       hc_repo_type_name(part->repo.type), part->repo.id, revision);
    return 0;
}

static int pass_select(struct pass *pass, const struct hc_verify_selector *selector,
                       struct hc_error *err)
{
    const struct hc_patterns patterns = {.allow = selector->patterns,
                                         .allow_count = selector->pattern_count};
    const char *revision = selector->repo.revision;
    struct hc_repo repo;
    struct part *part;

    if (hc_repo_init(&repo, selector->repo.type, selector->repo.id, err) < 0 ||
        hc_patterns_check(&patterns, err) < 0)
        return -1;
    if (faccessat(hc_cache_fd(pass->options->cache), repo.folder, F_OK, 0) < 0)
        return hc_fail(err, HC_NOT_CACHED, "%s '%s' is not in the cache",
                       hc_repo_type_name(repo.type), repo.id);
    part = pass_add_part(pass, &repo, err);
    if (!part || (revision && revision[0] && part_find_commit(pass, part, revision, err)))
        return -1;
    if (patterns.allow_count == 0)
        return 0;
    part->filter = hc_filter_new(&patterns, pass->options->cancellation, err);
    return part->filter ? 0 : -1;
}

static int compare_parts(const void *left, const void *right)
{
    const struct part *a = left, *b = right;

    return strcmp(a->repo.folder, b->repo.folder);
}

static int pass_select_all(struct pass *pass, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_directory_walk) walk = hc_walk_repos(pass->options->cache);
    const struct hc_verify_position *after = pass->options->after;
    struct hc_repo repo;

    while (hc_walk_next_repo(&walk, &repo)) {
        if ((!after || strcmp(repo.folder, after->folder) >= 0) &&
            !pass_add_part(pass, &repo, err))
            return -1;
    }
    if (pass->part_count > 0)
        qsort(pass->parts, pass->part_count, sizeof *pass->parts, compare_parts);
    return 0;
}

static int pass_select_parts(struct pass *pass, struct hc_error *err)
{
    const struct hc_verify_request *request = pass->options->request;

    if (request->selector_count == 0)
        return pass_select_all(pass, err);
    for (size_t i = 0; i < request->selector_count; i++) {
        if (pass_select(pass, &request->selectors[i], err) < 0)
            return -1;
    }
    return 0;
}

/* ---- progress ---------------------------------------------------------------------- */

/* Clients add files between the two rounds, and a file may be read again. */
static void pass_tell_progress(const struct pass *pass, uint64_t file_bytes)
{
    const struct hc_verify_request *request = pass->options->request;
    struct hc_verify_progress progress = pass->progress;

    if (!request->progress)
        return;
    progress.blobs_hashed = pass->result->blobs;
    progress.bytes_hashed = pass->result->bytes;
    progress.bytes_done += file_bytes < pass->file_bytes ? file_bytes : pass->file_bytes;
    if (progress.bytes_total < progress.bytes_done)
        progress.bytes_total = progress.bytes_done;
    if (progress.blobs_total < progress.blobs_done)
        progress.blobs_total = progress.blobs_done;
    request->progress(request->ctx, &progress);
}

static void pass_note_bytes(void *ctx, uint64_t bytes)
{
    pass_tell_progress(ctx, bytes);
}

/* ---- findings ---------------------------------------------------------------------- */

static int pass_tell(struct pass *pass, struct hc_finding *finding,
                     const struct hc_strings *pointers, struct hc_error *err)
{
    const struct hc_verification *options = pass->options;

    if (pointers) {
        finding->pointers = (const char *const *)pointers->items;
        finding->pointer_count = pointers->count;
    }
    pass->result->findings[finding->kind]++;
    return options->found ? options->found(options->ctx, finding, err) : 0;
}

static struct hc_finding finding_of(enum hc_finding_kind kind, const struct part *part,
                                    const struct hc_blob_check *check)
{
    return (struct hc_finding){.kind = kind,
                               .repo_id = part->repo.id,
                               .repo_type = part->repo.type,
                               .cache_path = check->path,
                               .size_bytes = (uint64_t)check->file.size,
                               .action = "",
                               .actual = check->actual};
}

/* 1: its path has right bytes, and the finding was told; 0: it is to be moved; -1. */
static int pass_fetch_over(struct pass *pass, const struct part *part,
                           const struct hc_blob_check *check, struct hc_error *err)
{
    const struct hc_verification *options = pass->options;
    HC_AUTO_VALUE(hc_quarantined) quarantined = {.path = ""};
    struct hc_finding finding = finding_of(HC_CORRUPT_BLOB, part, check);
    char action[PATH_MAX + 32];
    struct hc_error failure;

    if (!options->fetch_over || hc_quarantine_link(options->cache, &part->repo, check,
                                                   &quarantined, &failure) != 1)
        return 0;
    finding.pointers = (const char *const *)quarantined.pointers.items;
    finding.pointer_count = quarantined.pointers.count;
    if (options->fetch_over(options->ctx, &finding, &failure) < 0 ||
        hc_blob_check_holds(check)) {
        hc_quarantine_unlink(options->cache, &quarantined);
        return hc_cancellation_check(options->cancellation, err);
    }
    pass->has_moved = true;
    pass->result->repaired += finding.pointer_count;
    (void)hc_format(action, sizeof action, "moved to %s; fetched again",
                    quarantined.path);
    finding.action = action;
    finding.is_repaired = true;
    return pass_tell(pass, &finding, NULL, err) < 0 ? -1 : 1;
}

/* A failure to move it is told, and the pass continues. */
static int pass_move_corrupt(struct pass *pass, const struct part *part,
                             const struct hc_blob_check *check, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_quarantined) quarantined = {.path = ""};
    struct hc_finding finding = finding_of(HC_CORRUPT_BLOB, part, check);
    char action[PATH_MAX + 32];
    struct hc_error failure;
    int moved = hc_quarantine_move(pass->options->cache, &part->repo, check, &quarantined,
                                   &failure);

    if (moved == 0) /* it is being fetched, or is another one by now */
        return 0;
    pass->has_moved = true;
    (void)hc_format(action, sizeof action, moved < 0 ? "not moved: %s" : "moved to %s",
                    moved < 0 ? failure.message : quarantined.path);
    finding.action = action;
    return pass_tell(pass, &finding, &quarantined.pointers, err);
}

static int pass_take_corrupt(struct pass *pass, const struct part *part,
                             const struct hc_blob_check *check, struct hc_error *err)
{
    int fetched = pass_fetch_over(pass, part, check, err);

    if (fetched != 0)
        return fetched < 0 ? -1 : 0;
    return pass_move_corrupt(pass, part, check, err);
}

static int pass_tell_blob(struct pass *pass, const struct part *part,
                          enum hc_finding_kind kind, const struct hc_blob_check *check,
                          struct hc_error *err)
{
    HC_AUTO_VALUE(hc_strings) pointers = {0};
    struct hc_finding finding = finding_of(kind, part, check);
    char why[160];

    if (kind == HC_UNREADABLE_BLOB) {
        (void)hc_format(why, sizeof why, "left: %s",
                        check->errnum ? strerrordesc_np(check->errnum)
                                      : "each read gives other bytes");
        finding.action = why;
    }
    if (kind != HC_UNVERIFIABLE_BLOB && /* those may be many */
        hc_quarantine_find_pointers(pass->options->cache, &part->repo, check->etag,
                                    &pointers, err) < 0)
        return -1;
    return pass_tell(pass, &finding, &pointers, err);
}

static int pass_judge(struct pass *pass, const struct part *part,
                      const struct hc_blob_check *check, struct hc_error *err)
{
    switch (check->state) {
    case HC_BLOB_CORRUPT:
        return pass->options->request->dry_run
                   ? pass_tell_blob(pass, part, HC_CORRUPT_BLOB, check, err)
                   : pass_take_corrupt(pass, part, check, err);
    case HC_BLOB_UNVERIFIABLE:
        return pass_tell_blob(pass, part, HC_UNVERIFIABLE_BLOB, check, err);
    case HC_BLOB_UNREADABLE:
        return pass_tell_blob(pass, part, HC_UNREADABLE_BLOB, check, err);
    case HC_BLOB_RIGHT:
    case HC_BLOB_CHANGED:
        break;
    }
    return 0;
}

/* ---- files with several names ------------------------------------------------------ */

static int compare_right_files(const void *left, const void *right)
{
    const struct right_file *a = left, *b = right;

    if (a->ino != b->ino)
        return a->ino < b->ino ? -1 : 1;
    if (a->dev != b->dev)
        return a->dev < b->dev ? -1 : 1;
    return strcmp(a->etag, b->etag);
}

/* Whether the file may be found again, under another name or by another selector; then
 * `right` identifies it. */
static bool pass_identify(const struct pass *pass, const struct hc_blob_check *check,
                          struct right_file *right)
{
    bool is_selected_twice = pass->options->request->selector_count > 1;
    struct stat named, file;

    if (hc_digest_kind_of(check->etag) == HC_DIGEST_NONE ||
        fstatat(check->root, check->path, &named, AT_SYMLINK_NOFOLLOW) < 0 ||
        fstatat(check->root, check->path, &file, 0) < 0)
        return false;
    *right = (struct right_file){.dev = file.st_dev, .ino = file.st_ino};
    (void)hc_format(right->etag, sizeof right->etag, "%s", check->etag);
    return is_selected_twice || S_ISLNK(named.st_mode) || file.st_nlink > 1;
}

/* If memory is short, a file is hashed twice. */
static void pass_remember(struct pass *pass, const struct right_file *right)
{
    struct right_file *copy = malloc(sizeof *copy);
    struct right_file *const *kept;

    if (!copy)
        return;
    *copy = *right;
    kept = tsearch(copy, &pass->right_files, compare_right_files);
    if (!kept || *kept != copy)
        free(copy);
}

/* ---- one file ---------------------------------------------------------------------- */

static int pass_check(struct pass *pass, const struct part *part,
                      struct hc_blob_check *check, struct hc_error *err)
{
    struct right_file right;
    bool is_shared = pass_identify(pass, check, &right);

    if (is_shared && tfind(&right, &pass->right_files, compare_right_files))
        return 0;
    if (hc_blob_check_run(check, pass->reader, err) < 0)
        return -1;
    if (check->state != HC_BLOB_CHANGED && check->state != HC_BLOB_UNVERIFIABLE) {
        pass->result->blobs++;
        pass->result->bytes += (uint64_t)check->file.size;
    }
    if (is_shared && check->state == HC_BLOB_RIGHT)
        pass_remember(pass, &right);
    return pass_judge(pass, part, check, err);
}

static int pass_check_file(struct pass *pass, const struct part *part,
                           const struct hc_verify_file *file, struct hc_error *err)
{
    const struct hc_cache *cache = pass->options->cache;
    const struct hc_blob_id blob = {part->repo.folder, file->etag};
    struct hc_verify_position position;
    char path[PATH_MAX];
    struct hc_blob_check check = {.root = hc_cache_fd(cache),
                                  .path = path,
                                  .etag = file->etag,
                                  .size = file->size};

    if (hc_format(path, sizeof path, "%s/%s", part->repo.folder, file->path) < 0)
        return 0;
    pass->file_bytes = file->bytes;
    pass_tell_progress(pass, 0);
    if (!(file->etag[0] && hc_blob_lock_is_held(cache, &blob)) &&
        pass_check(pass, part, &check, err) < 0)
        return -1;
    pass->progress.blobs_done++;
    pass->progress.bytes_done += file->bytes;
    if (!pass->options->passed)
        return 0;
    memcpy(position.folder, part->repo.folder, sizeof position.folder);
    (void)hc_format(position.path, sizeof position.path, "%s", file->path);
    return pass->options->passed(pass->options->ctx, &position, pass->result, err);
}

/* ---- leftovers --------------------------------------------------------------------- */

struct part_leftovers {
    struct pass *pass;
    const struct part *part; /* NULL: of the shared store */
};

/* Of a revision, or of selected files, only their pointers. */
static int part_has_leftover(const struct part *part, const struct hc_leftover *leftover,
                             struct hc_error *err)
{
    if (!part || (!part->commit[0] && !part->filter))
        return 1;
    if (leftover->kind != HC_DANGLING_POINTER ||
        (part->commit[0] && strcmp(part->commit, leftover->commit) != 0))
        return 0;
    return part->filter ? hc_filter_select(part->filter, leftover->name, err) : 1;
}

static int pass_tell_leftover(void *ctx, const struct hc_leftover *leftover,
                              struct hc_error *err)
{
    const struct part_leftovers *self = ctx;
    struct hc_finding finding = {.kind = leftover->kind,
                                 .repo_id = leftover->repo ? leftover->repo->id : "",
                                 .repo_type = leftover->repo ? leftover->repo->type
                                                             : HC_REPO_MODEL,
                                 .cache_path = leftover->cache_path,
                                 .size_bytes = leftover->size_bytes,
                                 .action = "",
                                 .actual = ""};
    int selected = part_has_leftover(self->part, leftover, err);

    if (selected <= 0)
        return selected;
    if (leftover->kind == HC_DANGLING_POINTER) {
        finding.pointers = &finding.cache_path;
        finding.pointer_count = 1;
    }
    return pass_tell(self->pass, &finding, NULL, err);
}

static int pass_find_leftovers(struct pass *pass, const struct part *part,
                               struct hc_error *err)
{
    struct part_leftovers self = {.pass = pass, .part = part};
    const struct hc_leftovers search = {
        .cache = pass->options->cache,
        .now_ms = hc_volume_now_ms(pass->options->cache),
        .age_ms = HC_LEFTOVER_AGE_MS,
        .found = pass_tell_leftover,
        .ctx = &self,
        .cancellation = pass->options->cancellation,
    };

    return part ? hc_leftovers_find(&search, &part->repo, err)
                : hc_leftovers_find_payloads(&search, err);
}

/* ---- the pass ---------------------------------------------------------------------- */

/* Whether an earlier pass has checked the file. */
static bool pass_is_after(const struct pass *pass, const struct part *part,
                          const struct hc_verify_file *file)
{
    const struct hc_verify_position *after = pass->options->after;

    return !after || strcmp(part->repo.folder, after->folder) != 0 ||
           strcmp(file->path, after->path) > 0;
}

static int pass_count_part(struct pass *pass, const struct part *part,
                           struct hc_error *err)
{
    HC_AUTO_VALUE(hc_verify_plan) plan = {0};
    const struct hc_verify_scope scope = part_scope(pass, part);

    if (hc_verify_plan_make(&plan, pass->options->cache, &scope, err) < 0)
        return -1;
    for (size_t i = 0; i < plan.count; i++) {
        if (!pass_is_after(pass, part, &plan.files[i]))
            continue;
        pass->progress.blobs_total++;
        pass->progress.bytes_total += plan.files[i].bytes;
    }
    return 0;
}

static int pass_check_part(struct pass *pass, const struct part *part,
                           struct hc_error *err)
{
    HC_AUTO_VALUE(hc_verify_plan) plan = {0};
    const struct hc_verify_scope scope = part_scope(pass, part);

    if (hc_verify_plan_make(&plan, pass->options->cache, &scope, err) < 0)
        return -1;
    for (size_t i = 0; i < plan.count; i++) {
        if (hc_cancellation_check(pass->options->cancellation, err) < 0 ||
            (pass_is_after(pass, part, &plan.files[i]) &&
             pass_check_file(pass, part, &plan.files[i], err) < 0))
            return -1;
    }
    if (pass->has_moved) /* for its limit */
        (void)hc_quarantine_sweep(pass->options->cache, hc_epoch_ms());
    pass->has_moved = false;
    return pass_find_leftovers(pass, part, err);
}

static int pass_open_reader(struct pass *pass, struct hc_error *err)
{
    const struct hc_idle_options options = {
        .bytes_per_second = pass->options->request->bytes_per_second,
        .is_urgent = !pass->options->is_idle,
        .cancellation = pass->options->cancellation,
        .progress = pass_note_bytes,
        .ctx = pass,
    };

    pass->reader = hc_idle_reader_open(&options, err);
    return pass->reader ? 0 : -1;
}

int hc_verification_run(const struct hc_verification *verification,
                        struct hc_verify_result *result, struct hc_error *err)
{
    HC_AUTO_VALUE(pass) pass = {.options = verification, .result = result};

    if (pass_select_parts(&pass, err) < 0 || pass_open_reader(&pass, err) < 0)
        return -1;
    for (size_t i = 0; i < pass.part_count; i++) {
        if (pass_count_part(&pass, &pass.parts[i], err) < 0)
            return -1;
    }
    for (size_t i = 0; i < pass.part_count; i++) {
        if (pass_check_part(&pass, &pass.parts[i], err) < 0)
            return -1;
    }
    pass.progress.blobs_total = pass.progress.blobs_done; /* some may have gone */
    pass.progress.bytes_total = pass.progress.bytes_done;
    pass.file_bytes = 0;
    pass_tell_progress(&pass, 0);
    return verification->request->selector_count == 0
               ? pass_find_leftovers(&pass, NULL, err)
               : 0;
}
