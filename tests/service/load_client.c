/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load-client ADDRESS REPO FILENAME: resolves the file through the client library, over
 * and over, in THREADS threads, until standard input ends. Then prints "CALLS FAILED"
 * and, if there is one, the first failure.
 */
#include <hubcache-client/client.h>

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 4, TIMEOUT_MS = 15000 };

struct load {
    struct hc_client *client;
    const char *repo, *filename;
    atomic_bool is_over;
    atomic_uint calls, failed;
    struct hc_error first; /* of the thread that counted the first one */
};

static void *load_thread_run(void *ctx)
{
    struct load *load = ctx;

    while (!atomic_load(&load->is_over)) {
        struct hc_client_file_request request = {.repo = {.id = load->repo},
                                                 .filename = load->filename};
        struct hc_client_file file = {0};
        struct hc_error err;

        request.fetch.has_max_staleness = atomic_fetch_add(&load->calls, 1) % 4 == 0;
        if (hc_client_resolve_file(load->client, &request, &file, &err) == 0)
            hc_client_file_clear(&file);
        else if (atomic_fetch_add(&load->failed, 1) == 0)
            load->first = err;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct load load;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN | POLLHUP};
    pthread_t threads[THREADS];
    struct hc_error err;

    if (argc != 4)
        return EXIT_FAILURE;
    load.client = hc_client_open(&(struct hc_client_options){.server = argv[1],
                                                             .timeout_ms = TIMEOUT_MS},
                                 &err);
    load.repo = argv[2];
    load.filename = argv[3];
    if (!load.client)
        return EXIT_FAILURE;
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, load_thread_run, &load) != 0)
            return EXIT_FAILURE;
    }
    (void)poll(&input, 1, -1);
    atomic_store(&load.is_over, true);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    (void)printf("%u %u %s %s\n", atomic_load(&load.calls), atomic_load(&load.failed),
                 hc_reason_name(load.first.reason), load.first.message);
    hc_client_close(load.client);
    return EXIT_SUCCESS;
}
