/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the process gives up, for good, before it starts a thread: if a hostile Hub or
 * client ever made it run foreign code, that code could start no program, gain no
 * privilege, and look into no other process; and what it keeps from others: its memory,
 * with the tokens in it.
 */
#ifndef HC_SERVER_SANDBOX_H
#define HC_SERVER_SANDBOX_H

#include <hubcache/error.h>
#include <stdbool.h>

/*
 * Whether the kernel may write the memory to a core file, and other processes of the same
 * user may read it: debuggers, but also /proc/<pid>/mem and environ.
 */
void hc_sandbox_allow_dumps(bool is_allowed);

/*
 * No new privileges, and no system calls that a server never needs; threads inherit both.
 * -1: the kernel refuses. A build with a sanitizer, whose runtime starts programs and
 * traces threads, only gives up new privileges.
 */
int hc_sandbox_enter(struct hc_error *err);

#endif
