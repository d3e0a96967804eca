/* SPDX-License-Identifier: Apache-2.0 */
/* The lock guards the last result, and is not held during a scan. */
#include "usage_scanner.h"

#include "log.h"

#include <base/cancellation.h>
#include <base/error.h>

#include <string.h>

struct hc_usage_scanner {
    struct hc_resolver *resolver;
    int64_t every_ms;
    struct hc_cancellation *end;
    pthread_t thread;
    struct {
        pthread_mutex_t lock;
        struct hc_usage usage;
        struct hc_fetched_usage fetched;
        bool has_usage, has_fetched;
    } shared;
};

static void scanner_keep(struct hc_usage_scanner *scanner, const struct hc_usage *usage)
{
    struct hc_usage old;

    {
        HC_LOCKED(&scanner->shared.lock);

        old = scanner->shared.usage;
        scanner->shared.usage = *usage;
        scanner->shared.has_usage = true;
    }
    hc_usage_clear(&old);
}

/* What callers have had fetched. */
static void scanner_scan_fetched(struct hc_usage_scanner *scanner)
{
    struct hc_fetched_usage found, old = {0};
    struct hc_error err;

    if (hc_resolver_fetched_usage(scanner->resolver, NULL, scanner->end, &found, &err) ==
        0) {
        HC_LOCKED(&scanner->shared.lock);

        old = scanner->shared.fetched;
        scanner->shared.fetched = found;
        scanner->shared.has_fetched = true;
    } else {
        old = found;
        if (err.reason != HC_CANCELLED)
            HC_LOG(HC_LOG_WARN, "the records of fetched blobs cannot be read",
                   HC_TEXT("error", err.message));
    }
    hc_fetched_usage_clear(&old);
}

/* Returns how long the scan took. */
static int64_t scanner_scan(struct hc_usage_scanner *scanner)
{
    int64_t start_ms = hc_monotonic_ms();
    struct hc_usage usage;
    struct hc_error err;

    if (hc_resolver_scan_usage(scanner->resolver, scanner->end, &usage, &err) == 0) {
        scanner_keep(scanner, &usage);
    } else {
        hc_usage_clear(&usage);
        if (err.reason != HC_CANCELLED)
            HC_LOG(HC_LOG_WARN, "the cache cannot be scanned",
                   HC_TEXT("error", err.message));
    }
    scanner_scan_fetched(scanner);
    return hc_monotonic_ms() - start_ms;
}

static void *scanner_run(void *ctx)
{
    struct hc_usage_scanner *scanner = ctx;
    struct hc_error err;
    int64_t pause_ms;

    do {
        pause_ms = 9 * scanner_scan(scanner);
        if (pause_ms < scanner->every_ms)
            pause_ms = scanner->every_ms;
    } while (hc_cancellation_sleep(scanner->end, pause_ms, &err) == 0);
    return NULL;
}

static void scanner_release(struct hc_usage_scanner *scanner)
{
    hc_usage_clear(&scanner->shared.usage);
    hc_fetched_usage_clear(&scanner->shared.fetched);
    hc_cancellation_free(scanner->end);
    (void)pthread_mutex_destroy(&scanner->shared.lock);
    free(scanner);
}

struct hc_usage_scanner *hc_usage_scanner_open(struct hc_resolver *resolver,
                                               int64_t every_ms, struct hc_error *err)
{
    struct hc_usage_scanner *scanner = calloc(1, sizeof *scanner);

    if (!scanner) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    scanner->resolver = resolver;
    scanner->every_ms = every_ms;
    (void)pthread_mutex_init(&scanner->shared.lock, NULL);
    scanner->end = hc_cancellation_new(HC_NO_DEADLINE);
    if (scanner->end && pthread_create(&scanner->thread, NULL, scanner_run, scanner) == 0)
        return scanner;
    (void)hc_fail(err, HC_INTERNAL, "the system gives no thread to scan the cache");
    scanner_release(scanner);
    return NULL;
}

void hc_usage_scanner_close(struct hc_usage_scanner *scanner)
{
    if (!scanner)
        return;
    hc_cancellation_cancel(scanner->end);
    (void)pthread_join(scanner->thread, NULL);
    scanner_release(scanner);
}

int hc_usage_scanner_read(struct hc_usage_scanner *scanner, size_t repos_max,
                          struct hc_usage *usage, struct hc_error *err)
{
    HC_LOCKED(&scanner->shared.lock);

    *usage = (struct hc_usage){0};
    if (!scanner->shared.has_usage)
        return 0;
    *usage = scanner->shared.usage;
    if (usage->listed > repos_max)
        usage->listed = repos_max;
    usage->repos = calloc(usage->listed + 1, sizeof *usage->repos);
    if (!usage->repos)
        return hc_fail_memory(err);
    if (usage->listed > 0)
        memcpy(usage->repos, scanner->shared.usage.repos,
               usage->listed * sizeof *usage->repos);
    return 1;
}

void hc_usage_scanner_read_fetched(struct hc_usage_scanner *scanner,
                                   hc_fetched_usage_fn fn, void *ctx)
{
    HC_LOCKED(&scanner->shared.lock);

    if (scanner->shared.has_fetched)
        fn(ctx, &scanner->shared.fetched);
}
