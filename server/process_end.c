/* SPDX-License-Identifier: Apache-2.0 */
#include "process_end.h"

#include "log.h"

#include <hubcache/cancellation.h>

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOOK_EVERY_MS = 100 };

static void *process_end_await(void *ctx)
{
    struct hc_process_end *end = ctx;
    int status;

    while (hc_monotonic_ms() < atomic_load(&end->at_ms))
        (void)poll(NULL, 0, LOOK_EVERY_MS);
    status = atomic_load(&end->status);
    if (status >= 0)
        _exit(status);
    HC_LOG(HC_LOG_ERROR, "ended while a thread hangs",
           HC_NUMBER("after_ms", HC_PROCESS_END_MS));
    hc_log_stop();
    _exit(EXIT_FAILURE);
}

void hc_process_end_start(struct hc_process_end *end, int64_t ms)
{
    pthread_t thread;

    hc_process_end_move(end, ms);
    if (pthread_create(&thread, NULL, process_end_await, end) == 0)
        (void)pthread_detach(thread);
    else
        HC_LOG(HC_LOG_WARN, "no thread to bound the end",
               HC_NUMBER("within_ms", HC_PROCESS_END_MS));
}

void hc_process_end_move(struct hc_process_end *end, int64_t ms)
{
    atomic_store(&end->at_ms, ms == HC_NO_DEADLINE ? INT64_MAX : hc_monotonic_ms() + ms);
}

void hc_process_end_set_status(struct hc_process_end *end, int status)
{
    atomic_store(&end->status, status);
}
