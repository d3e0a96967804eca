/* SPDX-License-Identifier: Apache-2.0 */
/*
 * System calls that fail, or end the process, when a test says so. A test program links
 * the library test_fault (and so gets the linker's --wrap); every wrapped call of this
 * project's code is then counted and may fail. Calls made inside shared libraries are not
 * wrapped. With test_fault_names in its place, the calls that remove, exchange and read
 * names are wrapped, too. Callable from any thread.
 */
#ifndef HC_SUPPORT_FAULT_H
#define HC_SUPPORT_FAULT_H

#include <stdbool.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_ERRNO,       /* the call fails with the errno given */
    FAULT_FULL,        /* so do it and all later calls that need space on the volume */
    FAULT_UNSUPPORTED, /* every call of one name fails with the errno given */
    FAULT_EXIT         /* the process ends before the call, by SIGKILL */
};

/*
 * Gives the fault to the `nth` wrapped call from now on (1 is the next); FAULT_FULL
 * counts only calls that need space.
 */
void fault_arm(enum fault_kind kind, unsigned nth, int errnum);
void fault_disarm(void);

/*
 * Makes every call of this name ("symlinkat") fail from now on, as on a volume that does
 * not support it.
 */
void fault_refuse(const char *call, int errnum);

/* The number of wrapped calls since the last fault_arm(). */
unsigned fault_calls(void);

/* The name of the last call that got a fault; NULL when none did. */
const char *fault_hit(void);

/* For further wrapped calls, which need no space: counts one; true when it gets the
 * fault, and then errno is set. */
bool fault_is_taken(const char *call);

/*
 * Begins to record the calls that change something (of mkdirat those that made a
 * directory), in the order in which they began. fault_recorded() ends that and returns
 * the text, which the caller frees: one call a line, "<call> <path>", for a rename or
 * link "<call> <path> <path>"; paths are absolute.
 */
void fault_record(void);
char *fault_recorded(void);

#endif
