/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures of the test hub and its fixtures abort the program, so that their functions
 * need no error: no memory, or a call that a test must not make. Callable from any
 * thread.
 */
#ifndef HC_SUPPORT_HUB_ABORT_H
#define HC_SUPPORT_HUB_ABORT_H

/* Prints "test hub: <what>: <detail>" and aborts. */
_Noreturn void hub_abort(const char *what, const char *detail);

/* Returns `memory`; aborts if it is NULL. */
void *hub_require(void *memory);

/* Formatted text; the caller frees. */
char *hub_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A copy, NULL for NULL; the caller frees. */
char *hub_strdup(const char *text);

#endif
