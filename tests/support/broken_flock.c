/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD that makes flock() useless, as on some file systems: it
 * succeeds and locks nothing or, with BROKEN_FLOCK=ENOSYS or EOPNOTSUPP, fails with that
 * errno.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

__attribute__((visibility("default"))) int flock(int fd, int operation)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): the environment does not change
    const char *how = getenv("BROKEN_FLOCK");

    (void)fd, (void)operation;
    if (how && strcmp(how, "ENOSYS") == 0)
        errno = ENOSYS;
    else if (how && strcmp(how, "EOPNOTSUPP") == 0)
        errno = EOPNOTSUPP;
    else
        return 0;
    return -1;
}
