/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program that this process starts and waits for, as env(1) would run it: with its
 * terminal, its standard streams and its process group, without a shell. Signals that
 * other processes send to this process are passed on to the program; those of the
 * terminal reach it by themselves (interrupt.h). Used by the main thread.
 */
#ifndef HC_COMMAND_CHILD_H
#define HC_COMMAND_CHILD_H

enum {
    HC_CHILD_NOT_RUNNABLE = 126, /* there is such a file, but it cannot be run */
    HC_CHILD_NOT_FOUND = 127,
    HC_CHILD_SIGNAL_BASE = 128 /* and the number of the signal that ended it */
};

struct hc_child {
    char *const *argv;            /* Required. Ends with NULL */
    const char *const *variables; /* Required. "NAME=value", added to the environment */
    int every_ms;                 /* Required: between two calls of `look` */
    void (*look)(void *ctx);      /* Required: called while the program runs */
    void *ctx;
};

/* Runs it, and returns its exit status, or one of the above. */
int hc_child_run(const struct hc_child *child);

#endif
