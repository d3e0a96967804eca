/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idle handles are a stack; handles beyond its size are closed when they are returned.
 * The lock guards stack and bandwidth, and is not held while curl makes or ends a handle.
 *
 * libcurl reads none of the variables that name certificate authorities (the curl program
 * does): the path comes from the settings.
 */
#include "http_pool.h"

#include <base/cancellation.h>
#include <base/error.h>
#include <base/text.h>

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { CONNECTIONS_PER_HANDLE = 4 /* hub, storage, and what redirects add */ };

static void curl_close(CURL *curl, CURLM *connections)
{
    curl_easy_cleanup(curl);
    (void)curl_multi_cleanup(connections);
}

static CURL *curl_open(CURLM **connections)
{
    CURL *curl = curl_easy_init();

    *connections = curl_multi_init();
    if (!curl || !*connections) {
        curl_close(curl, *connections);
        return NULL;
    }
    (void)curl_multi_setopt(*connections, CURLMOPT_MAXCONNECTS,
                            (long)CONNECTIONS_PER_HANDLE);
    return curl;
}

/* Whether the list, with colons between its parts, names a directory that is there.
 * OpenSSL reads SSL_CERT_DIR like this, and skips the directories that are not there. */
static bool path_list_has_directory(const char *list)
{
    struct stat info;

    while (*list) {
        const char *end = strchrnul(list, ':');
        HC_AUTO_FREE char *path = strndup(list, (size_t)(end - list));

        if (path && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            return true;
        list = *end ? end + 1 : end;
    }
    return false;
}

static int pool_find_certificates(struct hc_http_pool *pool, const char *path,
                                  struct hc_error *err)
{
    struct stat info;

    if (!path)
        return 0;
    pool->ca_is_directory = path_list_has_directory(path);
    if (!pool->ca_is_directory && stat(path, &info) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "ca_file",
                             "the authorities to trust: cannot read '%s': %s", path,
                             strerrordesc_np(errno));
    pool->ca_path = hc_text_copy(path, err);
    return pool->ca_path ? 0 : -1;
}

/* Sets file and directory, for curl would add the one it was built with to the other; and
 * for a proxy that is spoken to over TLS, which has options of its own. */
static void pool_set_certificates(const struct hc_http_pool *pool, CURL *curl)
{
    const char *file = pool->ca_is_directory ? NULL : pool->ca_path;
    const char *directory = pool->ca_is_directory ? pool->ca_path : NULL;

    if (!pool->ca_path)
        return;
    (void)curl_easy_setopt(curl, CURLOPT_CAINFO, file);
    (void)curl_easy_setopt(curl, CURLOPT_CAPATH, directory);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAINFO, file);
    (void)curl_easy_setopt(curl, CURLOPT_PROXY_CAPATH, directory);
}

/* ---- curl: its copies of requests have tokens ------------------------------------- */

static void curl_free_wiped(void *memory)
{
    if (memory)
        explicit_bzero(memory, malloc_usable_size(memory));
    free(memory);
}

static void *curl_realloc_wiped(void *memory, size_t size)
{
    size_t old = malloc_usable_size(memory); /* 0 for NULL */
    void *moved;

    if (size <= old)
        return memory;
    moved = malloc(size);
    if (!moved || !memory)
        return moved;
    memcpy(moved, memory, old);
    curl_free_wiped(memory);
    return moved;
}

/* A program that has initialised curl before keeps the memory that it chose. */
static void curl_initialise(void)
{
    (void)curl_global_init_mem(CURL_GLOBAL_DEFAULT, malloc, curl_free_wiped,
                               curl_realloc_wiped, strdup, calloc);
}

struct hc_http_pool *hc_http_pool_open(const char *user_agent, const char *ca_file,
                                       uint64_t bytes_per_second, struct hc_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    HC_AUTO(hc_http_pool) *pool = calloc(1, sizeof *pool);

    (void)pthread_once(&once, curl_initialise);
    if (!pool) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    (void)pthread_mutex_init(&pool->shared.lock, NULL);
    pool->shared.bandwidth.per_second = bytes_per_second;
    pool->user_agent = hc_text_copy(user_agent, err);
    if (!pool->user_agent || pool_find_certificates(pool, ca_file, err) < 0)
        return NULL;
    return hc_take(&pool);
}

void hc_http_pool_close(struct hc_http_pool *pool)
{
    if (!pool)
        return;
    for (size_t i = 0; i < pool->shared.idle_count; i++)
        curl_close(pool->shared.idle[i].curl, pool->shared.idle[i].connections);
    (void)pthread_mutex_destroy(&pool->shared.lock);
    free(pool->user_agent);
    free(pool->ca_path);
    free(pool);
}

void hc_http_pool_allow_private(struct hc_http_pool *pool)
{
    atomic_store(&pool->allows_private, true);
}

static CURL *pool_pop(struct hc_http_pool *pool, CURLM **connections)
{
    size_t last;
    HC_LOCKED(&pool->shared.lock);

    if (pool->shared.idle_count == 0)
        return NULL;
    last = --pool->shared.idle_count;
    *connections = pool->shared.idle[last].connections;
    return pool->shared.idle[last].curl;
}

static bool pool_push(struct hc_http_pool *pool, CURL *curl, CURLM *connections)
{
    size_t last;
    HC_LOCKED(&pool->shared.lock);

    if (pool->shared.idle_count == HC_CURL_HANDLES_IDLE_MAX)
        return false;
    last = pool->shared.idle_count++;
    pool->shared.idle[last].curl = curl;
    pool->shared.idle[last].connections = connections;
    return true;
}

CURL *hc_http_pool_borrow(struct hc_http_pool *pool, CURLM **connections)
{
    CURL *curl = pool_pop(pool, connections);

    if (!curl)
        curl = curl_open(connections);
    if (!curl)
        return NULL;
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, pool->user_agent);
    pool_set_certificates(pool, curl);
    return curl;
}

void hc_http_pool_return(struct hc_http_pool *pool, CURL *curl, CURLM *connections)
{
    if (!curl)
        return;
    curl_easy_reset(curl); /* forgets options, keeps connections */
    if (!pool_push(pool, curl, connections))
        curl_close(curl, connections);
}

void hc_http_pool_set_bandwidth(struct hc_http_pool *pool, uint64_t bytes_per_second)
{
    HC_LOCKED(&pool->shared.lock);

    hc_bucket_set_rate(&pool->shared.bandwidth, bytes_per_second);
}

int64_t hc_http_pool_take_bandwidth(struct hc_http_pool *pool, size_t bytes)
{
    HC_LOCKED(&pool->shared.lock);

    return hc_bucket_take(&pool->shared.bandwidth, bytes, hc_monotonic_ms());
}
