/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the process ends although a thread of it hangs, and how: with EXIT_FAILURE and a
 * line in the log while a part of the server is open, afterwards with the status that
 * main() is about to return. A thread that waits for a volume or for the Hub cannot be
 * ended: pthread_cancel() would leave locks behind. So the process ends, without the
 * closing of its parts. One thread sets it.
 */
#ifndef HC_SERVER_PROCESS_END_H
#define HC_SERVER_PROCESS_END_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    HC_PROCESS_END_MS = 5000
}; /* what a stopping server has beside its grace period */

/* Of static storage: the thread that ends the process reads it until then. */
struct hc_process_end {
    atomic_int_least64_t at_ms; /* on the monotonic clock */
    atomic_int status;          /* -1: a part is open */
};

#define HC_PROCESS_END_NEW ((struct hc_process_end){.status = -1})

/* Starts the thread that ends the process `ms` from now, unless that time is moved. */
void hc_process_end_start(struct hc_process_end *end, int64_t ms);

/* Moves it to `ms` from now; HC_NO_DEADLINE: the process is not ended. */
void hc_process_end_move(struct hc_process_end *end, int64_t ms);

/* No part is open any more. `status`: what main() returns. */
void hc_process_end_set_status(struct hc_process_end *end, int status);

#endif
