/* SPDX-License-Identifier: Apache-2.0 */
/* hubcache evict: makes room in the cache. Used by the main thread. */
#ifndef HC_COMMAND_EVICTION_H
#define HC_COMMAND_EVICTION_H

#include "subcommand.h"

extern const struct hc_subcommand hc_evict_command;

#endif
