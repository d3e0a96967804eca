/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of the Link header. For any input, a target is a part of the value between angle
 * brackets, is the same when another link stands before it, and is found again when empty
 * elements stand around it.
 */
#include "fuzz.h"

#include <base/auto.h>
#include <hub/response.h>

#include <stdio.h>

enum { TARGET_SIZE = 64 };

static void check_target(const char *value, const char *target)
{
    HC_AUTO_FREE char *bracketed = NULL;

    fuzz_require(target[0] && strlen(target) < TARGET_SIZE);
    fuzz_require(!strpbrk(target, "<>"));
    fuzz_require(asprintf(&bracketed, "<%s>", target) > 0);
    fuzz_require(strstr(value, bracketed) != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    HC_AUTO_FREE char *value = fuzz_text(data, size);
    HC_AUTO_FREE char *longer = NULL;
    char target[TARGET_SIZE] = "untouched", again[TARGET_SIZE];
    int found = hc_link_next(value, target, sizeof target);

    fuzz_require(found >= -1 && found <= 1);
    if (found == 1)
        check_target(value, target);
    fuzz_require(asprintf(&longer, " ,</first>; rel=\"first\", %s ,\t,", value) > 0);
    if (found >= 0)
        fuzz_require(hc_link_next(longer, again, sizeof again) == found);
    if (found == 1)
        fuzz_require(strcmp(target, again) == 0);
    return 0;
}
