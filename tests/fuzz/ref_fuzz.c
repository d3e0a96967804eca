/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contents of refs, which any client of the cache may have written.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <cache/ref.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *content = fuzz_text(data, size);
    char commit[HC_COMMIT_SIZE];

    if (hc_ref_parse(content, commit))
        fuzz_require(hc_commit_is_valid(commit));
    return 0;
}
