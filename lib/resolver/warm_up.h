/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Warm-ups: the files of an answer are read ahead into the page cache of this machine
 * (base/read_ahead.h), on threads of their own, after the answer. No caller waits for
 * one, and a warm-up that fails is left: the reader gets its bytes from the volume.
 * Callable from any thread, except hc_warm_ups_close().
 */
#ifndef HC_RESOLVER_WARM_UP_H
#define HC_RESOLVER_WARM_UP_H

#include <base/auto.h>

#include <stddef.h>
#include <stdint.h>

struct hc_decision;
struct hc_error;
struct hc_fetch_options;
struct hc_file;
struct hc_patterns;
struct hc_resolver;
struct hc_snapshot;
struct hc_warm_ups;

/* Borrows the resolver. */
struct hc_warm_ups *hc_warm_ups_open(const struct hc_resolver *resolver,
                                     struct hc_error *err);

/* Ends those that run, and leaves those that wait. */
void hc_warm_ups_close(struct hc_warm_ups *warm_ups);
HC_DEFINE_AUTO(hc_warm_ups, hc_warm_ups_close)

/* Of the files of a snapshot's directory. Borrowed. */
struct hc_warm_selection {
    const struct hc_patterns *patterns;
    const struct hc_decision *decision;
};

/* Begins a warm-up of these files, or of the files of the snapshot's directory that the
 * selection has. `options` say for which caller. */
void hc_warm_up_files(struct hc_warm_ups *warm_ups,
                      const struct hc_fetch_options *options, const struct hc_file *files,
                      size_t count);
void hc_warm_up_snapshot(struct hc_warm_ups *warm_ups,
                         const struct hc_fetch_options *options,
                         const struct hc_snapshot *snapshot,
                         const struct hc_warm_selection *selection);

/* Bytes read ahead, and bytes left because they do not fit into memory. */
void hc_warm_ups_count(const struct hc_warm_ups *warm_ups, uint64_t *warmed,
                       uint64_t *left);

#endif
