/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owners of the files know what to do when one has changed.
 */
#include "file_watcher.h"

#include <base/cancellation.h>
#include <base/error.h>

enum { LOOK_EVERY_MS = 2000 };

struct hc_file_watcher {
    struct hc_watched_files files;
    struct hc_cancellation *end;
    pthread_t thread;
};

static void *watcher_run(void *ctx)
{
    struct hc_file_watcher *watcher = ctx;
    const struct hc_watched_files *files = &watcher->files;
    struct hc_error err;

    while (hc_cancellation_sleep(watcher->end, LOOK_EVERY_MS, &err) == 0) {
        if (files->policy)
            hc_policy_file_look(files->policy);
        if (files->tls)
            hc_tls_look(files->tls);
        if (files->auth)
            hc_auth_look(files->auth);
    }
    return NULL;
}

struct hc_file_watcher *hc_file_watcher_open(const struct hc_watched_files *files,
                                             struct hc_error *err)
{
    struct hc_file_watcher *watcher = calloc(1, sizeof *watcher);

    if (watcher)
        watcher->end = hc_cancellation_new(HC_NO_DEADLINE);
    if (!watcher || !watcher->end) {
        free(watcher);
        (void)hc_fail_memory(err);
        return NULL;
    }
    watcher->files = *files;
    if (pthread_create(&watcher->thread, NULL, watcher_run, watcher) == 0)
        return watcher;
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to look at files with");
    hc_cancellation_free(watcher->end);
    free(watcher);
    return NULL;
}

void hc_file_watcher_close(struct hc_file_watcher *watcher)
{
    if (!watcher)
        return;
    hc_cancellation_cancel(watcher->end);
    (void)pthread_join(watcher->thread, NULL);
    hc_cancellation_free(watcher->end);
    free(watcher);
}
