/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of WatchSnapshot: one event with the result or, if its list of files would make
 * that larger than clients take, several events with the files and then the result. Any
 * thread may call it.
 */
#ifndef HC_SERVER_WATCH_RESULT_H
#define HC_SERVER_WATCH_RESULT_H

#include "answer.h"

enum {
    HC_WATCH_RESULT_MAX = 3 * 1024 * 1024, /* bytes; gRPC's clients take 4 MiB */
    HC_WATCH_FILES_MAX = 1024 * 1024       /* of an event with files, or one file */
};

/*
 * The events for `result`, a packed ResolveSnapshotResponse: the first one, which the
 * others follow (hc_answer.next). NULL: memory is short.
 */
struct hc_answer *hc_watch_result_new(const struct hc_answer *result);

#endif
