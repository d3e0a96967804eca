/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File names, "<subfolder>\n<file name>". A path that is accepted stays below its folder,
 * and is accepted unchanged when it is checked again.
 */
#include "fuzz.h"

#include <base/error.h>
#include <base/text.h>
#include <repo/name.h>

static void check_path(const char *path)
{
    fuzz_require(path[0] && path[0] != '/' && !hc_text_ends(path, "/"));
    fuzz_require(!strstr(path, "//") && hc_text_is_utf8(path) &&
                 hc_text_is_printable(path));
    fuzz_require(strcmp(path, "..") != 0 && !hc_text_starts(path, "../"));
    fuzz_require(!strstr(path, "/../") && !hc_text_ends(path, "/.."));
    fuzz_require(hc_filename_is_safe(path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *subfolder = fuzz_text(data, size);
    const char *filename = fuzz_cut_line(subfolder);
    char path[HC_FILENAME_MAX + 1];
    struct hc_error err;

    if (hc_filename_join(subfolder, filename ? filename : "", path, &err) == 0) {
        check_path(path);
        return 0;
    }
    fuzz_require(err.reason == HC_INVALID_FILENAME && err.field[0]);
    fuzz_require(hc_text_is_utf8(err.message) && hc_text_is_printable(err.message));
    return 0;
}
