/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All that the command prints: answers go to standard output, as paths or as JSON,
 * everything else to standard error. Control characters, and those that turn the
 * direction of text, are written as \\uXXXX in messages, in JSON and, on a terminal, in
 * paths; a program that reads the output gets the bytes of the path. Used by one thread
 * at a time.
 */
#ifndef HC_COMMAND_OUTPUT_H
#define HC_COMMAND_OUTPUT_H

#include <hubcache-client/client.h>

#include <stdint.h>

enum { HC_UNITS_TEXT_MAX = 32, HC_OUTPUT_HINT_MAX = 2560 };

/* "0:42", "1:02:03". */
void hc_duration_format(char text[HC_UNITS_TEXT_MAX], uint64_t seconds);

/* "999 B", "1.5 kB", "12.3 GB": decimal units, as the Hub shows sizes. */
void hc_bytes_format(char text[HC_UNITS_TEXT_MAX], uint64_t bytes);

/*
 * An answer as one line of JSON: the fields of the proto messages under their names
 * there, enums by theirs, 64-bit numbers as numbers, `path` on this machine's mount. The
 * caller frees. NULL when it cannot be made: a path that is not UTF-8, or no memory.
 */
char *hc_output_json_of_file(const struct hc_client_file *file);
char *hc_output_json_of_files(const struct hc_client_files *files);
char *hc_output_json_of_snapshot(const struct hc_client_snapshot *snapshot);
char *hc_output_json_of_info(const struct hc_client_info *info);

/*
 * A failure as one line of JSON: {"error": {…}} with `reason`, `status`, `message`,
 * `hint` ("": none), `exit_code`, `retry_delay_ms` (0: no advice) and `metadata`, which
 * has what is known of the fields of google.rpc.ErrorInfo. The caller frees; NULL as
 * above.
 */
char *hc_output_json_of_failure(const struct hc_error *err, const char *hint,
                                const struct hc_client_repo *repo);

/* Writes to `hint` what to do about a failure, beyond its message; "" for nothing. */
void hc_output_hint(const struct hc_error *err, char *hint, unsigned size);

/* Prints "hubcache: <message>" and the hint, unless it is "". Returns the exit code. */
int hc_output_print_failure(const struct hc_error *err, const char *hint);

/* Prints "hubcache: <message>" for what is no failure. */
void hc_output_print_note(const char *message);

/* Flushes standard output. INTERNAL when its reader has gone or its disk is full. */
int hc_output_flush(struct hc_error *err);

/* Prints "<name>: <value>" on standard output. */
void hc_output_print_field(const char *name, const char *value);

/* Prints a path on a line of its own, and flushes. */
int hc_output_print_path(const char *text, struct hc_error *err);

/* Prints and frees a line of JSON, and flushes. INTERNAL when `json` is NULL. */
int hc_output_print_json(char *json, struct hc_error *err);

#endif
