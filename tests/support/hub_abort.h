/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test hub that cannot go on ends the program, so its functions need no error: memory
 * that is short and calls that are wrong end here. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_ABORT_H
#define HC_SUPPORT_HUB_ABORT_H

/* Says "test hub: <what>: <detail>" and aborts. */
_Noreturn void hub_abort(const char *what, const char *detail);

/* `memory`, which is not NULL. */
void *hub_require(void *memory);

/* Formatted text; the caller frees. */
char *hub_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A copy, NULL for NULL; the caller frees. */
char *hub_strdup(const char *text);

#endif
