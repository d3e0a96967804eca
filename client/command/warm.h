/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --warm: the files of an answer are read ahead into the page cache of this machine,
 * after the answer is printed. Used by the main thread.
 */
#ifndef HC_COMMAND_WARM_H
#define HC_COMMAND_WARM_H

#include "resolve_options.h"

#include <hubcache-client/client.h>

#include <stddef.h>

/* Nothing without --warm, and in a dry run. That it fails is no failure. */
void hc_warm_files(const struct hc_resolve_options *options,
                   const struct hc_client_file *files, size_t count);

#endif
