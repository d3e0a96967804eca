/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that fail, or end the process, when a test says so. A test program links
 * with the library test_fault (and so with the linker's --wrap); every wrapped
 * call made by our code then passes through here and is counted. Calls of shared
 * libraries are not. Callable from any thread.
 */
#ifndef HC_SUPPORT_FAULT_H
#define HC_SUPPORT_FAULT_H

enum fault_kind {
    FAULT_NONE,
    FAULT_ERRNO, /* the call fails with the errno given */
    FAULT_EXIT   /* the process dies before the call, as by SIGKILL */
};

/* The `nth` wrapped call from now on (1 is the next) has the fault; later ones do not. */
void fault_arm(enum fault_kind kind, unsigned nth, int errnum);
void fault_disarm(void);

/* Wrapped calls since the last fault_arm(). */
unsigned fault_calls(void);

/* The name of the call that had the fault; NULL when none had. */
const char *fault_hit(void);

#endif
