/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of an in-process hit: resolves one file COUNT times with
 * hc_resolve_file_cached() and prints nanoseconds per answer.
 *
 *     bench_hit CACHE REPO FILENAME REVISION COUNT [caller|warm]
 *
 * With "caller", access is the caller's own (HC_HUB_ACCESS_CALLER): it has no token, so
 * the repo must be known to be public. With "warm", each answer asks for the file to be
 * read ahead.
 * The Hub is never asked: nothing listens on the port of the endpoint, and an answer that
 * the disk alone cannot give ends the program.
 */
#include <hubcache/resolver.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t hit_clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static struct hc_resolver *hit_open_resolver(const char *cache, bool is_access_of_caller,
                                             struct hc_error *err)
{
    struct hc_settings settings = {0};
    struct hc_resolver *resolver = NULL;

    if (hc_settings_load(&settings, err) == 0) {
        free(settings.cache_dir);
        free(settings.endpoint);
        settings.cache_dir = strdup(cache);
        settings.endpoint = strdup("http://127.0.0.1:9");
        settings.max_staleness_ms = INT64_MAX / 2;
        if (is_access_of_caller)
            settings.hub_access = HC_HUB_ACCESS_CALLER;
        resolver = hc_resolver_open(&settings, err);
    }
    hc_settings_clear(&settings);
    return resolver;
}

static int hit_resolve_often(struct hc_resolver *resolver,
                             const struct hc_file_request *request, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        struct hc_file file = {0};
        struct hc_error err = {0};
        int found = hc_resolve_file_cached(resolver, request, &file, &err);

        if (found != 1) {
            (void)fprintf(stderr, "bench_hit: no hit (%d): %s\n", found, err.message);
            return -1;
        }
        hc_file_clear(&file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct hc_error err = {0};

    if (argc != 6 && argc != 7) {
        (void)fprintf(stderr, "usage: bench_hit CACHE REPO FILENAME REVISION COUNT "
                              "[caller|warm]\n");
        return 2;
    }
    struct hc_file_request request = {.repo = {.id = argv[2], .revision = argv[4]},
                                      .filename = argv[3]};
    const char *how = argc == 7 ? argv[6] : "";
    unsigned long count = strtoul(argv[5], NULL, 10);
    struct hc_resolver *resolver =
        hit_open_resolver(argv[1], strcmp(how, "caller") == 0, &err);

    request.options.warm = strcmp(how, "warm") == 0;
    if (!resolver) {
        (void)fprintf(stderr, "bench_hit: %s\n", err.message);
        return 1;
    }

    int64_t start = hit_clock_ns();
    int result = hit_resolve_often(resolver, &request, count);
    int64_t took = hit_clock_ns() - start;

    hc_resolver_close(resolver);
    if (result == 0 && count > 0)
        printf("%.0f\n", (double)took / (double)count);
    return result == 0 ? 0 : 1;
}
