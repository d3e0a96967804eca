/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that the libraries of this process free: gRPC, OpenSSL and libc keep copies of
 * headers with tokens in buffers of their own, and free them as they are. Callable from
 * any thread.
 */
#ifndef HC_SERVER_FREED_MEMORY_H
#define HC_SERVER_FREED_MEMORY_H

/*
 * From now on, all memory of the process is overwritten when it is freed. That costs a
 * call 3 to 10 % of its time, so it begins with the first token. Nothing changes in a
 * build with a sanitizer, or with another libc than glibc.
 */
void hc_freed_memory_wipe(void);

#endif
