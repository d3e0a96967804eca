/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a process that died may have done is read from the volume, within what the step
 * allows; of all else the model says it.
 */
#include "maintenance_model.h"

#include <maintenance/quarantine_limit.h>
#include <maintenance/trash.h>

#include <base/text.h>
#include <cache/pin.h>
#include <claim/claim_record.h>
#include <claim/lease.h>

#include <string.h>
#include <sys/mman.h>

/* ---- what the model says ----------------------------------------------------------- */

static bool revision_has_ref(const struct model *model, int repo, int commit)
{
    for (int ref = 0; ref < REFS; ref++) {
        if (model->refs[repo][ref] == commit)
            return true;
    }
    return false;
}

/* It is there, and nothing holds it, now or two hours later. */
static bool revision_may_go(const struct model_revision *revision, bool is_later)
{
    return revision->is_there && !revision->is_pinned && revision->lasting == 0 &&
           (revision->brief == 0 || is_later);
}

/* Whether the step may remove the revision; but for an eviction it has to. */
static bool step_selects(const struct model *model, const struct step *step, int repo,
                         int commit)
{
    if (!revision_may_go(&model->revisions[repo][commit], step->kind == STEP_PRUNE))
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
        bool is_there = model_has(model, repo, "blobs", model_blobs[etag].etag);

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

static bool blob_is_right(const struct model *model, int repo, int etag)
{
    HC_AUTO_FREE char *content = NULL;
    char place[PATH_MAX];

    model_format_place(place, &model->repos[repo], "blobs", model_blobs[etag].etag);
    content = temp_dir_read(model->f->dir, place);
    return content && strlen(content) == model_blobs[etag].size &&
           content[0] == 'a' + etag;
}

/* A corrupt blob to which no pointer leads is moved away; all others are right again. */
static void check_repair(struct model *model, int repo, bool is_killed)
{
    for (int etag = 0; etag < ETAGS; etag++) {
        if (!model->is_damaged[repo][etag])
            continue;
        model->is_damaged[repo][etag] =
            model_has(model, repo, "blobs", model_blobs[etag].etag) &&
            !blob_is_right(model, repo, etag);
        assert_true(is_killed || !model->is_damaged[repo][etag]);
    }
}

/* What has come of a download, also of one that died. */
static void check_download(struct model *model, const struct step *step, bool is_killed)
{
    struct model_revision *revision = &model->revisions[step->repo][step->commit];
    bool is_there =
        model_has(model, step->repo, "snapshots", model_commits[step->commit]);

    assert_true(is_there || (is_killed && !revision->is_there));
    revision->is_there = is_there;
    for (int i = 0; i < FILES; i++) {
        bool is_missing = !model_has_file(model, step->repo, step->commit, i);

        assert_true(!is_missing || is_killed || revision->etags[i] < 0);
        assert_true(!is_missing || revision->is_missing[i] || revision->etags[i] < 0);
        revision->is_missing[i] = is_missing;
    }
}

/* Of a removal of files; those of one that died may all be there still. */
static void check_deleted_files(struct model *model, const struct step *step,
                                bool is_killed)
{
    struct model_revision *revision = &model->revisions[step->repo][step->commit];

    if (!revision_may_go(revision, false))
        return;
    for (int i = 0; i < FILES; i += 2) {
        bool is_there = model_has_file(model, step->repo, step->commit, i);

        assert_true(is_killed || !is_there);
        revision->is_missing[i] = revision->is_missing[i] || !is_there;
    }
}

/* A blob that went is not damaged any more. */
static void forget_damage(struct model *model, int repo)
{
    for (int etag = 0; etag < ETAGS; etag++) {
        if (!model_has(model, repo, "blobs", model_blobs[etag].etag))
            model->is_damaged[repo][etag] = false;
    }
}

static void check_revision(struct model *model, const struct step *step, bool is_killed,
                           int repo, int commit)
{
    struct model_revision *revision = &model->revisions[repo][commit];
    bool is_there = model_has(model, repo, "snapshots", model_commits[commit]);
    bool may_go = step_selects(model, step, repo, commit);

    if (may_go) {
        assert_true(!is_there || is_killed || step->kind == STEP_EVICT);
        revision->is_there = is_there;
    }
    if (is_there != revision->is_there)
        fail_msg("%s of %s is %s", model_commits[commit], model->repos[repo].folder,
                 is_there ? "there" : "gone");
    for (int i = 0; is_there && i < FILES; i++)
        assert_int_equal(model_has_file(model, repo, commit, i),
                         revision->etags[i] >= 0 && !revision->is_missing[i]);
}

/* A ref goes with its revision, and stays with it. */
static void check_refs(struct model *model, const struct step *step, bool is_killed,
                       const bool might_go[COMMITS], int repo)
{
    for (int ref = 0; ref < REFS; ref++) {
        int commit = model->refs[repo][ref], found = model_find_ref(model, repo, ref);
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
    int found = hc_pin_find(model->f->cache, &model->repos[repo], model_commits[commit],
                            &pin, &err);

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

    model_count_leases(model, repo, commit, &brief, &lasting);
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
        assert_int_equal(model_has(model, repo, "blobs", model_blobs[etag].etag),
                         is_used[etag]);
    (void)hc_format(place, sizeof place, ".hubcache/trash/%s", model->repos[repo].folder);
    assert_int_equal(temp_dir_count(model->f->dir, place), 0);
}

/* An eviction frees what it is to, or all that is not held. */
static void check_eviction(const struct model *model, const struct step *step)
{
    if (*model->freed >= step_bytes(step))
        return;
    for (int repo = 0; repo < REPOS; repo++) {
        for (int commit = 0; commit < COMMITS; commit++)
            assert_false(step_selects(model, step, repo, commit));
    }
}

static void check_room(struct model *model, const struct step *step, bool is_killed,
                       uint64_t before)
{
    bool is_exact = step_frees(step->kind) && !is_killed;

    for (int repo = 0; repo < REPOS; repo++)
        is_exact = is_exact && !model->has_leftovers[repo];
    if (is_exact)
        assert_int_equal(*model->freed, before - model_room(model));
    for (int repo = 0; repo < REPOS; repo++)
        model->has_leftovers[repo] = model->has_leftovers[repo] || is_killed;
    if (step->kind == STEP_PRUNE && !is_killed)
        model->has_leftovers[step->repo] = model_has_partials(model, step->repo);
}

/* As the next process does when it starts. */
static void sweep(const struct model *model, int64_t now_ms)
{
    (void)hc_removal_sweep(model->f->cache, now_ms, HC_TRASH_EXPIRY_MS);
    (void)hc_quarantine_sweep(model->f->cache, now_ms);
}

static void check_blobs(struct model *model, const struct step *step, bool is_killed)
{
    for (int repo = 0; repo < REPOS; repo++) {
        if (step->kind == STEP_REPAIR)
            check_repair(model, repo, is_killed);
        if (step->kind == STEP_VERIFY)
            check_damage(model, repo, is_killed);
        forget_damage(model, repo);
    }
}

static void check_repo(struct model *model, const struct step *step, bool is_killed,
                       int repo)
{
    bool might_go[COMMITS];

    for (int commit = 0; commit < COMMITS; commit++) {
        might_go[commit] = step_selects(model, step, repo, commit);
        check_revision(model, step, is_killed, repo, commit);
        check_pin(model, step, is_killed, repo, commit);
    }
    check_refs(model, step, is_killed, might_go, repo);
    for (int commit = 0; commit < COMMITS; commit++)
        check_leases(model, step, is_killed, repo, commit);
}

void model_step(struct model *model, const struct step *step)
{
    uint64_t before = model_room(model);
    bool is_killed = step_run(model, step);

    if (is_killed)
        sweep(model, hc_volume_now_ms(model->f->cache));
    if (step->kind == STEP_DOWNLOAD)
        check_download(model, step, is_killed);
    if (step->kind == STEP_DELETE_FILES)
        check_deleted_files(model, step, is_killed);
    check_blobs(model, step, is_killed);
    for (int repo = 0; repo < REPOS; repo++)
        check_repo(model, step, is_killed, repo);
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
