/* SPDX-License-Identifier: Apache-2.0 */
#include "verify_counts.h"

#include "exposition.h"
#include "log.h"

void hc_verify_counts_add_finding(struct hc_verify_counts *counts,
                                  const struct hc_finding *finding)
{
    atomic_fetch_add(&counts->findings[finding->kind], 1);
    if (finding->kind == HC_CORRUPT_BLOB)
        HC_LOG(HC_LOG_ERROR, "corrupt blob", HC_TEXT("path", finding->cache_path),
               HC_NUMBER("bytes", finding->size_bytes),
               HC_TEXT("actual", finding->actual), HC_TEXT("action", finding->action));
    else if (finding->kind == HC_UNREADABLE_BLOB)
        HC_LOG(HC_LOG_ERROR, "unreadable blob", HC_TEXT("path", finding->cache_path),
               HC_TEXT("action", finding->action));
    else if (finding->action[0])
        HC_LOG(HC_LOG_WARN, "finding",
               HC_TEXT("kind", hc_finding_kind_name(finding->kind)),
               HC_TEXT("path", finding->cache_path), HC_TEXT("action", finding->action));
}

void hc_verify_counts_follow(struct hc_verify_counts *counts,
                             struct hc_verified *verified, uint64_t blobs, uint64_t bytes)
{
    atomic_fetch_add(&counts->blobs, blobs - verified->blobs);
    atomic_fetch_add(&counts->bytes, bytes - verified->bytes);
    *verified = (struct hc_verified){blobs, bytes};
}

void hc_verify_counts_end(struct hc_verify_counts *counts, struct hc_verified *verified,
                          const struct hc_verify_result *result)
{
    hc_verify_counts_follow(counts, verified, result->blobs, result->bytes);
    atomic_fetch_add(&counts->repaired, result->repaired);
    atomic_fetch_add(&counts->not_repaired, result->not_repaired);
}

void hc_verify_counts_write(struct hc_verify_counts *counts, FILE *out)
{
    static const char repairs[] = "hubcache_repaired_files_total";

    hc_exposition_counter(out, "hubcache_verified_blobs_total",
                          "Blobs that verifications and scrubs have hashed.",
                          atomic_load(&counts->blobs));
    hc_exposition_counter(out, "hubcache_verified_bytes_total", "Bytes of them.",
                          atomic_load(&counts->bytes));
    hc_exposition_head(out, "hubcache_findings_total", "counter",
                       "What they have found, by kind.");
    for (int kind = 1; kind < HC_FINDING_KINDS; kind++)
        hc_exposition_sample(out, "hubcache_findings_total", "kind",
                             hc_finding_kind_name((enum hc_finding_kind)kind),
                             atomic_load(&counts->findings[kind]));
    hc_exposition_head(out, repairs, "counter",
                       "Files that they have fetched again, by result.");
    hc_exposition_sample(out, repairs, "result", "fetched",
                         atomic_load(&counts->repaired));
    hc_exposition_sample(out, repairs, "result", "failed",
                         atomic_load(&counts->not_repaired));
}
