/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How failures are made and passed up. A function that fails sets the error exactly once:
 * `return hc_fail(err, HC_BAD_HUB_REPLY, "…")`; a caller may put words before the message
 * on the way up: `return hc_context(err, "fetch '%s'", path)`. All of them return -1. An
 * error belongs to one thread at a time.
 */
#ifndef HC_BASE_ERROR_H
#define HC_BASE_ERROR_H

#include <hubcache/error.h>

#include <stddef.h>

#define HC_PRINTF(string, first) __attribute__((format(printf, string, first)))

int hc_fail(struct hc_error *err, enum hc_reason reason, const char *format, ...)
    HC_PRINTF(3, 4);

/* For INVALID_*: also says which field of the request is at fault. */
int hc_fail_field(struct hc_error *err, enum hc_reason reason, const char *field,
                  const char *format, ...) HC_PRINTF(4, 5);

/*
 * A system call on the cache volume failed: EROFS, EACCES and EPERM are CACHE_READ_ONLY,
 * ENOSPC and EDQUOT are NO_SPACE, ENOMEM is INTERNAL, all else CACHE_IO. The text of
 * `errnum` is appended.
 */
int hc_fail_errno(struct hc_error *err, int errnum, const char *format, ...)
    HC_PRINTF(3, 4);

int hc_fail_memory(struct hc_error *err);

/* Says which file of a repo the failure is about, unless that is said already; -1. A name
 * that is too long is cut after a whole character. */
int hc_fail_about_file(struct hc_error *err, const char *path);

/* Puts "<context>: " before the message; everything else stays. */
int hc_context(struct hc_error *err, const char *format, ...) HC_PRINTF(2, 3);

#endif
