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
    FAULT_FULL,  /* it does, and so do all later ones that need room on the volume */
    FAULT_UNSUPPORTED, /* every call of one name fails with the errno given */
    FAULT_EXIT         /* the process dies before the call, as by SIGKILL */
};

/* The `nth` wrapped call from now on (1 is the next) has the fault: of FAULT_FULL, the
 * `nth` of those that need room. */
void fault_arm(enum fault_kind kind, unsigned nth, int errnum);
void fault_disarm(void);

/* Every call of this name ("symlinkat") fails from now on, as on a volume that lacks it. */
void fault_refuse(const char *call, int errnum);

/* Wrapped calls since the last fault_arm(). */
unsigned fault_calls(void);

/* The name of the call that had the fault last; NULL when none had. */
const char *fault_hit(void);

/*
 * Calls that change something are written down from now on, in the order in which they
 * began (of mkdirat those that made a directory), one a line: "<call> <path>", for a
 * rename or link "<call> <path> <path>"; paths are absolute. The text is the caller's to
 * free, and ends it.
 */
void fault_record(void);
char *fault_recorded(void);

#endif
