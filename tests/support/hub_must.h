/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test hub that cannot go on ends the program, so its functions need no error: memory
 * that is short and calls that are wrong end here. Callable from any thread.
 */
#ifndef HC_SUPPORT_HUB_MUST_H
#define HC_SUPPORT_HUB_MUST_H

/* Says "test hub: <what>: <detail>" and aborts. */
_Noreturn void hub_die(const char *what, const char *detail);

/* `memory`, which is not NULL. */
void *hub_must(void *memory);

/* Formatted text; the caller frees. */
char *hub_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A copy, NULL for NULL; the caller frees. */
char *hub_copy(const char *text);

#endif
