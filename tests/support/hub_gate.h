/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where answers wait: stalled until released, or for a time. Opening the gate for good,
 * when the hub ends, lets everybody through. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_GATE_H
#define HC_SUPPORT_HUB_GATE_H

#include <stdbool.h>
#include <stdint.h>

struct hub_gate;

struct hub_gate *hub_gate_new(void);
void hub_gate_free(struct hub_gate *gate);

/* How often there was a release. */
unsigned hub_gate_releases(struct hub_gate *gate);

/*
 * Waits until released, or until the peer of socket `fd` has gone. Does not wait when
 * there was a release since there had been `releases`: it was meant for this one too.
 */
void hub_gate_stall(struct hub_gate *gate, int fd, unsigned releases);
void hub_gate_release(struct hub_gate *gate);

/* Until somebody is stalled; false after 10 seconds. */
bool hub_gate_await_stall(struct hub_gate *gate);

/* Waits so long, or until the hub ends. */
void hub_gate_pause(struct hub_gate *gate, uint64_t ms);

void hub_gate_open(struct hub_gate *gate);

#endif
