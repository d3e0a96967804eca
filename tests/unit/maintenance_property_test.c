/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whatever is fetched, pinned, unpinned, deleted and pruned, in any
 * sequence, and whenever a process that removes dies, no pointer dangles and no ref names
 * a snapshot that is not there; a pinned revision is whole; a revision is there whole or
 * not at all; and a prune leaves no blob that nothing leads to. Beside the cache runs a
 * model.
 *
 * The first argument is the number of seeds; HC_TEST_SEED repeats the first one.
 */
#include "fault.h"
#include "random.h"
#include "removal_fixture.h"

#include <maintenance/prune.h>

#include <base/text.h>
#include <cache/pin.h>
#include <claim/claim_record.h>
#include <claim/lease.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    SEEDS = 24,
    STEPS = 16,
    REPOS = 2,
    COMMITS = 3,
    ETAGS = 5,
    FILES = 4,
    CALLS_MAX = 260,
    LATER_MS = 2 * 3600 * 1000
};

static const char *const commits[COMMITS] = {COMMIT, OTHER_COMMIT, THIRD_COMMIT};
static unsigned seeds = SEEDS;

struct model_revision {
    bool is_there, is_pinned, has_ref;
    int etags[FILES]; /* of each file; -1: it has none */
};

struct model {
    struct fixture *f;
    struct random_source *random;
    struct hc_repo repos[REPOS];
    struct model_revision revisions[REPOS][COMMITS];
};

/* What a process of its own does. */
enum step_kind { STEP_DELETE, STEP_DELETE_REPO, STEP_PRUNE };

struct step {
    enum step_kind kind;
    int repo, commit;
};

static void format_etag(char etag[41], int number)
{
    (void)snprintf(etag, 41, "%040d", number + 1);
}

static void step_delete(const struct fixture *f, const struct hc_repo *repo,
                        const struct step *step)
{
    static const struct hc_removal_options options = {0};
    const char *commit = commits[step->commit];
    bool is_repo = step->kind == STEP_DELETE_REPO;
    struct hc_removal_result result =
        remove_revisions(f, repo, is_repo ? NULL : &commit, is_repo ? 0 : 1, &options);

    hc_removal_result_clear(&result);
}

/* As two hours later: so what a dead process has left is expired. */
static void step_prune(const struct fixture *f, const struct hc_repo *repo)
{
    int64_t now_ms = hc_volume_now_ms(f->cache) + LATER_MS;
    const struct hc_removal_options options = {.now_ms = now_ms};
    struct hc_prune_result result = {0};
    struct hc_error err;
    unsigned leases;
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(f->cache, &options, &result.revisions, &err);
    const struct hc_prune prune = {.cache = f->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .unused_for_ms = 1,
                                   .now_ms = now_ms};

    (void)hc_lease_sweep(f->cache, now_ms, &leases);
    (void)hc_prune_cache(&prune, &err);
    assert_int_equal(hc_prune_repo(&prune, repo, &err), 0);
    hc_prune_result_clear(&result);
}

/* True: the process was killed before its `nth` call; 0: it is not to be. */
static bool step_run(const struct model *model, const struct step *step, unsigned nth)
{
    const struct hc_repo *repo = &model->repos[step->repo];
    int status;
    pid_t child = fork();

    if (child == 0) {
        struct fixture own = *model->f;

        own.cache = hc_cache_open(own.dir, false, &own.err);
        if (nth > 0)
            fault_arm(FAULT_EXIT, nth, 0);
        if (step->kind == STEP_PRUNE)
            step_prune(&own, repo);
        else
            step_delete(&own, repo, step);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) || WTERMSIG(status) == SIGKILL);
    return WIFSIGNALED(status);
}

/* ---- the model --------------------------------------------------------------------- */

static void model_fetch(struct model *model, int repo, int commit)
{
    struct model_revision *revision = &model->revisions[repo][commit];
    char name[16], etag[41];

    if (revision->is_there)
        return;
    for (int i = 0; i < FILES; i++) {
        revision->etags[i] = (int)random_between(model->random, 0, ETAGS) - 1;
        if (i == 0 && revision->etags[i] < 0)
            revision->etags[i] = 0;
        if (revision->etags[i] < 0)
            continue;
        format_etag(etag, revision->etags[i]);
        (void)snprintf(name, sizeof name, "%sf%d", i % 2 ? "sub/" : "", i);
        put_file(model->f, &model->repos[repo], commits[commit], name, etag);
    }
    revision->is_there = true;
    revision->has_ref = random_between(model->random, 0, 1) == 1;
    (void)snprintf(name, sizeof name, "v%d", commit);
    if (revision->has_ref)
        put_ref(model->f, &model->repos[repo], name, commits[commit]);
}

static void model_pin(struct model *model, int repo, int commit)
{
    struct model_revision *revision = &model->revisions[repo][commit];
    const struct hc_pin pin = {.reason = "test"};
    struct hc_error err;

    if (revision->is_pinned)
        assert_int_equal(hc_pin_clear(model->f->cache, &model->repos[repo],
                                      commits[commit], &err),
                         1);
    else if (revision->is_there)
        assert_int_equal(hc_pin_set(model->f->cache, &model->repos[repo], commits[commit],
                                    &pin, &err),
                         0);
    revision->is_pinned = !revision->is_pinned && revision->is_there;
}

static bool snapshot_is_there(const struct model *model, int repo, int commit)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/snapshots/%s", model->repos[repo].folder,
                   commits[commit]);
    return temp_dir_has(model->f->dir, path);
}

static bool ref_is_there(const struct model *model, int repo, int commit)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/refs/v%d", model->repos[repo].folder, commit);
    return temp_dir_has(model->f->dir, path);
}

static unsigned snapshot_count(const struct model *model, int repo, int commit)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/snapshots/%s", model->repos[repo].folder,
                   commits[commit]);
    return temp_dir_count(model->f->dir, path);
}

/* Whether a step was to remove the revision. */
static bool step_selects(const struct step *step, const struct model_revision *revision,
                         int repo, int commit)
{
    if (step->repo != repo || revision->is_pinned || !revision->is_there)
        return false;
    switch (step->kind) {
    case STEP_DELETE:
        return step->commit == commit;
    case STEP_DELETE_REPO:
        return true;
    default:
        return !revision->has_ref;
    }
}

static void model_check_revision(struct model *model, const struct step *step,
                                 bool is_killed, int repo, int commit)
{
    struct model_revision *revision = &model->revisions[repo][commit];
    bool is_there = snapshot_is_there(model, repo, commit);
    unsigned files = 0;

    if (step_selects(step, revision, repo, commit)) {
        if (!is_killed)
            assert_false(is_there);
        revision->is_there = is_there;
        /* A killed process may have removed the ref of one that it left. */
        revision->has_ref = is_there && ref_is_there(model, repo, commit);
    }
    assert_int_equal(is_there, revision->is_there);
    for (int i = 0; i < FILES; i++)
        files += revision->etags[i] >= 0;
    if (is_there)
        assert_int_equal(snapshot_count(model, repo, commit), files);
}

/* Every blob of the repo is one that a revision has. */
static void model_check_no_orphans(const struct model *model, int repo)
{
    bool is_used[ETAGS] = {false};
    unsigned used = 0;
    char path[256];

    for (int commit = 0; commit < COMMITS; commit++) {
        for (int i = 0; i < FILES && model->revisions[repo][commit].is_there; i++) {
            int etag = model->revisions[repo][commit].etags[i];

            if (etag >= 0 && !is_used[etag]) {
                is_used[etag] = true;
                used++;
            }
        }
    }
    (void)snprintf(path, sizeof path, "%s/blobs", model->repos[repo].folder);
    assert_int_equal(temp_dir_count(model->f->dir, path), used);
    (void)snprintf(path, sizeof path, ".hubcache/trash/%s", model->repos[repo].folder);
    assert_int_equal(temp_dir_count(model->f->dir, path), 0);
}

static void model_remove(struct model *model, const struct step *step)
{
    unsigned nth = random_between(model->random, 0, 1) == 0
                       ? 0
                       : (unsigned)random_between(model->random, 1, CALLS_MAX);
    bool is_killed = step_run(model, step, nth);

    assert_cache_is_sound(model->f);
    for (int repo = 0; repo < REPOS; repo++) {
        for (int commit = 0; commit < COMMITS; commit++)
            model_check_revision(model, step, is_killed, repo, commit);
    }
    if (step->kind == STEP_PRUNE && !is_killed)
        model_check_no_orphans(model, step->repo);
}

static void model_step(struct model *model)
{
    int repo = (int)random_between(model->random, 0, REPOS - 1);
    int commit = (int)random_between(model->random, 0, COMMITS - 1);

    switch (random_between(model->random, 0, 7)) {
    case 0:
    case 1:
    case 2:
        model_fetch(model, repo, commit);
        return;
    case 3:
        model_pin(model, repo, commit);
        return;
    case 4:
    case 5:
        model_remove(model, &(const struct step){STEP_DELETE, repo, commit});
        return;
    case 6:
        model_remove(model, &(const struct step){STEP_DELETE_REPO, repo, commit});
        return;
    default:
        model_remove(model, &(const struct step){STEP_PRUNE, repo, commit});
    }
}

static void model_run(struct random_source *random)
{
    void *state = NULL;
    struct model model = {.random = random};
    struct hc_error err;

    assert_int_equal(make_cache(&state), 0);
    model.f = state;
    assert_int_equal(hc_repo_init(&model.repos[0], HC_REPO_MODEL, "org/name", &err), 0);
    assert_int_equal(hc_repo_init(&model.repos[1], HC_REPO_DATASET, "org/set", &err), 0);
    for (int i = 0; i < STEPS; i++)
        model_step(&model);
    for (int repo = 0; repo < REPOS; repo++) {
        struct step step = {STEP_PRUNE, repo, 0};

        assert_false(step_run(&model, &step, 0));
    }
    assert_cache_is_sound(model.f);
    assert_int_equal(remove_cache(&state), 0);
}

static void
a_cache_stays_sound_whatever_is_removed_and_whenever_a_process_dies(void **state)
{
    struct random_source random;

    (void)state;
    random_begin(&random, "maintenance");
    for (unsigned i = 0; i < seeds; i++)
        model_run(&random);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            a_cache_stays_sound_whatever_is_removed_and_whenever_a_process_dies),
    };

    if (argc > 1)
        seeds = (unsigned)strtoul(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
