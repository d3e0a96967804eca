/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_listing CACHE FILES CALLERS PATTERNS: writes the listing of a commit of FILES
 * files to the empty directory CACHE. Then CALLERS threads ask one resolver at once which
 * files PATTERNS patterns select; each thread has patterns of its own. Nothing is
 * fetched. Prints the time that all took, and the peak memory of the process.
 */
#include <hubcache/resolver.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define COMMIT "0123456789012345678901234567890123456789"

enum { CALLERS_MAX = 256, PATTERN_SIZE = 64 };

struct caller {
    struct hc_resolver *resolver;
    pthread_barrier_t *start;
    pthread_t thread;
    size_t number;
    size_t patterns;
    int result;
    struct hc_error err;
};

static int write_listing(const char *dir, unsigned long files)
{
    char path[4096];
    FILE *out;

    (void)snprintf(path, sizeof path, "%s/models--bench--listing", dir);
    if (mkdir(path, 0777) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/models--bench--listing/trees", dir);
    if (mkdir(path, 0777) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "%s/models--bench--listing/trees/" COMMIT ".json",
                   dir);
    out = fopen(path, "we");
    if (!out)
        return -1;
    (void)fputs("{\n \"format_version\": 1,\n \"files\": {", out);
    for (unsigned long i = 0; i < files; i++)
        (void)fprintf(out,
                      "%s\n  \"data/train-%06lu.parquet\": {\n   \"size\": %lu,\n"
                      "   \"blob_id\": \"%040lx\"\n  }",
                      i > 0 ? "," : "", i, i, i);
    (void)fputs("\n }\n}", out);
    return fclose(out);
}

/* The first pattern selects one file, whose number is that of the thread. */
static void *listing_thread(void *ctx)
{
    struct caller *caller = ctx;
    char(*patterns)[PATTERN_SIZE] = calloc(caller->patterns, sizeof *patterns);
    const char **list = calloc(caller->patterns, sizeof *list);
    struct hc_snapshot_request request = {.repo = {.id = "bench/listing",
                                                   .revision = COMMIT},
                                          .allow_patterns = list,
                                          .allow_count = caller->patterns,
                                          .options = {.dry_run = true}};
    struct hc_snapshot answer;

    for (size_t i = 0; patterns && list && i < caller->patterns; i++) {
        (void)snprintf(patterns[i], sizeof patterns[i],
                       i == 0 ? "data/train-%06zu.*" : "data/*/test-%zu*.json",
                       i == 0 ? caller->number : i);
        list[i] = patterns[i];
    }
    (void)pthread_barrier_wait(caller->start);
    caller->result =
        hc_resolve_snapshot(caller->resolver, &request, NULL, &answer, &caller->err);
    if (caller->result == 0 && answer.file_count != 1)
        caller->result = -1;
    hc_snapshot_clear(&answer);
    free(list);
    free(patterns);
    return NULL;
}

static int listing_run_threads(struct hc_resolver *resolver, size_t count,
                               size_t patterns)
{
    static struct caller callers[CALLERS_MAX];
    pthread_barrier_t start;
    int result = 0;

    (void)pthread_barrier_init(&start, NULL, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        callers[i] = (struct caller){resolver, &start, 0, i, patterns, 0, {0}};
        if (pthread_create(&callers[i].thread, NULL, listing_thread, &callers[i]) != 0)
            abort();
    }
    for (size_t i = 0; i < count; i++) {
        (void)pthread_join(callers[i].thread, NULL);
        if (callers[i].result < 0)
            (void)fprintf(stderr, "caller %zu: %s\n", i, callers[i].err.message);
        result |= callers[i].result;
    }
    (void)pthread_barrier_destroy(&start);
    return result;
}

int main(int argc, char **argv)
{
    struct hc_settings settings;
    struct hc_resolver *resolver = NULL;
    struct hc_error err = {0};
    struct rusage usage;
    int64_t start_ms;
    size_t callers;

    if (argc != 5) {
        (void)fputs("usage: bench_listing CACHE FILES CALLERS PATTERNS\n", stderr);
        return 2;
    }
    callers = strtoul(argv[3], NULL, 10);
    if (callers < 1 || callers > CALLERS_MAX ||
        write_listing(argv[1], strtoul(argv[2], NULL, 10)) < 0 ||
        hc_settings_load(&settings, &err) < 0)
        return 1;
    free(settings.cache_dir);
    settings.cache_dir = strdup(argv[1]);
    settings.offline = true;
    resolver = hc_resolver_open(&settings, &err);
    start_ms = hc_monotonic_ms();
    if (!resolver ||
        listing_run_threads(resolver, callers, strtoul(argv[4], NULL, 10)) < 0) {
        (void)fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    (void)getrusage(RUSAGE_SELF, &usage);
    (void)printf("%s files, %s callers, %s patterns each: %ld ms, %ld KiB\n", argv[2],
                 argv[3], argv[4], (long)(hc_monotonic_ms() - start_ms), usage.ru_maxrss);
    hc_resolver_close(resolver);
    hc_settings_clear(&settings);
    return 0;
}
