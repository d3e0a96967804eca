/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: whatever is fetched, pinned, leased, released, renewed, named anew,
 * deleted, evicted, pruned, verified and repaired, in any sequence, and before whichever
 * of its calls a process dies:
 *
 *   - what was leased or pinned is there and whole, but for corrupt files;
 *   - no pointer dangles, unless a verification has died, and the next sweep mends that;
 *   - no ref names a snapshot that is not there;
 *   - a revision is there whole or not at all;
 *   - the bytes that are said to be freed are those that the volume has got back;
 *   - after sweeps and a prune nothing is left over.
 *
 * Beside the cache runs a model (maintenance_model.h). The first argument is the number
 * of runs, each with a seed of its own; the second (Optional) a directory that gets a
 * copy of the cache after each step. HC_TEST_SEED repeats the first run.
 */
#include "maintenance_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNS = 24, STEPS = 20 };

static unsigned runs = RUNS;
static const char *kept_in;
static uint64_t run_seed;
static bool run_is_over;

/* Many removals and fetches, so that there is something to remove. */
static enum step_kind random_kind(struct random_source *random)
{
    static const enum step_kind kinds[] = {
        STEP_FETCH,    STEP_FETCH,       STEP_FETCH,        STEP_FETCH,      STEP_PIN,
        STEP_LEASE,    STEP_LEASE,       STEP_RENEW,        STEP_EXPIRE,     STEP_RELEASE,
        STEP_DELETE,   STEP_DELETE_REPO, STEP_PRUNE,        STEP_EVICT,      STEP_EVICT,
        STEP_REF,      STEP_REF,         STEP_DAMAGE,       STEP_VERIFY,     STEP_REPAIR,
        STEP_DOWNLOAD, STEP_DOWNLOAD,    STEP_DELETE_FILES, STEP_PRUNE_BACK,
    };

    return kinds[random_between(random, 0, sizeof kinds / sizeof *kinds - 1)];
}

/* As "<run>-<step>-<kind>", with the symlinks as they are. */
static void keep_copy(const struct fixture *f, unsigned run, int number,
                      enum step_kind kind)
{
    char place[PATH_MAX];
    int status;
    pid_t child;

    (void)snprintf(place, sizeof place, "%s/%u-%d-%d", kept_in, run, number, (int)kind);
    child = fork();
    if (child == 0) {
        (void)execlp("cp", "cp", "-a", f->dir, place, NULL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void run_steps(struct random_source *random, unsigned run)
{
    void *state = NULL;
    struct model model;

    assert_int_equal(make_cache(&state), 0);
    model_begin(&model, state, random);
    for (int i = 0; i < STEPS; i++) {
        struct step step = {.kind = random_kind(random),
                            .repo = (int)random_between(random, 0, REPOS - 1),
                            .commit = (int)random_between(random, 0, COMMITS - 1),
                            .number = random_next(random)};

        if (random_between(random, 0, 1) == 1)
            step.dies_at = (unsigned)random_between(random, 1, step_calls(step.kind));
        model_step(&model, &step);
        if (kept_in)
            keep_copy(model.f, run, i, step.kind);
    }
    model_end(&model);
    if (kept_in)
        keep_copy(model.f, run, STEPS, STEP_KINDS);
    assert_int_equal(remove_cache(&state), 0);
}

static void a_cache_stays_sound_whatever_is_done_and_whenever_a_process_dies(void **state)
{
    struct random_source random;

    (void)state;
    random_begin(&random, "maintenance");
    for (unsigned i = 0; i < runs; i++) {
        run_seed = random.state;
        run_steps(&random, i);
    }
    run_is_over = true;
}

/* Also in a child whose assertion has failed. */
static int print_failed_seed(void **state)
{
    (void)state;
    if (!run_is_over)
        print_error("to repeat it: HC_TEST_SEED=%" PRIu64 " %s 1\n", run_seed,
                    "maintenance_property_test");
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(
            a_cache_stays_sound_whatever_is_done_and_whenever_a_process_dies,
            print_failed_seed),
    };

    if (argc > 1)
        runs = (unsigned)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        kept_in = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
