/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings what is missing of a blob, over as many connections as make it faster, and
 * hashes it meanwhile. A small blob comes over one, on the caller's own thread.
 */
#ifndef HC_TRANSFER_SEGMENTED_DOWNLOAD_H
#define HC_TRANSFER_SEGMENTED_DOWNLOAD_H

#include "budget.h"
#include "byte_source.h"

/*
 * 0 when every byte is there. -1 as soon as one failure is final for all, or the caller
 * of `origin` ends; no request is running then, and what has arrived stays.
 */
int hc_segmented_download_run(struct hc_byte_source *source, struct hc_budget *budget,
                              struct hc_error *err);

#endif
