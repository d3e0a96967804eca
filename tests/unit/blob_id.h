/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The blob of a fixture's repo that has an etag, as functions take it.
 */
#ifndef HC_UNIT_BLOB_ID_H
#define HC_UNIT_BLOB_ID_H

#include <repo/blob_request.h>

#define BLOB_OF(f, tag) (&(const struct hc_blob_id){(f)->repo.folder, (tag)})

#endif
