/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The time of a lookup in an open snapshot: asks COUNT times for the path of a file, with
 * hc_client_snapshot_file() or, with "rpc", with hc_client_resolve_file(), and prints
 * nanoseconds per answer and allocations per answer.
 *
 *     bench_snapshot SERVER MOUNT REPO FILENAME COUNT [rpc]
 */
#include <hubcache-client/snapshot.h>

#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Calls of malloc(3) by this program's own code and what is linked into it. */
static _Atomic unsigned long allocations;

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}

static int64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int look_often(const struct hc_client_open_snapshot *snapshot,
                      const char *filename, unsigned long count, struct hc_error *err)
{
    char path[4096];

    for (unsigned long i = 0; i < count; i++) {
        if (hc_client_snapshot_file(snapshot, filename, path, sizeof path, err) != 1)
            return -1;
    }
    return 0;
}

static int ask_often(struct hc_client *client,
                     const struct hc_client_file_request *request, unsigned long count,
                     struct hc_error *err)
{
    for (unsigned long i = 0; i < count; i++) {
        struct hc_client_file file;

        if (hc_client_resolve_file(client, request, &file, err) < 0)
            return -1;
        hc_client_file_clear(&file);
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct hc_error err = {0};

    if (argc != 6 && argc != 7) {
        (void)fprintf(stderr, "usage: bench_snapshot SERVER MOUNT REPO FILENAME COUNT "
                              "[rpc]\n");
        return 2;
    }
    const struct hc_client_options options = {.server = argv[1], .mount = argv[2]};
    const struct hc_client_file_request file = {.repo = {.id = argv[3]},
                                                .filename = argv[4]};
    const struct hc_client_snapshot_request request = {.repo = {.id = argv[3]}};
    unsigned long count = strtoul(argv[5], NULL, 10), before;
    struct hc_client *client = hc_client_open(&options, &err);
    struct hc_client_open_snapshot *snapshot =
        client ? hc_client_snapshot_open(client, &request, &err) : NULL;
    int64_t began_ns = clock_ns();
    int result = -1;

    before = allocations;
    if (snapshot)
        result = argc == 7 ? ask_often(client, &file, count, &err)
                           : look_often(snapshot, argv[4], count, &err);
    if (result < 0)
        (void)fprintf(stderr, "bench_snapshot: %s\n", err.message);
    else if (count > 0)
        printf("%.1f %.2f\n", (double)(clock_ns() - began_ns) / (double)count,
               (double)(allocations - before) / (double)count);
    hc_client_snapshot_close(snapshot);
    hc_client_close(client);
    return result < 0;
}
