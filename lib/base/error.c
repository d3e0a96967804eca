/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of reasons, and the few ways to fill an error.
 *
 * An error is a value on the stack of a caller, never allocated, so that running out of
 * memory can be reported like any other failure; the price is that messages are cut at
 * the size of their buffer. Every function here leaves a message that is UTF-8, whatever
 * it was given: names on the volume and texts of servers may hold any bytes.
 */
#include "error.h"

#include "text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Indexed by enum hc_reason. */
static const struct {
    const char *name;
    enum hc_status status;
    enum hc_exit exit;
} reasons[] = {{"OK", HC_STATUS_OK, HC_EXIT_OK},
#define HC_REASON_ROW(reason, status, exit) {#reason, HC_STATUS_##status, HC_EXIT_##exit},
               HC_REASONS(HC_REASON_ROW)
#undef HC_REASON_ROW
};

static const size_t reason_count = sizeof reasons / sizeof *reasons;

const char *hc_reason_name(enum hc_reason reason)
{
    return reasons[reason].name;
}

enum hc_reason hc_reason_from_name(const char *name)
{
    for (size_t i = 0; i < reason_count; i++) {
        if (strcmp(reasons[i].name, name) == 0)
            return (enum hc_reason)i;
    }
    return HC_OK;
}

enum hc_status hc_reason_status(enum hc_reason reason)
{
    return reasons[reason].status;
}

enum hc_exit hc_reason_exit(enum hc_reason reason)
{
    return reasons[reason].exit;
}

/*
 * Replaces bytes that are no UTF-8. Messages travel in protobuf strings, which must be
 * UTF-8: a name that is cut in the middle of a character, or bytes that never were text,
 * would make the whole answer unreadable for a client.
 */
static void message_make_utf8(char *message)
{
    while (*message) {
        size_t length = hc_text_utf8_length(message);

        if (length == 0)
            *message = '?';
        message += length ? length : 1;
    }
}

HC_PRINTF(3, 0)
static void error_set(struct hc_error *err, enum hc_reason reason, const char *format,
                      va_list args)
{
    char message[sizeof err->message];

    (void)vsnprintf(message, sizeof message, format, args); /* may quote *err itself */
    memset(err, 0, sizeof *err);
    err->reason = reason;
    message_make_utf8(message);
    memcpy(err->message, message, sizeof message);
}

int hc_fail(struct hc_error *err, enum hc_reason reason, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_set(err, reason, format, args);
    va_end(args);
    return -1;
}

int hc_fail_field(struct hc_error *err, enum hc_reason reason, const char *field,
                  const char *format, ...)
{
    va_list args;

    va_start(args, format);
    error_set(err, reason, format, args);
    va_end(args);
    (void)snprintf(err->field, sizeof err->field, "%s", field);
    return -1;
}

static enum hc_reason reason_from_errno(int errnum)
{
    switch (errnum) {
    case EROFS:
    case EACCES:
    case EPERM:
        return HC_CACHE_READ_ONLY;
    case ENOSPC:
    case EDQUOT:
        return HC_NO_SPACE;
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return HC_INTERNAL;
    default:
        return HC_CACHE_IO;
    }
}

int hc_fail_errno(struct hc_error *err, int errnum, const char *format, ...)
{
    const char *text = strerrordesc_np(errnum);
    va_list args;
    size_t used;

    va_start(args, format);
    error_set(err, reason_from_errno(errnum), format, args);
    va_end(args);
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof err->message - used, ": %s",
                   text ? text : "unknown error");
    return -1;
}

int hc_fail_memory(struct hc_error *err)
{
    return hc_fail(err, HC_INTERNAL, "out of memory");
}

int hc_fail_about_file(struct hc_error *err, const char *path)
{
    if (err->filename[0])
        return -1;
    (void)snprintf(err->filename, sizeof err->filename, "%s", path);
    message_make_utf8(err->filename);
    return -1;
}

int hc_context(struct hc_error *err, const char *format, ...)
{
    char old[sizeof err->message];
    va_list args;
    size_t used;

    memcpy(old, err->message, sizeof old);
    va_start(args, format);
    (void)vsnprintf(err->message, sizeof err->message, format, args);
    va_end(args);
    used = strlen(err->message);
    (void)snprintf(err->message + used, sizeof err->message - used, ": %s", old);
    message_make_utf8(err->message);
    return -1;
}
