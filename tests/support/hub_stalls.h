/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where answers wait: stalled until released, or for a time. Opening the gate for good,
 * when the hub ends, lets everybody through. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_STALLS_H
#define HC_SUPPORT_HUB_STALLS_H

#include <stdbool.h>
#include <stdint.h>

struct hub_stalls;

struct hub_stalls *hub_stalls_new(void);
void hub_stalls_free(struct hub_stalls *stalls);

/* How often there was a release. */
unsigned hub_stalls_release_count(struct hub_stalls *stalls);

/*
 * Waits until released, or until the peer of socket `fd` has gone. Does not wait when
 * there was a release since there had been `releases`: it was meant for this one too.
 */
void hub_stalls_wait(struct hub_stalls *stalls, int fd, unsigned releases);
void hub_stalls_release(struct hub_stalls *stalls);

/* Until somebody is stalled; false after 10 seconds. */
bool hub_stalls_await_stall(struct hub_stalls *stalls);

/* Waits so long, or until the hub ends. */
void hub_stalls_pause(struct hub_stalls *stalls, uint64_t ms);

void hub_stalls_end(struct hub_stalls *stalls);

#endif
