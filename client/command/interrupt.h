/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signals that are meant to end the command. A thread waits for them, and ends the
 * process with the status that a shell gives to a signal; or, while a program runs for
 * the command, sends them on to it. One program at a time.
 */
#ifndef HC_COMMAND_INTERRUPT_H
#define HC_COMMAND_INTERRUPT_H

#include <sys/types.h>

/* Before there is any other thread: each inherits the mask of signals. */
void hc_interrupts_watch(void);

/*
 * Starts `argv`, found by PATH, with this environment; both end with NULL. The program
 * has the mask of signals that this process had at its start. 0 or an errno.
 */
int hc_interrupts_spawn(pid_t *child, char *const argv[], char *const environment[]);

/* The program has ended, and is about to be reaped: signals end the process again. */
void hc_interrupts_forget(void);

#endif
