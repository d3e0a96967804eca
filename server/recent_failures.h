/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls that failed last, for the status page. Equal ones (caller, repo, method,
 * reason) have one entry together, which counts them, so that a wave of one failure does
 * not push out the others. Memory is fixed. Callable from any thread.
 */
#ifndef HC_SERVER_RECENT_FAILURES_H
#define HC_SERVER_RECENT_FAILURES_H

#include "answer.h"
#include "request.h"

#include <base/auto.h>

#include <pthread.h>

enum { HC_RECENT_FAILURES_MAX = 64, HC_FAILURE_CALLER_SIZE = 128 };

/* Texts that are longer are cut. None of them has a token: see request.h and error.h. */
struct hc_recent_failure {
    int64_t first_ms, last_ms; /* since the epoch */
    uint64_t count;
    uint64_t key;       /* a hash of what makes two failures equal */
    const char *method; /* static */
    enum hc_reason reason;
    unsigned code;
    enum hc_repo_type repo_type;
    char repo_id[HC_REQUEST_REPO_SIZE]; /* "": none */
    char revision[HC_REQUEST_REVISION_SIZE];
    char caller[HC_FAILURE_CALLER_SIZE]; /* "": anonymous */
    char message[512];                   /* of the last one */
};

struct hc_recent_failures {
    struct {
        pthread_mutex_t lock;
        struct hc_recent_failure items[HC_RECENT_FAILURES_MAX];
        size_t count;
    } shared;
};

void hc_recent_failures_init(struct hc_recent_failures *failures);
void hc_recent_failures_clear(struct hc_recent_failures *failures);

void hc_recent_failures_add(struct hc_recent_failures *failures,
                            const struct hc_request *request,
                            const struct hc_answer *answer, int64_t now_ms);

/* Copies them, the last one first; returns how many. */
size_t hc_recent_failures_copy(struct hc_recent_failures *failures,
                               struct hc_recent_failure items[HC_RECENT_FAILURES_MAX]);

#endif
