/* SPDX-License-Identifier: Apache-2.0 */
/* The words are the names of the proto file, without their prefix and in lower case. */
#include "finding.h"

const char *hc_finding_kind(const Hubcache__V1__Finding *finding)
{
    static const char *const words[] = {"unknown",           "corrupt_blob",
                                        "unverifiable_blob", "unreadable_blob",
                                        "dangling_pointer",  "orphan_blob",
                                        "stray_temporary",   "dangling_ref",
                                        "orphan_payload"};
    size_t kind = (size_t)finding->kind;

    return kind < sizeof words / sizeof *words ? words[kind] : words[0];
}

json_t *hc_finding_json(const Hubcache__V1__Finding *finding)
{
    json_t *pointers = json_array();

    for (size_t i = 0; i < finding->n_pointers; i++)
        (void)json_array_append_new(pointers, json_string(finding->pointers[i]));
    return json_pack("{ss ss sI ss ss so}", "kind", hc_finding_kind(finding),
                     "cache_path", finding->cache_path, "size_bytes",
                     (json_int_t)finding->size_bytes, "action", finding->action, "actual",
                     finding->actual, "pointers", pointers);
}
