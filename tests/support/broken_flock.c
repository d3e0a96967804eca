/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded (LD_PRELOAD), it gives a program a filesystem whose flock() does not work:
 * it says yes and locks nothing or, with BROKEN_FLOCK=ENOSYS or EOPNOTSUPP, refuses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

__attribute__((visibility("default"))) int flock(int fd, int operation)
{
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes it
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
