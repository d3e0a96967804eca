/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The start time is field 22 of /proc/<pid>/stat. The second field, the command's name in
 * parentheses, may contain spaces and parentheses itself: counting begins after the last.
 */
#include "process.h"

#include <base/file.h>
#include <base/text.h>

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>

enum { STAT_SIZE = 1024, FIELDS_BEFORE_START = 20 };

/* 0 when there is no such process. */
static uint64_t start_of(uint64_t pid)
{
    char path[64];
    char text[STAT_SIZE];
    HC_AUTO_CLOSE int fd = -1;
    ssize_t count;
    const char *field;

    (void)hc_format(path, sizeof path, "/proc/%" PRIu64 "/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    count = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (count <= 0)
        return 0;
    text[count] = '\0';
    field = strrchr(text, ')');
    for (int i = 0; field && i < FIELDS_BEFORE_START; i++)
        field = strchr(field + 1, ' ');
    return field ? strtoull(field, NULL, 10) : 0;
}

struct hc_process hc_process_self(void)
{
    struct hc_process self = {.pid = (uint64_t)getpid()};

    if (gethostname(self.host, sizeof self.host - 1) < 0)
        self.host[0] = '\0';
    self.start = start_of(self.pid);
    return self;
}

bool hc_process_is_local(const struct hc_process *process)
{
    struct hc_process self = hc_process_self();

    return strcmp(process->host, self.host) == 0;
}

bool hc_process_is_alive(const struct hc_process *process)
{
    return process->start != 0 && start_of(process->pid) == process->start;
}
