/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for all files of a batch, before the first byte of the first.
 */
#ifndef HC_RESOLVER_SPACE_ESTIMATE_H
#define HC_RESOLVER_SPACE_ESTIMATE_H

#include "batch.h"

#include <claim/reservation.h>

/* NO_SPACE when the volume has too little; else `*reserve` for as long as it runs, and what
 * of it each job needs. */
int hc_space_estimate_reserve(const struct hc_batch *batch,
                              struct hc_reservation **reserve, struct hc_error *err);

#endif
