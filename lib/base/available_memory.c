/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control group is bound by the limits of all groups above it. In a container the
 * process sees its own group as the root of /sys/fs/cgroup; on a machine, the root group
 * has no limit, and no file that would say one.
 */
#include "available_memory.h"

#include "file.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

enum { TEXT_SIZE = 16 * 1024, BYTES_PER_KB = 1024 };

/* The text of "<root><directory><name>", "" when there is none. Files of /proc do not say
 * how long they are. */
static void system_file_read(const char *root, const char *directory, const char *name,
                             char text[TEXT_SIZE])
{
    HC_AUTO_CLOSE int fd = -1;
    char path[PATH_MAX];
    ssize_t length = 0;

    if (hc_format(path, sizeof path, "%s%s%s", root, directory, name) >= 0)
        fd = hc_file_open_linked(AT_FDCWD, path);
    if (fd >= 0)
        length = hc_file_read_all(fd, text, TEXT_SIZE - 1);
    text[length > 0 ? length : 0] = '\0';
}

/* The rest of the line of `text` that begins with `key`; NULL: there is none. */
static const char *line_find(const char *text, const char *key)
{
    while (text && !hc_text_starts(text, key)) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    return text ? text + strlen(key) : NULL;
}

static bool number_parse(const char *text, uint64_t *number)
{
    char *end;

    if (!text)
        return false;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return errno == 0 && end != text;
}

/* What the limit of the group leaves; UINT64_MAX: it has none. */
static uint64_t group_left(const char *root, const char *group)
{
    char directory[PATH_MAX], text[TEXT_SIZE];
    uint64_t limit, used, of_files = 0;

    if (hc_format(directory, sizeof directory, "/sys/fs/cgroup%s", group) < 0)
        return UINT64_MAX;
    system_file_read(root, directory, "/memory.max", text);
    if (!number_parse(text, &limit)) /* "max" is none */
        return UINT64_MAX;
    system_file_read(root, directory, "/memory.current", text);
    if (!number_parse(text, &used))
        used = 0;
    system_file_read(root, directory, "/memory.stat", text);
    (void)number_parse(line_find(text, "file "), &of_files);
    used -= of_files < used ? of_files : used;
    return limit > used ? limit - used : 0;
}

/* Of the process's group and of each above it, the least. */
static uint64_t groups_left(const char *root)
{
    char text[TEXT_SIZE];
    uint64_t least, left;
    const char *found;
    char *group;

    system_file_read(root, "/proc/self", "/cgroup", text);
    found = line_find(text, "0::/");
    if (!found)
        return group_left(root, "");
    group = text + (found - text) - 1; /* with its slash */
    group[strcspn(group, "\n")] = '\0';
    least = group_left(root, "");
    while (strcmp(group, "/") != 0 && group[0]) {
        left = group_left(root, group);
        least = left < least ? left : least;
        *strrchr(group, '/') = '\0';
    }
    return least;
}

uint64_t hc_available_memory(const char *root)
{
    char text[TEXT_SIZE];
    uint64_t kilobytes, left;

    system_file_read(root, "/proc", "/meminfo", text);
    if (!number_parse(line_find(text, "MemAvailable:"), &kilobytes))
        return 0;
    left = groups_left(root);
    return left < kilobytes * BYTES_PER_KB ? left : kilobytes * BYTES_PER_KB;
}
