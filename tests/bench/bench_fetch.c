/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_fetch URL SIZE SHA256 CACHE [CONNECTIONS]: fetches one blob with the transfer
 * engine alone, as hubcached does once it knows the location of the bytes.
 */
#include <base/cancellation.h>
#include <base/error.h>
#include <transfer/transfer.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECTIONS = 16 };

static int fetch_blob(struct hc_transfers *transfers, char **args, struct hc_error *err)
{
    struct hc_repo repo;
    const struct hc_hub_credentials caller = {0};
    const struct hc_blob_request request = {
        .blob = {repo.folder, args[3]},
        .file = {&repo, "0123456789012345678901234567890123456789", "file"},
        .size = strtoull(args[2], NULL, 10),
        .location = args[1]};
    struct hc_blob_result result;

    if (hc_repo_init(&repo, HC_REPO_MODEL, "bench/fetch", err) < 0 ||
        hc_transfers_fetch(transfers, &request, &caller, &result, err) < 0)
        return -1;
    (void)printf("%" PRIu64 " bytes fetched\n", result.fetched_bytes);
    return 0;
}

static int fetch_with_settings(char **args, unsigned connections, struct hc_error *err)
{
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): there is one thread yet */
    char *ca_file = getenv("SSL_CERT_FILE");
    const struct hc_settings settings = {.endpoint = args[1],
                                         .connections = connections,
                                         .ca_file = ca_file,
                                         .metadata_timeout_s = 10,
                                         .download_timeout_s = 10,
                                         .retries = 5,
                                         .retry_base_ms = 250};
    HC_AUTO(hc_cache) *cache = hc_cache_open(args[4], false, err);
    HC_AUTO(hc_hub) *hub = cache ? hc_hub_open(&settings, err) : NULL;
    HC_AUTO(hc_transfers) *transfers =
        hub ? hc_transfers_open(cache, hub, &settings, err) : NULL;

    return transfers ? fetch_blob(transfers, args, err) : -1;
}

int main(int argc, char **argv)
{
    struct hc_error err = {0};
    unsigned connections = CONNECTIONS;

    if (argc != 5 && argc != 6) {
        (void)fprintf(stderr, "usage: bench_fetch URL SIZE SHA256 CACHE [CONNECTIONS]\n");
        return 2;
    }
    if (argc == 6)
        connections = (unsigned)strtoul(argv[5], NULL, 10);
    if (fetch_with_settings(argv, connections, &err) == 0)
        return 0;
    (void)fprintf(stderr, "bench_fetch: %s\n", err.message);
    return 1;
}
