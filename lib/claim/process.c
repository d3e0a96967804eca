/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host is told apart by its name, by the first digits of the id that the kernel drew
 * when it booted (two hosts of a cluster may be called "localhost"), and by the pid
 * namespace (two containers of one host may have the same name, and both a process 1).
 * None of that changes while a process lives: it is read once.
 *
 * The start time is field 22 of /proc/<pid>/stat, see proc_pid_stat(5). The second field,
 * the command's name in parentheses, may contain spaces and parentheses itself: counting
 * begins after the last one.
 */
#include "process.h"

#include <base/file.h>
#include <base/text.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

enum { STAT_SIZE = 1024, FIELDS_BEFORE_START = 20, BOOT_DIGITS = 8 };

static pthread_once_t process_host_once = PTHREAD_ONCE_INIT;
static char process_host[HC_PROCESS_HOST_MAX + 1]; /* once known, it stays */

/* 0 when there is no such process. */
static uint64_t process_start_time(uint64_t pid)
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

static void process_find_host(void)
{
    HC_AUTO_CLOSE int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    struct stat namespace = {0};
    char name[HOST_NAME_MAX + 1] = "";
    char boot[BOOT_DIGITS + 1];
    ssize_t count = fd < 0 ? -1 : read(fd, boot, BOOT_DIGITS);

    boot[count > 0 ? count : 0] = '\0';
    if (gethostname(name, sizeof name - 1) < 0)
        name[0] = '\0';
    (void)stat("/proc/self/ns/pid", &namespace);
    (void)hc_format(process_host, sizeof process_host, "%s/%s/%" PRIx64, name, boot,
                    (uint64_t)namespace.st_ino);
}

struct hc_process hc_process_self(void)
{
    struct hc_process self = {.pid = (uint64_t)getpid()};

    (void)pthread_once(&process_host_once, process_find_host);
    memcpy(self.host, process_host, sizeof self.host);
    self.start = process_start_time(self.pid);
    return self;
}

bool hc_process_is_local(const struct hc_process *process)
{
    (void)pthread_once(&process_host_once, process_find_host);
    return strcmp(process->host, process_host) == 0;
}

/* Where /proc hides the processes of other users, kill(2) still tells whether one exists,
 * though not whether it is the same one. */
bool hc_process_is_alive(const struct hc_process *process)
{
    uint64_t start = process_start_time(process->pid);

    if (start == 0)
        return kill((pid_t)process->pid, 0) == 0 || errno == EPERM;
    return start == process->start;
}
