/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See fault_log.h. The kernel knows what a descriptor is called: /proc/self/fd.
 */
#include "fault_log.h"

#include "fault.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    FILE *lines; /* NULL: nothing is written down */
    char *text;
    size_t size;
} record = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void fd_path(char path[PATH_MAX], int fd)
{
    char entry[64];
    ssize_t length;

    (void)snprintf(entry, sizeof entry, "/proc/self/fd/%d", fd);
    length = readlink(entry, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = '\0';
}

static void record_print_name(int dir, const char *path)
{
    char parent[PATH_MAX] = "";

    if (path[0] != '/' && dir != AT_FDCWD)
        fd_path(parent, dir);
    (void)fprintf(record.lines, " %s%s%s", parent, parent[0] ? "/" : "", path);
}

static bool record_begin(const char *call)
{
    (void)pthread_mutex_lock(&record.lock);
    if (record.lines)
        (void)fprintf(record.lines, "%s", call);
    return record.lines != NULL;
}

static void record_end(bool is_on)
{
    if (is_on)
        (void)fputc('\n', record.lines);
    (void)pthread_mutex_unlock(&record.lock);
}

void fault_log_file(const char *call, int fd)
{
    bool is_on = record_begin(call);
    char path[PATH_MAX];

    if (is_on) {
        fd_path(path, fd);
        record_print_name(AT_FDCWD, path);
    }
    record_end(is_on);
}

void fault_log_name(const char *call, int dir, const char *path)
{
    bool is_on = record_begin(call);

    if (is_on)
        record_print_name(dir, path);
    record_end(is_on);
}

void fault_log_names(const char *call, int from_dir, const char *from, int to_dir,
                     const char *to)
{
    bool is_on = record_begin(call);

    if (is_on) {
        record_print_name(from_dir, from);
        record_print_name(to_dir, to);
    }
    record_end(is_on);
}

void fault_record(void)
{
    (void)pthread_mutex_lock(&record.lock);
    record.lines = open_memstream(&record.text, &record.size);
    (void)pthread_mutex_unlock(&record.lock);
}

char *fault_recorded(void)
{
    char *text;

    (void)pthread_mutex_lock(&record.lock);
    (void)fclose(record.lines);
    record.lines = NULL;
    text = record.text;
    (void)pthread_mutex_unlock(&record.lock);
    return text;
}
