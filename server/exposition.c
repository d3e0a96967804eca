/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers of the process are the kernel's, from /proc/self (proc(5)). What cannot be
 * read has no line.
 */
#include "exposition.h"

#include <base/text.h>

#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

void hc_exposition_head(FILE *out, const char *name, const char *type, const char *help)
{
    (void)fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_one(FILE *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    hc_exposition_head(out, name, type, help);
    (void)fprintf(out, "%s %" PRIu64 "\n", name, value);
}

void hc_exposition_counter(FILE *out, const char *name, const char *help, uint64_t value)
{
    write_one(out, name, "counter", help, value);
}

void hc_exposition_gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
    write_one(out, name, "gauge", help, value);
}

void hc_exposition_seconds(FILE *out, const char *name, const char *help, uint64_t ms)
{
    hc_exposition_head(out, name, "counter", help);
    (void)fprintf(out, "%s %" PRIu64 ".%03" PRIu64 "\n", name, ms / 1000, ms % 1000);
}

/* The format knows three escapes and no others; the rest must be UTF-8. */
void hc_exposition_label(FILE *out, const char *value)
{
    while (*value) {
        size_t length = hc_text_utf8_length(value);

        if (length == 0)
            (void)fputc('?', out);
        else if (*value == '\n')
            (void)fputs("\\n", out);
        else if (*value == '"' || *value == '\\')
            (void)fprintf(out, "\\%c", *value);
        else
            (void)fwrite(value, 1, length, out);
        value += length > 0 ? length : 1;
    }
}

void hc_exposition_sample(FILE *out, const char *name, const char *label,
                          const char *value, uint64_t number)
{
    (void)fprintf(out, "%s{%s=\"", name, label);
    hc_exposition_label(out, value);
    (void)fprintf(out, "\"} %" PRIu64 "\n", number);
}

void hc_exposition_results(FILE *out, const char *name, const char *help,
                           uint64_t succeeded, uint64_t failed)
{
    hc_exposition_head(out, name, "counter", help);
    hc_exposition_sample(out, name, "result", "success", succeeded);
    hc_exposition_sample(out, name, "result", "failure", failed);
}

/* ---- the process ------------------------------------------------------------------- */

/* What of /proc/self/stat is shown; times are in clock ticks. */
struct process_stat {
    unsigned long user, system;
    long threads;
    unsigned long bytes;
    long resident_pages;
};

/* The second field, the name in parentheses, may contain anything. */
static bool process_stat_read(struct process_stat *stat)
{
    char text[1024];
    FILE *file = fopen("/proc/self/stat", "re");
    size_t size = file ? fread(text, 1, sizeof text - 1, file) : 0;
    const char *name_end;

    if (file)
        (void)fclose(file);
    text[size] = '\0';
    name_end = strrchr(text, ')');
    return name_end &&
           sscanf(name_end + 1, /* NOLINT(cert-err34-c): the kernel wrote it */
                  " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d "
                  "%*d %*d %*d %ld %*d %*u %lu %ld",
                  &stat->user, &stat->system, &stat->threads, &stat->bytes,
                  &stat->resident_pages) == 5;
}

static void write_process_stat(FILE *out, const struct process_stat *stat)
{
    uint64_t ticks = (uint64_t)sysconf(_SC_CLK_TCK);

    hc_exposition_seconds(out, "process_cpu_seconds_total",
                          "Processor time that the process has used.",
                          (stat->user + stat->system) * 1000 / ticks);
    hc_exposition_gauge(out, "process_threads", "Threads.", (uint64_t)stat->threads);
    hc_exposition_gauge(out, "process_virtual_memory_bytes", "Address space.",
                        stat->bytes);
    hc_exposition_gauge(out, "process_resident_memory_bytes", "Memory.",
                        (uint64_t)stat->resident_pages * (uint64_t)sysconf(_SC_PAGESIZE));
}

/* Without ".", "..", and the descriptor that this needs. */
static uint64_t count_descriptors(void)
{
    uint64_t count = 0;
    DIR *dir = opendir("/proc/self/fd");

    while (dir && readdir(dir))
        count++;
    if (dir)
        (void)closedir(dir);
    return count > 3 ? count - 3 : 0;
}

void hc_exposition_process(FILE *out, int64_t started_s)
{
    struct process_stat stat;
    struct rlimit limit;
    struct mallinfo2 memory = mallinfo2();

    hc_exposition_gauge(out, "process_start_time_seconds",
                        "When the process started, since the epoch.",
                        (uint64_t)started_s);
    if (process_stat_read(&stat))
        write_process_stat(out, &stat);
    hc_exposition_gauge(out, "hubcache_allocated_bytes",
                        "Memory that is in use, without what the allocator keeps.",
                        memory.uordblks + memory.hblkhd);
    hc_exposition_gauge(out, "process_open_fds", "Open descriptors.",
                        count_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        hc_exposition_gauge(out, "process_max_fds", "Descriptors that may be open.",
                            limit.rlim_cur);
}
