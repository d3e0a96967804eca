/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Repo ids. An id that is accepted names one folder below the cache root, and the message
 * of a refusal can be printed.
 */
#include "fuzz.h"

#include <base/text.h>
#include <repo/repo.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *id = fuzz_text(data, size);
    struct hc_repo repo;
    struct hc_error err;

    if (hc_repo_init(&repo, HC_REPO_KERNEL, id, &err) < 0) {
        fuzz_require(err.reason == HC_INVALID_REPO_ID);
        fuzz_require(hc_text_is_utf8(err.message) && hc_text_is_printable(err.message));
        return 0;
    }
    fuzz_require(hc_text_starts(repo.folder, "kernels--") && !strchr(repo.folder, '/'));
    fuzz_require(!strstr(repo.folder, "..") && strcmp(repo.id, id) == 0);
    return 0;
}
