/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The main() of a fuzz target for compilers without libFuzzer: replays every file of the
 * directories named on the command line, and the empty input.
 */
#include "fuzz.h"

#include <base/auto.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

/* 1 replayed, 0 no regular file, -1. */
static int replay_input(int dir, const char *name)
{
    HC_AUTO_CLOSE int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    HC_AUTO_FREE uint8_t *bytes = NULL;
    struct stat status;

    if (fd < 0 || fstat(fd, &status) < 0)
        return -1;
    if (!S_ISREG(status.st_mode))
        return 0;
    bytes = malloc((size_t)status.st_size + 1);
    if (!bytes || read(fd, bytes, (size_t)status.st_size) != status.st_size)
        return -1;
    (void)LLVMFuzzerTestOneInput(bytes, (size_t)status.st_size);
    return 1;
}

/* The number of files replayed; -1 when one could not be read. */
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
