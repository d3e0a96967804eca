/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that wait: stalled until they are released, or paused for a time. When the hub
 * ends, all waits end. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_STALLS_H
#define HC_SUPPORT_HUB_STALLS_H

#include <stdbool.h>
#include <stdint.h>

struct hub_stalls;

struct hub_stalls *hub_stalls_new(void);
void hub_stalls_free(struct hub_stalls *stalls);

/* The number of releases so far. */
unsigned hub_stalls_release_count(struct hub_stalls *stalls);

/*
 * Waits until there is a release, or until the peer of socket `fd` has gone. Does not
 * wait when there are more releases than `releases`, the number when the request arrived:
 * a release is also for the requests that are in the log but have not stalled yet.
 */
void hub_stalls_wait(struct hub_stalls *stalls, int fd, unsigned releases);
void hub_stalls_release(struct hub_stalls *stalls);

/* Waits until an answer is stalled; false after 10 seconds. */
bool hub_stalls_await_stall(struct hub_stalls *stalls);

/* Waits for `ms`, or until the hub ends. */
void hub_stalls_pause(struct hub_stalls *stalls, uint64_t ms);

/* Ends all waits, present and future ones. */
void hub_stalls_end(struct hub_stalls *stalls);

#endif
