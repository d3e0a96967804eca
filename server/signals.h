/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signals of the program. They are blocked before any thread starts, so in all of
 * them, and the main thread reads them from a descriptor: there are no handlers.
 */
#ifndef HC_SERVER_SIGNALS_H
#define HC_SERVER_SIGNALS_H

#include <stdint.h>

struct hc_error;

/*
 * The first thing that the program does: a service manager may send SIGHUP as soon as it
 * runs. One that arrives too early waits. A parent that ignores it, such as nohup(1),
 * does not take the reload away.
 */
void hc_signals_block_hangup(void);

/* The descriptor of SIGTERM, SIGINT and SIGHUP, which the caller closes; -1. SIGPIPE is
 * ignored from then on. */
int hc_signals_open(struct hc_error *err);

/* Takes one signal, and returns its number. 0: the descriptor `other` (-1: none) became
 * readable first, or `timeout_ms` passed. */
int hc_signals_await(int signals, int other, int64_t timeout_ms);

#endif
