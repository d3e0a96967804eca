/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Helpers of the fuzz targets. A target is LLVMFuzzerTestOneInput(), which aborts when
 * its parser breaks a promise. Each runs in one thread.
 */
#ifndef HC_FUZZ_FUZZ_H
#define HC_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_require(bool is_true)
{
    if (!is_true)
        abort();
}

/* The input as a text, which ends at the first NUL; the caller frees. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);

    fuzz_require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    return text;
}

/* Cuts `text` at its first newline. Returns the second part, NULL when there is none. */
static inline char *fuzz_cut_line(char *text)
{
    char *newline = strchr(text, '\n');

    if (!newline)
        return NULL;
    *newline = '\0';
    return newline + 1;
}

#endif
