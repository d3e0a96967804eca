/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids of leases, which callers send, and the contents of their files, which any client of
 * the cache may have written.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <claim/lease_record.h>
#include <repo/name.h>

#include <string.h>

static void fuzz_id(const char *id)
{
    struct hc_lease lease;
    struct hc_repo repo, parsed;

    if (!hc_lease_id_parse(id, &lease, &repo))
        return;
    fuzz_require(strcmp(lease.id, id) == 0);
    fuzz_require(hc_commit_is_valid(lease.commit_hash));
    fuzz_require(hc_lease_name_is_valid(hc_lease_id_name(id)));
    fuzz_require(hc_repo_parse_folder(&parsed, repo.folder));
    fuzz_require(!strchr(id, '/'));
}

static void fuzz_content(const char *content, size_t size)
{
    struct hc_lease lease = {0};

    hc_lease_record_parse(&lease, content, size);
    fuzz_require(strlen(lease.kind) < sizeof lease.kind);
    fuzz_require(strlen(lease.caller) < sizeof lease.caller);
    fuzz_require(strlen(lease.pod) < sizeof lease.pod);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *text = fuzz_text(data, size);

    fuzz_id(text);
    fuzz_content(text, strlen(text));
    return 0;
}
