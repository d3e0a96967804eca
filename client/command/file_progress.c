/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers and failures stay those of the call that resolves the files: the thread only
 * looks on, with a connection of its own, and what fails for it is not told. It never
 * forces a download, which would be a second one: that is hc_file_progress_force().
 *
 * The thread is first waiting, then watching. Ending the progress wakes it while it
 * waits, and joins it. One that watches may be stuck in a call for as long as the server
 * takes; then its memory is left to it.
 */
#include "file_progress.h"

#include "base/auto.h"
#include "base/cancellation.h"
#include "base/error.h"
#include "base/text.h"
#include "progress_bar.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

HC_DEFINE_AUTO(hc_client, hc_client_close)
HC_DEFINE_AUTO_VALUE(hc_client_snapshot, hc_client_snapshot_clear)

enum {
    SHOW_AFTER_S = 1,
    PATTERN_MAX = 1024,
    PATTERNS_MAX = 1000
}; /* the server's limits */

struct hc_file_progress {
    struct hc_resolve_options options; /* its texts are those of argv */
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        pthread_cond_t changed;
        bool is_watching;
        bool is_over;
        struct hc_progress_bar bar;
    } shared;
};

/* Waits for a second; false when the answer came before. */
static bool progress_is_due(struct hc_file_progress *progress)
{
    struct timespec until;
    int result = 0;
    HC_LOCKED(&progress->shared.lock);

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += SHOW_AFTER_S;
    while (!progress->shared.is_over && result == 0)
        result = pthread_cond_clockwait(&progress->shared.changed, &progress->shared.lock,
                                        CLOCK_MONOTONIC, &until);
    progress->shared.is_watching = !progress->shared.is_over;
    return progress->shared.is_watching;
}

/* The pattern that matches the name and nothing else. */
static int pattern_of_name(const char *subfolder, const char *name,
                           char pattern[PATTERN_MAX])
{
    char path[PATTERN_MAX];
    size_t used = 0;

    if (hc_format(path, sizeof path, "%s%s%s", subfolder ? subfolder : "",
                  subfolder && !hc_text_ends(subfolder, "/") ? "/" : "", name) < 0)
        return -1;
    for (const char *s = path; *s; s++) {
        int length = hc_format(pattern + used, PATTERN_MAX - used,
                               strchr("*?[", *s) ? "[%c]" : "%c", *s);

        if (length < 0)
            return -1;
        used += (size_t)length;
    }
    return 0;
}

static int patterns_of_names(const struct hc_resolve_options *options,
                             struct hc_strings *patterns)
{
    char pattern[PATTERN_MAX];
    struct hc_error err;

    for (size_t i = 0; i < options->filename_count; i++) {
        if (pattern_of_name(options->subfolder, options->filenames[i], pattern) < 0 ||
            hc_strings_add(patterns, pattern, &err) < 0)
            return -1;
    }
    return 0;
}

/* A hc_client_progress_fn. The lock keeps the bar off the answer. */
static bool progress_show(void *ctx, const struct hc_client_progress *event)
{
    struct hc_file_progress *progress = ctx;
    HC_LOCKED(&progress->shared.lock);

    if (progress->shared.is_over)
        return false;
    return hc_progress_bar_show(&progress->shared.bar, event);
}

static bool options_have_progress(const struct hc_resolve_options *options)
{
    return !options->is_quiet && !options->fetch.local_files_only &&
           options->filename_count <= PATTERNS_MAX;
}

struct forced_download {
    int64_t show_from_ms;
    struct hc_progress_bar bar;
};

/* A hc_client_progress_fn. */
static bool forced_download_show(void *ctx, const struct hc_client_progress *event)
{
    struct forced_download *download = ctx;

    return hc_monotonic_ms() < download->show_from_ms ||
           hc_progress_bar_show(&download->bar, event);
}

int hc_file_progress_force(struct hc_client *client,
                           const struct hc_resolve_options *options, struct hc_error *err)
{
    struct forced_download download = {.show_from_ms = hc_monotonic_ms() +
                                                       (int64_t)SHOW_AFTER_S * 1000};
    HC_AUTO_VALUE(hc_strings) patterns = {0};
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    struct hc_client_snapshot_request request = {.repo = options->repo,
                                                 .fetch = options->fetch,
                                                 .progress = forced_download_show,
                                                 .progress_ctx = &download};
    int result;

    if (!options_have_progress(options) || patterns_of_names(options, &patterns) < 0)
        return 0;
    request.allow_patterns = (const char *const *)patterns.items;
    request.allow_count = patterns.count;
    hc_progress_bar_begin(&download.bar, options->repo.id);
    result = hc_client_resolve_snapshot(client, &request, &snapshot, err);
    hc_progress_bar_end(&download.bar);
    if (result < 0)
        return hc_reason_exit(err->reason) == HC_EXIT_UNAVAILABLE ? -1 : 0;
    return snapshot.file_count == options->filename_count;
}

static void *progress_watch(void *ctx)
{
    struct hc_file_progress *progress = ctx;
    HC_AUTO_VALUE(hc_strings) patterns = {0};
    HC_AUTO_VALUE(hc_client_snapshot) snapshot = {0};
    HC_AUTO(hc_client) *client = NULL;
    struct hc_error err = {0};
    struct hc_client_snapshot_request request = {
        .repo = progress->options.repo,
        .fetch = progress->options.fetch,
        .progress = progress_show,
        .progress_ctx = progress,
    };

    if (!progress_is_due(progress) ||
        patterns_of_names(&progress->options, &patterns) < 0)
        return NULL;
    request.allow_patterns = (const char *const *)patterns.items;
    request.allow_count = patterns.count;
    client = hc_command_connect(progress->options.common, &err);
    if (client)
        (void)hc_client_resolve_snapshot(client, &request, &snapshot, &err);
    return NULL;
}

struct hc_file_progress *hc_file_progress_begin(const struct hc_resolve_options *options)
{
    HC_AUTO_FREE struct hc_file_progress *progress = NULL;

    if (options->fetch.force_download || !options_have_progress(options))
        return NULL;
    progress = calloc(1, sizeof *progress);
    if (!progress)
        return NULL;
    progress->options = *options;
    (void)pthread_mutex_init(&progress->shared.lock, NULL);
    (void)pthread_cond_init(&progress->shared.changed, NULL);
    hc_progress_bar_begin(&progress->shared.bar, options->repo.id);
    if (pthread_create(&progress->thread, NULL, progress_watch, progress) != 0)
        return NULL;
    return hc_take(&progress);
}

/* The thread is woken while it waits; one that watches keeps its memory. */
static bool progress_finish(struct hc_file_progress *progress)
{
    HC_LOCKED(&progress->shared.lock);

    progress->shared.is_over = true;
    hc_progress_bar_end(&progress->shared.bar);
    (void)pthread_cond_signal(&progress->shared.changed);
    return !progress->shared.is_watching;
}

void hc_file_progress_end(struct hc_file_progress *progress)
{
    if (!progress || !progress_finish(progress))
        return;
    (void)pthread_join(progress->thread, NULL);
    (void)pthread_cond_destroy(&progress->shared.changed);
    (void)pthread_mutex_destroy(&progress->shared.lock);
    free(progress);
}
