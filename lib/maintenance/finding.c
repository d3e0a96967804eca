/* SPDX-License-Identifier: Apache-2.0 */
#include <hubcache/finding.h>

#include <stddef.h>

static const char *const kind_names[HC_FINDING_KINDS] = {
    [HC_CORRUPT_BLOB] = "corrupt_blob",
    [HC_UNVERIFIABLE_BLOB] = "unverifiable_blob",
    [HC_UNREADABLE_BLOB] = "unreadable_blob",
    [HC_DANGLING_POINTER] = "dangling_pointer",
    [HC_ORPHAN_BLOB] = "orphan_blob",
    [HC_STRAY_TEMPORARY] = "stray_temporary",
    [HC_DANGLING_REF] = "dangling_ref",
    [HC_ORPHAN_PAYLOAD] = "orphan_payload",
};

const char *hc_finding_kind_name(enum hc_finding_kind kind)
{
    return kind > 0 && kind < HC_FINDING_KINDS ? kind_names[kind] : "unknown";
}
