/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ETag headers. An etag that is accepted names one file in blobs/ and nothing else.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <repo/name.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *header = fuzz_text(data, size);
    char etag[HC_ETAG_MAX + 1];

    if (!hc_etag_parse(header, etag))
        return 0;
    fuzz_require(etag[0] && !strchr(etag, '/') && strcmp(etag, ".") != 0);
    fuzz_require(strcmp(etag, "..") != 0 && strstr(header, etag) &&
                 hc_etag_is_valid(etag));
    return 0;
}
