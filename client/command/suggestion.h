/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command that a caller means who names a repo as other programs do: with its type
 * ("datasets/org/name"), with its revision ("org/name@v1"), as an hf:// name, or by the
 * address of its page. Callable from any thread.
 */
#ifndef HC_COMMAND_SUGGESTION_H
#define HC_COMMAND_SUGGESTION_H

#include "resolve_options.h"

#include <stdbool.h>
#include <stddef.h>

enum { HC_SUGGESTION_MAX = 2048 };

/* Whether a repo is named by an address, which no id is, and no directory. */
bool hc_suggestion_is_address(const char *repo);

/*
 * Writes the command, quoted for a shell: `subcommand` with the repo's id, the names of
 * files, and the options that the name of the repo stands for. False, and "", when the
 * repo is named in none of these ways.
 */
bool hc_suggestion_make(const char *subcommand, const struct hc_resolve_options *options,
                        char text[HC_SUGGESTION_MAX]);

#endif
