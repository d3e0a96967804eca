/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The snapshot is resolved and leased, the program runs with HUBCACHE_PATH and
 * HUBCACHE_COMMIT in its environment, and when it ends the lease is released. What it
 * returns is what the command returns.
 */
#include "run.h"

#include "base/auto.h"
#include "base/text.h"
#include "child.h"
#include "output.h"
#include "progress_bar.h"
#include "repo_spec.h"

#include <hubcache-client/snapshot.h>
#include <stdlib.h>
#include <string.h>

HC_DEFINE_AUTO(hc_client_open_snapshot, hc_client_snapshot_close)

enum { LOOK_EVERY_MS = 5000 };

/* The options that resolutions have too are in `resolve`. */
struct run_options {
    struct hc_cache_command base;
    struct hc_resolve_options resolve;
};

/* Of the program that runs. */
struct run_watch {
    const struct hc_client_open_snapshot *snapshot;
    bool is_lost; /* which has been said */
};

static void watch_look(void *ctx)
{
    struct run_watch *watch = ctx;
    struct hc_error loss;

    if (watch->is_lost || hc_client_snapshot_check(watch->snapshot, &loss) == 0)
        return;
    watch->is_lost = true;
    hc_output_print_note(loss.message);
}

static struct hc_client_open_snapshot *run_open(struct hc_client *client,
                                                const struct run_options *options,
                                                struct hc_error *err)
{
    const struct hc_resolve_options *resolve = &options->resolve;
    struct hc_client_open_snapshot *snapshot;
    struct hc_repo_spec spec;
    struct hc_progress_bar bar;
    struct hc_client_snapshot_request request;

    if (hc_repo_spec_parse(options->base.arguments[0], &resolve->repo, &spec, err) < 0)
        return NULL;
    hc_resolve_options_request(resolve, &request);
    request.repo = (struct hc_client_repo){spec.id, spec.type, spec.revision};
    request.progress = resolve->is_quiet ? NULL : hc_progress_bar_show;
    request.progress_ctx = &bar;
    hc_progress_bar_begin(&bar, spec.id);
    snapshot = hc_client_snapshot_open(client, &request, err);
    hc_progress_bar_end(&bar);
    return snapshot;
}

/* The arguments after the repo, ended by NULL; the caller frees the list. */
static char **run_arguments(const struct hc_cache_command *base, struct hc_error *err)
{
    char **argv = calloc(base->argument_count, sizeof *argv);

    if (!argv)
        (void)hc_fail_memory(err);
    for (size_t i = 1; argv && i < base->argument_count; i++)
        memcpy(&argv[i - 1], &base->arguments[i], sizeof *argv);
    return argv;
}

static int run_child(const struct hc_client_open_snapshot *snapshot, char *const argv[],
                     struct hc_error *err)
{
    const struct hc_client_snapshot *answer = hc_client_snapshot_answer(snapshot);
    struct run_watch watch = {.snapshot = snapshot};
    HC_AUTO_FREE char *path = NULL;
    HC_AUTO_FREE char *commit = NULL;

    if (asprintf(&path, "HUBCACHE_PATH=%s", answer->path) < 0)
        path = NULL;
    if (asprintf(&commit, "HUBCACHE_COMMIT=%s", answer->commit_hash) < 0)
        commit = NULL;
    if (!path || !commit)
        return hc_fail_memory(err);
    return hc_child_run(
        &(struct hc_child){.argv = argv,
                           .variables = (const char *const[]){path, commit, NULL},
                           .every_ms = LOOK_EVERY_MS,
                           .look = watch_look,
                           .ctx = &watch});
}

static int run_run(struct hc_client *client, void *input, struct hc_error *err)
{
    struct run_options *options = input;
    HC_AUTO_FREE char **argv = run_arguments(&options->base, err);
    HC_AUTO(hc_client_open_snapshot) *snapshot =
        argv ? run_open(client, options, err) : NULL;
    int status = snapshot ? run_child(snapshot, argv, err) : -1;

    if (status < 0)
        return -1;
    options->base.exit_status = status;
    return 0;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): argp decides on the type */
static error_t run_option_parse(int key, char *arg, struct argp_state *state)
{
    struct run_options *options = state->input;

    (void)arg;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    for (size_t i = 0; i < 3; i++)
        state->child_inputs[i] = &options->resolve;
    return 0;
}

static const struct argp_child resolve_children[] = {{&hc_patterns_argp, 0, NULL, 0},
                                                     {&hc_lease_argp, 0, NULL, 0},
                                                     {&hc_resolve_argp, 0, NULL, 0},
                                                     {0}};

static const struct argp run_argp = {.parser = run_option_parse,
                                     .children = resolve_children};

static const struct argp_child run_children[] = {{&run_argp, 0, NULL, 0},
                                                 HC_COMMON_OPTIONS};

static void run_options_clear(void *input)
{
    struct run_options *options = input;

    hc_resolve_options_clear(&options->resolve);
}

const struct hc_subcommand hc_run_command = {
    .name = "run",
    .arguments = "REPO[@REVISION] -- COMMAND [ARGUMENT]...",
    .summary = "Runs COMMAND with the path of REPO's snapshot in HUBCACHE_PATH, and "
               "leases the snapshot as long as COMMAND runs. The exit status is that of "
               "COMMAND, or 128 and the number of the signal that ended it.",
    .children = run_children,
    .arguments_min = 2,
    .arguments_max = HC_ARGUMENTS_ANY,
    .options_size = sizeof(struct run_options),
    .run_cache = run_run,
    .clear = run_options_clear,
};
