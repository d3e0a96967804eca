/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The steps are those of hubcache's own processes, by the functions that they call. What
 * is no step of hubcache, such as a byte that changes, the test itself makes.
 */
#include "maintenance_model.h"

#include "fault.h"

#include <maintenance/eviction.h>
#include <maintenance/prune.h>
#include <maintenance/quarantine_limit.h>
#include <maintenance/trash.h>
#include <maintenance/verification.h>

#include <base/file.h>
#include <base/text.h>
#include <cache/blob_lock.h>
#include <cache/pin.h>
#include <cache/pointer.h>
#include <cache/ref.h>
#include <cache/walk.h>
#include <claim/claim.h>
#include <claim/fetching.h>
#include <claim/lease.h>
#include <claim/sweep.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_SIZE = 512 /* of st_blocks */ };

const char *const model_commits[COMMITS] = {COMMIT, OTHER_COMMIT, THIRD_COMMIT};

/* As many times the letter 'a', 'b' … and git's id of that. */
const struct model_blob model_blobs[ETAGS] = {
    {"2e65efe2a145dda7ee51d1741299f848e5bf752e", 1},
    {"c82de19312b6c3695c0c18f70709a6c535682a67", 4096},
    {"59d177b76437c8a146c66503d44733f7c08a9b94", 4097},
    {"644fe5e5400d2ee433e84b83a8a87c7584ebeb57", 5000},
    {"cec4252c2d621a7e2c5229170eadc1daf7223b64", 20000},
};

/* ---- the cache --------------------------------------------------------------------- */

void model_format_place(char place[PATH_MAX], const struct hc_repo *repo,
                        const char *kind, const char *name)
{
    (void)hc_format(place, PATH_MAX, "%s/%s/%s", repo->folder, kind, name);
}

static void format_file(char name[16], int file)
{
    (void)snprintf(name, 16, "%sf%d", file % 2 ? "sub/" : "", file);
}

bool model_has(const struct model *model, int repo, const char *kind, const char *name)
{
    char place[PATH_MAX];

    model_format_place(place, &model->repos[repo], kind, name);
    return temp_dir_has(model->f->dir, place);
}

bool model_has_file(const struct model *model, int repo, int commit, int file)
{
    char place[PATH_MAX], name[16];

    format_file(name, file);
    (void)hc_format(place, sizeof place, "%s/%s", model_commits[commit], name);
    return model_has(model, repo, "snapshots", place);
}

static void put_blob(const struct model *model, int repo, int etag)
{
    char content[20001], place[PATH_MAX];

    if (model_has(model, repo, "blobs", model_blobs[etag].etag))
        return;
    memset(content, 'a' + etag, model_blobs[etag].size);
    content[model_blobs[etag].size] = '\0';
    model_format_place(place, &model->repos[repo], "blobs", model_blobs[etag].etag);
    temp_dir_write(model->f->dir, place, content);
}

/* What is in blobs/ takes of the volume. */
uint64_t model_room(const struct model *model)
{
    uint64_t room = 0;

    for (int repo = 0; repo < REPOS; repo++) {
        HC_AUTO_VALUE(hc_directory_walk)
        walk = hc_walk_blobs(model->f->cache, &model->repos[repo]);
        struct stat status;

        walk.accepts = NULL;
        while (hc_directory_walk_next(&walk)) {
            if (fstatat(walk.dir, walk.name, &status, AT_SYMLINK_NOFOLLOW) == 0)
                room += (uint64_t)status.st_blocks * BLOCK_SIZE;
        }
    }
    return room;
}

/* Partial files of downloads that died. */
bool model_has_partials(const struct model *model, int repo)
{
    HC_AUTO_VALUE(hc_directory_walk)
    walk = hc_walk_blobs(model->f->cache, &model->repos[repo]);
    char etag[HC_ETAG_MAX + 1];

    walk.accepts = NULL;
    while (hc_directory_walk_next(&walk)) {
        if (hc_partial_parse(walk.name, etag))
            return true;
    }
    return false;
}

/* -1: none. */
int model_find_ref(const struct model *model, int repo, int ref)
{
    HC_AUTO_FREE char *content = NULL;
    char place[PATH_MAX], name[16];

    (void)snprintf(name, sizeof name, "v%d", ref);
    model_format_place(place, &model->repos[repo], "refs", name);
    content = temp_dir_read(model->f->dir, place);
    for (int commit = 0; content && commit < COMMITS; commit++) {
        if (strcmp(content, model_commits[commit]) == 0)
            return commit;
    }
    assert_null(content);
    return -1;
}

void model_count_leases(const struct model *model, int repo, int commit, unsigned *brief,
                        unsigned *lasting)
{
    int64_t now_ms = hc_volume_now_ms(model->f->cache);
    HC_AUTO_VALUE(hc_lease_list)
    list = hc_lease_list(model->f->cache, &model->repos[repo], model_commits[commit],
                         now_ms);

    *brief = *lasting = 0;
    while (hc_lease_list_next(&list)) {
        if (list.lease.until_ms - now_ms < LATER_MS)
            ++*brief;
        else
            ++*lasting;
    }
}

static bool cache_find_lease(const struct hc_cache *cache, const struct hc_repo *repo,
                             const char *commit, struct hc_lease *lease)
{
    HC_AUTO_VALUE(hc_lease_list)
    list = hc_lease_list(cache, repo, commit, hc_volume_now_ms(cache));

    if (!hc_lease_list_next(&list))
        return false;
    *lease = list.lease;
    return true;
}

/* ---- steps, each in its process ---------------------------------------------------- */

struct work {
    const struct model *model;
    const struct step *step;
    const struct hc_repo *repo;
    const char *commit;
    struct hc_cache *cache; /* of its own */
    struct hc_error err;
};

static void work_pin(struct work *work)
{
    const struct hc_pin pin = {.reason = "test"};
    const struct model_revision *revision =
        &work->model->revisions[work->step->repo][work->step->commit];

    if (revision->is_pinned)
        assert_int_equal(hc_pin_clear(work->cache, work->repo, work->commit, &work->err),
                         1);
    else if (revision->is_there)
        assert_int_equal(hc_pin_set(work->cache, work->repo, work->commit, &pin,
                                    &work->err),
                         0);
}

/* As a resolution does: what was leased is to be there afterwards. */
static void work_lease(struct work *work)
{
    const struct hc_lease_request request = {.repo = work->repo,
                                             .commit = work->commit,
                                             .caller = "test",
                                             .duration_ms = work->step->number % 2
                                                                ? HOUR_MS
                                                                : 24 * HOUR_MS};
    struct hc_lease lease;
    char place[PATH_MAX];

    assert_int_equal(hc_lease_take(work->cache, &request, &lease, &work->err), 1);
    model_format_place(place, work->repo, "snapshots", work->commit);
    if (!temp_dir_has(work->model->f->dir, place))
        assert_int_equal(hc_lease_release(work->cache, lease.id, &work->err), 1);
}

static void work_renew(struct work *work)
{
    struct hc_lease lease, renewed;

    if (cache_find_lease(work->cache, work->repo, work->commit, &lease))
        assert_int_equal(hc_lease_renew(work->cache, lease.id, INT64_C(24) * HOUR_MS,
                                        &renewed, &work->err),
                         1);
}

static void work_release(struct work *work)
{
    struct hc_lease lease;

    if (cache_find_lease(work->cache, work->repo, work->commit, &lease))
        assert_int_equal(hc_lease_release(work->cache, lease.id, &work->err), 1);
}

static void work_ref(struct work *work)
{
    char name[16];

    (void)snprintf(name, sizeof name, "v%d", (int)(work->step->number % REFS));
    if (work->model->revisions[work->step->repo][work->step->commit].is_there)
        assert_int_equal(hc_ref_update(work->cache, work->repo, name, work->commit,
                                       &work->err),
                         0);
}

/* Its bytes under the claim of the process, as those of the resolver are written. */
static void download_blob(struct work *work, int etag)
{
    const struct hc_blob_request request = {.blob = {work->repo->folder,
                                                     model_blobs[etag].etag},
                                            .size = model_blobs[etag].size};
    static const struct hc_claim_options options = {0};
    int root = hc_cache_fd(work->cache);
    HC_AUTO(hc_blob_lock) *lock = NULL;
    HC_AUTO(hc_claim) *claim = NULL;
    HC_AUTO_CLOSE int fd = -1;
    char content[20000], path[PATH_MAX];
    size_t half = model_blobs[etag].size / 2;

    if (model_has(work->model, work->step->repo, "blobs", model_blobs[etag].etag))
        return;
    lock = hc_blob_lock_new(work->cache, &request.blob, &work->err);
    assert_int_equal(hc_blob_lock_try(lock, &work->err), 1);
    assert_int_equal(hc_claim_acquire(work->cache, &request, &options, &claim,
                                      &work->err),
                     1);
    assert_int_equal(hc_file_mkparents(root, hc_claim_partial_path(claim), &work->err),
                     0);
    memset(content, 'a' + etag, model_blobs[etag].size);
    fd = hc_file_open(root, hc_claim_partial_path(claim), O_WRONLY | O_CREAT, 0666);
    assert_int_equal(hc_file_write_all_at(fd, content, half, 0, &work->err), 0);
    assert_int_equal(hc_file_write_all_at(fd, content + half,
                                          model_blobs[etag].size - half, half,
                                          &work->err),
                     0);
    model_format_place(path, work->repo, "blobs", model_blobs[etag].etag);
    assert_int_equal(renameat(root, hc_claim_partial_path(claim), root, path), 0);
}

static void work_download(struct work *work)
{
    const struct model_revision *revision =
        &work->model->revisions[work->step->repo][work->step->commit];
    char name[16];
    const struct hc_repo_file file = {work->repo, work->commit, name};

    for (int i = 0; i < FILES; i++) {
        if (revision->etags[i] < 0)
            continue;
        format_file(name, i);
        download_blob(work, revision->etags[i]);
        assert_int_equal(hc_pointer_link(work->cache, &file,
                                         model_blobs[revision->etags[i]].etag, false,
                                         &work->err),
                         0);
    }
}

static void work_delete_files(struct work *work)
{
    static const struct hc_removal_options options = {0};
    static const char *const patterns[] = {"f0", "f2"};
    const struct hc_patterns selected = {.allow = patterns, .allow_count = 2};
    HC_AUTO(hc_filter) *filter = hc_filter_new(&selected, NULL, &work->err);
    const struct hc_removal_request request = {.repo = work->repo,
                                               .commits = &work->commit,
                                               .commit_count = 1,
                                               .filter = filter,
                                               .detail = "test"};
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(work->cache, &options, &result, &work->err);

    assert_int_equal(hc_removal_take(removal, &request, &work->err), 0);
    *work->model->freed = result.freed_bytes;
}

static void work_delete(struct work *work)
{
    static const struct hc_removal_options options = {0};
    struct fixture own = *work->model->f;
    bool is_repo = work->step->kind == STEP_DELETE_REPO;
    struct hc_removal_result result;

    own.cache = work->cache;
    result = remove_revisions(&own, work->repo, is_repo ? NULL : &work->commit,
                              is_repo ? 0 : 1, &options);
    *work->model->freed = result.freed_bytes;
    hc_removal_result_clear(&result);
}

/* As two hours later: so what a dead process has left is expired. */
static void work_prune(struct work *work)
{
    bool is_back = work->step->kind == STEP_PRUNE_BACK;
    int64_t now_ms = hc_volume_now_ms(work->cache) + (is_back ? -LATER_MS : LATER_MS);
    const struct hc_removal_options options = {.now_ms = now_ms};
    struct hc_prune_result result = {0};
    unsigned leases;
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(work->cache, &options, &result.revisions, &work->err);
    const struct hc_prune prune = {.cache = work->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .unused_for_ms = 1,
                                   .now_ms = now_ms};

    if (!is_back) /* leases are by the clock of the volume, which is not set back */
        (void)hc_lease_sweep(work->cache, now_ms, &leases);
    (void)hc_claim_sweep(work->cache, now_ms);
    assert_int_equal(hc_prune_cache(&prune, &work->err), 0);
    assert_int_equal(hc_prune_repo(&prune, work->repo, &work->err), 0);
    *work->model->freed = result.revisions.freed_bytes + result.file_bytes;
    hc_prune_result_clear(&result);
}

/* From a byte to a few blobs, or all that may go. */
uint64_t step_bytes(const struct step *step)
{
    return step->number % 4 == 0 ? UINT64_MAX : 1 + step->number % 30000;
}

static void work_evict(struct work *work)
{
    const struct hc_eviction_request request = {.bytes = step_bytes(work->step)};
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    HC_AUTO(hc_eviction) *eviction = hc_eviction_new(work->cache, NULL, &work->err);

    assert_non_null(eviction);
    assert_int_equal(hc_eviction_run(eviction, &request, &result, &work->err), 0);
    *work->model->freed = result.freed_bytes;
}

/* Right bytes replace the corrupt ones, as a forced fetch puts them there. */
static int fetch_over(void *ctx, const struct hc_finding *finding, struct hc_error *err)
{
    const struct work *work = ctx;
    char content[20000];

    for (int etag = 0; etag < ETAGS; etag++) {
        if (!hc_text_ends(finding->cache_path, model_blobs[etag].etag))
            continue;
        memset(content, 'a' + etag, model_blobs[etag].size);
        return hc_cache_publish(work->cache, finding->cache_path, content,
                                model_blobs[etag].size, err);
    }
    return hc_fail(err, HC_NOT_CACHED, "'%s'", finding->cache_path);
}

static void work_verify(struct work *work)
{
    static const struct hc_verify_request request = {0};
    const struct hc_verification verification = {
        .cache = work->cache,
        .request = &request,
        .fetch_over = work->step->kind == STEP_REPAIR ? fetch_over : NULL,
        .ctx = work};
    struct hc_verify_result result = {0};

    assert_int_equal(hc_verification_run(&verification, &result, &work->err), 0);
}

/* ---- steps of the test itself ------------------------------------------------------ */

static void fetch_file(struct model *model, int repo, int commit, int file)
{
    const struct model_revision *revision = &model->revisions[repo][commit];
    char name[16];

    if (revision->etags[file] < 0)
        return;
    format_file(name, file);
    put_blob(model, repo, revision->etags[file]);
    put_pointer(model->f, &model->repos[repo], model_commits[commit], name,
                model_blobs[revision->etags[file]].etag);
}

/* What the revision has, if it is not there yet; the Hub's answer. */
static void choose_files(struct model *model, const struct step *step)
{
    struct model_revision *revision = &model->revisions[step->repo][step->commit];

    for (int i = 0; i < FILES && !revision->is_there; i++) {
        revision->etags[i] = (int)random_between(model->random, i == 0, ETAGS) - 1;
        revision->is_missing[i] = true;
    }
}

static void step_fetch(struct model *model, const struct step *step)
{
    struct model_revision *revision = &model->revisions[step->repo][step->commit];

    choose_files(model, step);
    for (int i = 0; i < FILES; i++) {
        revision->is_missing[i] = false;
        fetch_file(model, step->repo, step->commit, i);
    }
    revision->is_there = true;
}

static void step_expire(struct model *model, const struct step *step)
{
    const struct hc_repo *repo = &model->repos[step->repo];
    const struct timespec ago = {.tv_sec = time(NULL) - 10};
    const struct timespec times[2] = {ago, ago};
    struct model_revision *revision = &model->revisions[step->repo][step->commit];
    char place[PATH_MAX];
    struct hc_lease lease;

    if (!cache_find_lease(model->f->cache, repo, model_commits[step->commit], &lease))
        return;
    (void)hc_format(place, sizeof place, ".hubcache/leases/%s/%s/%s", repo->folder,
                    model_commits[step->commit], hc_lease_id_name(lease.id));
    assert_int_equal(utimensat(hc_cache_fd(model->f->cache), place, times, 0), 0);
    model_count_leases(model, step->repo, step->commit, &revision->brief,
                       &revision->lasting);
}

static void step_damage(struct model *model, const struct step *step)
{
    int etag = (int)(step->number % ETAGS);
    char place[PATH_MAX];
    struct stat status;

    model_format_place(place, &model->repos[step->repo], "blobs", model_blobs[etag].etag);
    if (fstatat(hc_cache_fd(model->f->cache), place, &status, 0) < 0)
        return;

    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(model->f->cache), place, O_WRONLY);

    assert_int_equal(pwrite(fd, "!", 1, 0), 1);
    model->is_damaged[step->repo][etag] = true;
}

/* ---- all kinds --------------------------------------------------------------------- */

static const struct {
    void (*work)(struct work *work);                            /* in its process */
    void (*make)(struct model *model, const struct step *step); /* here, before it */
    unsigned calls;
    bool frees; /* and says how much */
} kinds[STEP_KINDS] = {
    [STEP_FETCH] = {.make = step_fetch},
    [STEP_DOWNLOAD] = {.work = work_download, .make = choose_files, .calls = 150},
    [STEP_PIN] = {.work = work_pin, .calls = 12},
    [STEP_LEASE] = {.work = work_lease, .calls = 16},
    [STEP_RENEW] = {.work = work_renew, .calls = 16},
    [STEP_RELEASE] = {.work = work_release, .calls = 8},
    [STEP_EXPIRE] = {.make = step_expire},
    [STEP_REF] = {.work = work_ref, .calls = 10},
    [STEP_DELETE] = {.work = work_delete, .calls = 200, .frees = true},
    [STEP_DELETE_FILES] = {.work = work_delete_files, .calls = 150, .frees = true},
    [STEP_DELETE_REPO] = {.work = work_delete, .calls = 400, .frees = true},
    [STEP_PRUNE] = {.work = work_prune, .calls = 500, .frees = true},
    [STEP_PRUNE_BACK] = {.work = work_prune, .calls = 100, .frees = true},
    [STEP_EVICT] = {.work = work_evict, .calls = 600, .frees = true},
    [STEP_DAMAGE] = {.make = step_damage},
    [STEP_VERIFY] = {.work = work_verify, .calls = 120},
    [STEP_REPAIR] = {.work = work_verify, .calls = 150},
};

unsigned step_calls(enum step_kind kind)
{
    return kinds[kind].calls > 0 ? kinds[kind].calls : 1;
}

bool step_frees(enum step_kind kind)
{
    return kinds[kind].frees;
}

/* Does not return. A failed assertion ends in main(), which then does not return 0. */
static void step_run_here(const struct model *model, const struct step *step)
{
    struct work work = {.model = model,
                        .step = step,
                        .repo = &model->repos[step->repo],
                        .commit = model_commits[step->commit]};

    work.cache = hc_cache_open(model->f->dir, false, &work.err);
    assert_non_null(work.cache);
    if (step->dies_at > 0)
        fault_arm(FAULT_EXIT, step->dies_at, 0);
    kinds[step->kind].work(&work);
    _exit(0);
}

/* Whether the process was killed, as it was to be. */
bool step_run(struct model *model, const struct step *step)
{
    pid_t child;
    int status;

    if (kinds[step->kind].make)
        kinds[step->kind].make(model, step);
    if (!kinds[step->kind].work)
        return false;
    child = fork();
    if (child == 0)
        step_run_here(model, step);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (step->dies_at > 0 && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("the process of the step ended with status %#x", (unsigned)status);
    return false;
}
