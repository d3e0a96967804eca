/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fault.c writes down while fault_record() is on (fault.h). Callable from any
 * thread.
 */
#ifndef HC_SUPPORT_FAULT_LOG_H
#define HC_SUPPORT_FAULT_LOG_H

/* A call on an open file. */
void fault_log_file(const char *call, int fd);

/* A call on `path`, relative to the directory `dir`; */
void fault_log_name(const char *call, int dir, const char *path);

/* and one that gives what is there another name. */
void fault_log_names(const char *call, int from_dir, const char *from, int to_dir,
                     const char *to);

#endif
