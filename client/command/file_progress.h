/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress of files that are being resolved, on standard error, once the caller has
 * waited for a second; a cached file is answered before, and shows nothing. Resolving
 * files has no progress of its own, so that of a snapshot of the same files is asked for:
 * by a thread, which shares their download, or, where the download is forced and a second
 * one would be another download, instead. All are called by one thread.
 */
#ifndef HC_COMMAND_FILE_PROGRESS_H
#define HC_COMMAND_FILE_PROGRESS_H

#include "resolve_options.h"

struct hc_file_progress;

/*
 * Makes the forced download of `options` with its progress. 1: it is made, and resolving
 * the files finds them. 0: it is not, or not of all, so the caller forces it itself, and
 * learns why. -1: the server or the Hub cannot be reached, or the time is over.
 */
int hc_file_progress_force(struct hc_client *client,
                           const struct hc_resolve_options *options,
                           struct hc_error *err);

/* NULL when there is nothing to show, or no thread. `options->common` is borrowed until
 * the process ends. */
struct hc_file_progress *hc_file_progress_begin(const struct hc_resolve_options *options);

/*
 * Clears the bar; nothing is shown from here on. A thread that waits for the server is
 * not waited for: it ends with the process, which therefore ends by _exit(2). NULL is
 * fine.
 */
void hc_file_progress_end(struct hc_file_progress *progress);

#endif
