/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A main for compilers without libFuzzer: replays every file of the directories named on
 * the command line, and the empty input.
 */
#include "fuzz.h"

#include <base/error.h>
#include <base/file.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>

enum { INPUT_MAX = 64 * 1024 * 1024 };

static int replay_input(int dir, const char *name)
{
    HC_AUTO_FREE char *bytes = NULL;
    size_t size = 0;
    struct hc_error err;
    int found = hc_file_read_whole(dir, name, INPUT_MAX, &bytes, &size, &err);

    if (found < 0)
        return -1;
    if (found > 0)
        (void)LLVMFuzzerTestOneInput((const uint8_t *)bytes, size);
    return found;
}

/* How many files there were; -1 when one could not be read. */
static int replay_folder(const char *path)
{
    HC_AUTO_CLOSEDIR DIR *dir = opendir(path);
    const struct dirent *entry;
    int count = 0;

    if (!dir)
        return -1;
    while ((entry = readdir(dir))) {
        int replayed = replay_input(dirfd(dir), entry->d_name);

        if (replayed < 0)
            return -1;
        count += replayed;
    }
    return count;
}

int main(int argc, char **argv)
{
    (void)LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);

        if (count <= 0) {
            (void)fprintf(stderr, "%s: no inputs: %s\n", argv[i], strerrordesc_np(errno));
            return EXIT_FAILURE;
        }
        (void)printf("%s: %d inputs\n", argv[i], count);
    }
    return EXIT_SUCCESS;
}
