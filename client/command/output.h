/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the command says: answers on standard output, everything else on standard error,
 * and the exit code. Text from the network reaches a terminal, standard error and JSON
 * with control characters and those that turn the direction of text written as \uXXXX; a
 * path that a program reads has the bytes of the path.
 */
#ifndef HC_COMMAND_OUTPUT_H
#define HC_COMMAND_OUTPUT_H

#include <hubcache/error.h>

/* "hubcache: <message>" and, where there is one, the next step. Returns the exit code. */
int hc_output_print_failure(const struct hc_error *err);

/* "hubcache: <message>" for what is no failure. */
void hc_output_print_note(const char *message);

/* "<name>: <value>" on standard output. */
void hc_output_print_field(const char *name, const char *value);

/* A path, a line on standard output: escaped on a terminal only. */
int hc_output_print_path(const char *text, struct hc_error *err);

/* Frees `json`, a line of JSON; NULL is one that could not be made. */
int hc_output_print_json(char *json, struct hc_error *err);

/* Flushes standard output: -1 when somebody did not want or could not take it. */
int hc_output_flush(struct hc_error *err);

/* What to do about a failure, beyond its message; "" when there is nothing to add. */
void hc_output_hint(const struct hc_error *err, char *hint, unsigned size);

#endif
