/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The progress of files that are being resolved, on standard error. Resolving files has
 * no progress of its own: a thread asks for that of a snapshot of the same files, which
 * shares their download, once the caller has waited for a second. A cached file is
 * answered before, and shows nothing. Begin and end are called by one thread.
 */
#ifndef HC_COMMAND_FILE_PROGRESS_H
#define HC_COMMAND_FILE_PROGRESS_H

#include "resolve_options.h"

struct hc_file_progress;

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
