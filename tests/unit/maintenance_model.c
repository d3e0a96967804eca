/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that died may have done is read from the volume, within what the step
 * allows; of all else the model says it.
 */
#include "maintenance_model.h"

#include "fault.h"

#include <maintenance/eviction.h>
#include <maintenance/prune.h>
#include <maintenance/quarantine_limit.h>
#include <maintenance/trash.h>
#include <maintenance/verification.h>

#include <base/text.h>
#include <cache/pin.h>
#include <cache/ref.h>
#include <claim/claim_record.h>
#include <claim/lease.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { HOUR_MS = 3600 * 1000, LATER_MS = 2 * HOUR_MS, BLOCK_SIZE = 512 };

static const char *const commits[COMMITS] = {COMMIT, OTHER_COMMIT, THIRD_COMMIT};

/* As many times the letter 'a', 'b' … and git's id of that. */
static const struct {
    const char *etag;
    size_t size;
} blobs[ETAGS] = {
    {"2e65efe2a145dda7ee51d1741299f848e5bf752e", 1},
    {"c82de19312b6c3695c0c18f70709a6c535682a67", 4096},
    {"59d177b76437c8a146c66503d44733f7c08a9b94", 4097},
    {"644fe5e5400d2ee433e84b83a8a87c7584ebeb57", 5000},
    {"cec4252c2d621a7e2c5229170eadc1daf7223b64", 20000},
};

/* ---- the cache --------------------------------------------------------------------- */

static void format_place(char place[PATH_MAX], const struct hc_repo *repo,
                         const char *kind, const char *name)
{
    (void)hc_format(place, PATH_MAX, "%s/%s/%s", repo->folder, kind, name);
}

static void format_file(char name[16], int file)
{
    (void)snprintf(name, 16, "%sf%d", file % 2 ? "sub/" : "", file);
}

static bool cache_has(const struct model *model, int repo, const char *kind,
                      const char *name)
{
    char place[PATH_MAX];

    format_place(place, &model->repos[repo], kind, name);
    return temp_dir_has(model->f->dir, place);
}

static bool snapshot_has(const struct model *model, int repo, int commit, int file)
{
    char place[PATH_MAX], name[16];

    format_file(name, file);
    (void)hc_format(place, sizeof place, "%s/%s", commits[commit], name);
    return cache_has(model, repo, "snapshots", place);
}

static void put_blob(const struct model *model, int repo, int etag)
{
    char content[20001], place[PATH_MAX];

    if (cache_has(model, repo, "blobs", blobs[etag].etag))
        return;
    memset(content, 'a' + etag, blobs[etag].size);
    content[blobs[etag].size] = '\0';
    format_place(place, &model->repos[repo], "blobs", blobs[etag].etag);
    temp_dir_write(model->f->dir, place, content);
}

/* What the blobs take of the volume. */
static uint64_t cache_room(const struct model *model)
{
    uint64_t room = 0;

    for (int repo = 0; repo < REPOS; repo++) {
        for (int etag = 0; etag < ETAGS; etag++) {
            char place[PATH_MAX];
            struct stat status;

            format_place(place, &model->repos[repo], "blobs", blobs[etag].etag);
            if (fstatat(hc_cache_fd(model->f->cache), place, &status, 0) == 0)
                room += (uint64_t)status.st_blocks * BLOCK_SIZE;
        }
    }
    return room;
}

/* -1: none. */
static int cache_ref(const struct model *model, int repo, int ref)
{
    HC_AUTO_FREE char *content = NULL;
    char place[PATH_MAX], name[16];

    (void)snprintf(name, sizeof name, "v%d", ref);
    format_place(place, &model->repos[repo], "refs", name);
    content = temp_dir_read(model->f->dir, place);
    for (int commit = 0; content && commit < COMMITS; commit++) {
        if (strcmp(content, commits[commit]) == 0)
            return commit;
    }
    assert_null(content);
    return -1;
}

static void cache_count_leases(const struct model *model, int repo, int commit,
                               unsigned *brief, unsigned *lasting)
{
    int64_t now_ms = hc_volume_now_ms(model->f->cache);
    HC_AUTO_VALUE(hc_lease_list)
    list = hc_lease_list(model->f->cache, &model->repos[repo], commits[commit], now_ms);

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
    format_place(place, work->repo, "snapshots", work->commit);
    if (!temp_dir_has(work->model->f->dir, place))
        assert_int_equal(hc_lease_release(work->cache, lease.id, &work->err), 1);
}

static void work_renew(struct work *work)
{
    struct hc_lease lease, renewed;

    if (cache_find_lease(work->cache, work->repo, work->commit, &lease))
        assert_int_equal(hc_lease_renew(work->cache, lease.id, 24 * HOUR_MS, &renewed,
                                        &work->err),
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
    int64_t now_ms = hc_volume_now_ms(work->cache) + LATER_MS;
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

    (void)hc_lease_sweep(work->cache, now_ms, &leases);
    assert_int_equal(hc_prune_cache(&prune, &work->err), 0);
    assert_int_equal(hc_prune_repo(&prune, work->repo, &work->err), 0);
    *work->model->freed = result.revisions.freed_bytes + result.file_bytes;
    hc_prune_result_clear(&result);
}

/* From a byte to a few blobs, or all that may go. */
static uint64_t evicted_bytes(const struct step *step)
{
    return step->number % 4 == 0 ? UINT64_MAX : 1 + step->number % 30000;
}

static void work_evict(struct work *work)
{
    const struct hc_eviction_request request = {.bytes = evicted_bytes(work->step)};
    HC_AUTO_VALUE(hc_removal_result) result = {0};
    HC_AUTO(hc_eviction) *eviction = hc_eviction_new(work->cache, NULL, &work->err);

    assert_non_null(eviction);
    assert_int_equal(hc_eviction_run(eviction, &request, &result, &work->err), 0);
    *work->model->freed = result.freed_bytes;
}

static void work_verify(struct work *work)
{
    static const struct hc_verify_request request = {0};
    const struct hc_verification verification = {.cache = work->cache,
                                                 .request = &request};
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
    put_pointer(model->f, &model->repos[repo], commits[commit], name,
                blobs[revision->etags[file]].etag);
}

static void step_fetch(struct model *model, const struct step *step)
{
    struct model_revision *revision = &model->revisions[step->repo][step->commit];

    for (int i = 0; i < FILES; i++) {
        if (!revision->is_there)
            revision->etags[i] = (int)random_between(model->random, i == 0, ETAGS) - 1;
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

    if (!cache_find_lease(model->f->cache, repo, commits[step->commit], &lease))
        return;
    (void)hc_format(place, sizeof place, ".hubcache/leases/%s/%s/%s", repo->folder,
                    commits[step->commit], hc_lease_id_name(lease.id));
    assert_int_equal(utimensat(hc_cache_fd(model->f->cache), place, times, 0), 0);
    cache_count_leases(model, step->repo, step->commit, &revision->brief,
                       &revision->lasting);
}

static void step_damage(struct model *model, const struct step *step)
{
    int etag = (int)(step->number % ETAGS);
    char place[PATH_MAX];
    struct stat status;

    format_place(place, &model->repos[step->repo], "blobs", blobs[etag].etag);
    if (fstatat(hc_cache_fd(model->f->cache), place, &status, 0) < 0)
        return;

    HC_AUTO_CLOSE int fd = openat(hc_cache_fd(model->f->cache), place, O_WRONLY);

    assert_int_equal(pwrite(fd, "!", 1, 0), 1);
    model->is_damaged[step->repo][etag] = true;
}

/* ---- all kinds --------------------------------------------------------------------- */

static const struct {
    void (*work)(struct work *work);                            /* in its process */
    void (*make)(struct model *model, const struct step *step); /* or here */
    unsigned calls;
    bool frees; /* and says how much */
} kinds[STEP_KINDS] = {
    [STEP_FETCH] = {.make = step_fetch},
    [STEP_PIN] = {.work = work_pin, .calls = 12},
    [STEP_LEASE] = {.work = work_lease, .calls = 16},
    [STEP_RENEW] = {.work = work_renew, .calls = 16},
    [STEP_RELEASE] = {.work = work_release, .calls = 8},
    [STEP_EXPIRE] = {.make = step_expire},
    [STEP_REF] = {.work = work_ref, .calls = 10},
    [STEP_DELETE] = {.work = work_delete, .calls = 200, .frees = true},
    [STEP_DELETE_REPO] = {.work = work_delete, .calls = 400, .frees = true},
    [STEP_PRUNE] = {.work = work_prune, .calls = 500, .frees = true},
    [STEP_EVICT] = {.work = work_evict, .calls = 600, .frees = true},
    [STEP_DAMAGE] = {.make = step_damage},
    [STEP_VERIFY] = {.work = work_verify, .calls = 120},
};

unsigned step_calls(enum step_kind kind)
{
    return kinds[kind].calls > 0 ? kinds[kind].calls : 1;
}

/* Does not return. A failed assertion ends in main(), which then does not return 0. */
static void step_run_here(const struct model *model, const struct step *step)
{
    struct work work = {.model = model,
                        .step = step,
                        .repo = &model->repos[step->repo],
                        .commit = commits[step->commit]};

    work.cache = hc_cache_open(model->f->dir, false, &work.err);
    assert_non_null(work.cache);
    if (step->dies_at > 0)
        fault_arm(FAULT_EXIT, step->dies_at, 0);
    kinds[step->kind].work(&work);
    _exit(0);
}

/* Whether the process was killed, as it was to be. */
static bool step_run(struct model *model, const struct step *step)
{
    pid_t child;
    int status;

    if (kinds[step->kind].make) {
        kinds[step->kind].make(model, step);
        return false;
    }
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

/* ---- what the model says ----------------------------------------------------------- */

static bool revision_has_ref(const struct model *model, int repo, int commit)
{
    for (int ref = 0; ref < REFS; ref++) {
        if (model->refs[repo][ref] == commit)
            return true;
    }
    return false;
}

/* Whether the step may remove the revision; but for an eviction it has to. */
static bool step_selects(const struct model *model, const struct step *step, int repo,
                         int commit)
{
    const struct model_revision *revision = &model->revisions[repo][commit];
    bool is_later = step->kind == STEP_PRUNE;

    if (!revision->is_there || revision->is_pinned || revision->lasting > 0 ||
        (revision->brief > 0 && !is_later))
        return false;
    switch (step->kind) {
    case STEP_DELETE:
        return step->repo == repo && step->commit == commit;
    case STEP_DELETE_REPO:
        return step->repo == repo;
    case STEP_PRUNE:
        return step->repo == repo && !revision_has_ref(model, repo, commit);
    case STEP_EVICT:
        return true;
    default:
        return false;
    }
}

/* After a verification: what was corrupt is away with its pointers, or as it was. */
static void check_damage(struct model *model, int repo, bool is_killed)
{
    for (int etag = 0; etag < ETAGS; etag++) {
        bool is_there = cache_has(model, repo, "blobs", blobs[etag].etag);

        if (!model->is_damaged[repo][etag])
            continue;
        assert_true(is_killed || !is_there);
        for (int commit = 0; commit < COMMITS; commit++) {
            struct model_revision *revision = &model->revisions[repo][commit];

            for (int i = 0; i < FILES; i++) {
                if (!is_there && revision->is_there && revision->etags[i] == etag)
                    revision->is_missing[i] = true;
            }
        }
        model->is_damaged[repo][etag] = is_there;
    }
}

/* A blob that went is not damaged any more. */
static void forget_damage(struct model *model, int repo)
{
    for (int etag = 0; etag < ETAGS; etag++) {
        if (!cache_has(model, repo, "blobs", blobs[etag].etag))
            model->is_damaged[repo][etag] = false;
    }
}

static void check_revision(struct model *model, const struct step *step, bool is_killed,
                           int repo, int commit)
{
    struct model_revision *revision = &model->revisions[repo][commit];
    bool is_there = cache_has(model, repo, "snapshots", commits[commit]);
    bool may_go = step_selects(model, step, repo, commit);

    if (may_go) {
        assert_true(!is_there || is_killed || step->kind == STEP_EVICT);
        revision->is_there = is_there;
    }
    if (is_there != revision->is_there)
        fail_msg("%s of %s is %s", commits[commit], model->repos[repo].folder,
                 is_there ? "there" : "gone");
    for (int i = 0; is_there && i < FILES; i++)
        assert_int_equal(snapshot_has(model, repo, commit, i),
                         revision->etags[i] >= 0 && !revision->is_missing[i]);
}

/* A ref goes with its revision, and stays with it. */
static void check_refs(struct model *model, const struct step *step, bool is_killed,
                       const bool might_go[COMMITS], int repo)
{
    for (int ref = 0; ref < REFS; ref++) {
        int commit = model->refs[repo][ref], found = cache_ref(model, repo, ref);
        bool is_moved = step->kind == STEP_REF && step->repo == repo &&
                        ref == (int)(step->number % REFS) &&
                        model->revisions[repo][step->commit].is_there;

        if (is_moved && (!is_killed || found == step->commit))
            commit = step->commit;
        else if (commit >= 0 && might_go[commit] &&
                 !model->revisions[repo][commit].is_there)
            commit = -1;
        assert_int_equal(found, commit);
        model->refs[repo][ref] = commit;
    }
}

static void check_pin(struct model *model, const struct step *step, bool is_killed,
                      int repo, int commit)
{
    struct model_revision *revision = &model->revisions[repo][commit];
    bool is_step = step->kind == STEP_PIN && step->repo == repo && step->commit == commit;
    struct hc_error err;
    struct hc_pin pin;
    int found =
        hc_pin_find(model->f->cache, &model->repos[repo], commits[commit], &pin, &err);

    if (is_step && (!is_killed || found == !revision->is_pinned))
        revision->is_pinned = !revision->is_pinned && revision->is_there;
    assert_int_equal(found, revision->is_pinned);
}

/* Of a renewal, a release and a prune, those of the hour and of the day are not told
 * apart when the process has died. */
static void check_leases(struct model *model, const struct step *step, bool is_killed,
                         int repo, int commit)
{
    struct model_revision *revision = &model->revisions[repo][commit];
    bool is_step = step->repo == repo && step->commit == commit;
    unsigned before = revision->brief + revision->lasting, brief, lasting;

    cache_count_leases(model, repo, commit, &brief, &lasting);
    if (is_step && step->kind == STEP_LEASE) {
        unsigned taken = revision->is_there;

        assert_in_range(brief + lasting, before + (is_killed ? 0 : taken), before + 1);
        assert_true(brief >= revision->brief && lasting >= revision->lasting);
    } else if (is_step && step->kind == STEP_RENEW) {
        assert_int_equal(brief + lasting, before);
        assert_true(lasting >= revision->lasting);
    } else if (is_step && step->kind == STEP_RELEASE) {
        assert_in_range(brief + lasting, before - (before > 0),
                        before - (before > 0 && !is_killed));
    } else if (step->kind == STEP_PRUNE) {
        assert_in_range(brief, 0, is_killed ? revision->brief : 0);
        assert_int_equal(lasting, revision->lasting);
    } else {
        assert_int_equal(brief, revision->brief);
        assert_int_equal(lasting, revision->lasting);
    }
    revision->brief = brief;
    revision->lasting = lasting;
}

/* Each blob of the repo is a revision's. */
static void check_no_leftovers(const struct model *model, int repo)
{
    bool is_used[ETAGS] = {false};
    char place[PATH_MAX];

    for (int commit = 0; commit < COMMITS; commit++) {
        const struct model_revision *revision = &model->revisions[repo][commit];

        for (int i = 0; i < FILES && revision->is_there; i++) {
            if (revision->etags[i] >= 0 && !revision->is_missing[i])
                is_used[revision->etags[i]] = true;
        }
    }
    for (int etag = 0; etag < ETAGS; etag++)
        assert_int_equal(cache_has(model, repo, "blobs", blobs[etag].etag),
                         is_used[etag]);
    (void)hc_format(place, sizeof place, ".hubcache/trash/%s", model->repos[repo].folder);
    assert_int_equal(temp_dir_count(model->f->dir, place), 0);
}

/* An eviction frees what it is to, or all that is not held. */
static void check_eviction(const struct model *model, const struct step *step)
{
    if (*model->freed >= evicted_bytes(step))
        return;
    for (int repo = 0; repo < REPOS; repo++) {
        for (int commit = 0; commit < COMMITS; commit++)
            assert_false(step_selects(model, step, repo, commit));
    }
}

static void check_room(struct model *model, const struct step *step, bool is_killed,
                       uint64_t before)
{
    bool is_exact = kinds[step->kind].frees && !is_killed;

    for (int repo = 0; repo < REPOS; repo++)
        is_exact = is_exact && !model->has_leftovers[repo];
    if (is_exact)
        assert_int_equal(*model->freed, before - cache_room(model));
    for (int repo = 0; repo < REPOS; repo++)
        model->has_leftovers[repo] = model->has_leftovers[repo] || is_killed;
    if (step->kind == STEP_PRUNE && !is_killed)
        model->has_leftovers[step->repo] = false;
}

/* As the next process does when it starts. */
static void sweep(const struct model *model, int64_t now_ms)
{
    (void)hc_removal_sweep(model->f->cache, now_ms, HC_TRASH_EXPIRY_MS);
    (void)hc_quarantine_sweep(model->f->cache, now_ms);
}

void model_step(struct model *model, const struct step *step)
{
    uint64_t before = cache_room(model);
    bool is_killed = step_run(model, step);

    if (is_killed)
        sweep(model, hc_volume_now_ms(model->f->cache));
    for (int repo = 0; repo < REPOS; repo++) {
        bool might_go[COMMITS];

        if (step->kind == STEP_VERIFY)
            check_damage(model, repo, is_killed);
        forget_damage(model, repo);
        for (int commit = 0; commit < COMMITS; commit++) {
            might_go[commit] = step_selects(model, step, repo, commit);
            check_revision(model, step, is_killed, repo, commit);
            check_pin(model, step, is_killed, repo, commit);
        }
        check_refs(model, step, is_killed, might_go, repo);
        for (int commit = 0; commit < COMMITS; commit++)
            check_leases(model, step, is_killed, repo, commit);
    }
    assert_cache_is_sound(model->f);
    check_room(model, step, is_killed, before);
    if (step->kind == STEP_PRUNE && !is_killed)
        check_no_leftovers(model, step->repo);
    if (step->kind == STEP_EVICT && !is_killed)
        check_eviction(model, step);
}

/* ---- life -------------------------------------------------------------------------- */

void model_begin(struct model *model, struct fixture *f, struct random_source *random)
{
    *model = (struct model){.f = f, .random = random};
    assert_int_equal(hc_repo_init(&model->repos[0], HC_REPO_MODEL, "org/name", &f->err),
                     0);
    assert_int_equal(hc_repo_init(&model->repos[1], HC_REPO_DATASET, "org/set", &f->err),
                     0);
    for (int repo = 0; repo < REPOS; repo++) {
        for (int ref = 0; ref < REFS; ref++)
            model->refs[repo][ref] = -1;
    }
    model->freed = mmap(NULL, sizeof *model->freed, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(model->freed != MAP_FAILED);
}

void model_end(struct model *model)
{
    int64_t later_ms = hc_epoch_ms() + HC_QUARANTINE_AGE_MS + HOUR_MS;
    unsigned leases;

    model_step(model, &(const struct step){.kind = STEP_VERIFY});
    for (int repo = 0; repo < REPOS; repo++)
        model_step(model, &(const struct step){.kind = STEP_PRUNE, .repo = repo});
    (void)hc_quarantine_sweep(model->f->cache, later_ms);
    (void)hc_lease_sweep(model->f->cache, later_ms, &leases);
    assert_int_equal(leases, 0);
    assert_no_trash(model->f);
    assert_int_equal(temp_dir_count(model->f->dir, ".hubcache/quarantine"), 0);
    assert_int_equal(temp_dir_count(model->f->dir, ".hubcache/leases"), 0);
    assert_int_equal(munmap(model->freed, sizeof *model->freed), 0);
}
