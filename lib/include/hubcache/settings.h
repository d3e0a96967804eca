/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of a resolver, with the defaults that the variables of the Hub's own
 * clients give. The struct owns its strings; to replace one, free() it and strdup() the
 * new one. No function here is thread-safe: they read the environment, and are for
 * start-up. hc_resolver_open() copies what it needs.
 */
#ifndef HUBCACHE_SETTINGS_H
#define HUBCACHE_SETTINGS_H

#include <hubcache/error.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which callers get what is cached of a repo that is private or gated. */
enum hc_hub_access {
    HC_HUB_ACCESS_SERVER, /* all: what the resolver's token fetched is for every caller */
    /* Those to whom the Hub itself gives it, by their own token. The resolver's token is
     * not used: what a caller has none for, it gets if the repo is public */
    HC_HUB_ACCESS_CALLER
};

struct hc_settings {
    char *cache_dir; /* Required. The cache root: HF_HUB_CACHE */

    /* Required. The Hub's base URL, without a trailing slash: HF_ENDPOINT */
    char *endpoint;

    char *token;      /* Optional: HF_TOKEN. Wins over token_file */
    char *token_file; /* Optional: HF_TOKEN_PATH. Read anew for each request; when it held
                         a token and lost it, requests fail instead of going without */

    /* Optional: put after "hubcache/<version>; ": HF_HUB_USER_AGENT_ORIGIN */
    char *user_agent;

    /* Optional: the certificate authorities, instead of the system's: a PEM file or
       a directory as OpenSSL keeps it, or several with colons between: SSL_CERT_FILE,
       SSL_CERT_DIR, else REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE */
    char *ca_file;

    char **local_roots; /* Optional: directories in which repo ids may be found */
    size_t local_root_count;

    /* Optional: base URLs to ask when the endpoint is unreachable or asks for a pause. A
     * mirror is never asked which commit a revision is when the endpoint has answered
     * that before, nor anything about a repo that is private or gated */
    char **mirrors;
    size_t mirror_count;

    /* Follow redirects of a public endpoint to private addresses too. When the endpoint
     * or a mirror is itself at a private address, they are followed in any case */
    bool allow_private_redirects;

    bool offline;           /* HF_HUB_OFFLINE, else TRANSFORMERS_OFFLINE */
    bool no_symlinks;       /* HF_HUB_DISABLE_SYMLINKS */
    bool no_implicit_token; /* HF_HUB_DISABLE_IMPLICIT_TOKEN: neither token nor file */

    /* Seconds for one answer about a file, 10; a listing may take 30 times as long:
       HF_HUB_ETAG_TIMEOUT */
    unsigned metadata_timeout_s;

    /* Seconds without a byte, or with fewer than 1024 a second, that end one request for
       bytes, 10: HF_HUB_DOWNLOAD_TIMEOUT */
    unsigned download_timeout_s;

    /* Limits of this process: requests to the endpoint, and bytes that arrive; 0: none */
    unsigned requests_per_second;
    uint64_t bytes_per_second;

    int64_t max_staleness_ms; /* how old an answer of the Hub may be; 60000 */
    unsigned retries;         /* how often a request is sent again; 5 */
    unsigned retry_base_ms; /* the pause before the first retry; 250, doubles up to 8 s */
    unsigned snapshot_workers; /* files of one snapshot at a time; 0: `connections` */
    unsigned connections;      /* at most, for the bytes of all downloads together; 16 */

    /* Bytes of memory for all downloads together; when it is short, fewer connections are
       used */
    uint64_t download_memory;

    /* Blobs of more bytes are downloaded in segments, over several connections */
    uint64_t min_split_size;

    /* Bytes of memory for listings of commits that no call uses just now; calls share
     * them */
    uint64_t tree_memory;

    /*
     * How old what is remembered of the volume may be, for hc_resolve_*_remembered(); 0:
     * nothing is remembered. Meanwhile an answer may name a path that another client of
     * the volume has just removed, or the commit that a ref named before. What this
     * process writes or removes counts at once. On a volume where a look at a file takes
     * less than a tenth of a millisecond, it is 64 times the look, if that is less
     */
    int64_t confirm_after_ms;

    enum hc_hub_access hub_access;

    /* With HC_HUB_ACCESS_CALLER: how long the Hub's word that a caller has access is
     * good; while the Hub cannot be reached, once more as long. Its refusal is for ten
     * seconds, or this, if that is less. 0: the Hub is asked for each request */
    int64_t hub_access_ttl_ms;

    /* Bytes of the volume that the cache may take, of all processes together, and bytes
     * of the volume that stay free; 0: no limit. What was used least recently is evicted
     * for a download that needs the room */
    uint64_t cache_limit;
    uint64_t free_floor;

    /* After how long without progress a download of another process is taken over */
    int64_t takeover_ms;

    char *policy_file; /* Optional: which caller may have what: docs/policy.md. See
                          hc_resolver_load_policy() */

    int64_t max_lease_ms;       /* see <hubcache/lease.h>; 24 hours */
    unsigned leases_per_caller; /* at most; 10000 */
};

/* The defaults; but for the last two, they also stand for zero. */
enum {
    HC_TREE_MEMORY = 64 * 1024 * 1024,
    HC_DOWNLOAD_MEMORY = 32 * 1024 * 1024,
    HC_MIN_SPLIT_SIZE = 64 * 1024 * 1024,
    HC_TAKEOVER_MS = 30000,
    HC_MAX_LEASE_MS = 24 * 3600 * 1000,
    HC_LEASES_PER_CALLER = 10000,
    HC_HUB_ACCESS_TTL_MS = 600 * 1000,
    HC_CONFIRM_AFTER_MS = 1000
};

/*
 * Fills `settings` from the process environment by the reference client's rules
 * (spec/hub-cache.md §2.6, §2.7): HF_HOME, HF_HUB_CACHE (HUGGINGFACE_HUB_CACHE),
 * XDG_CACHE_HOME, HF_ENDPOINT, HF_TOKEN (HUGGING_FACE_HUB_TOKEN), HF_TOKEN_PATH,
 * HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, HF_HUB_ETAG_TIMEOUT, HF_HUB_DOWNLOAD_TIMEOUT,
 * HF_HUB_DISABLE_SYMLINKS, HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_USER_AGENT_ORIGIN, and
 * those that its HTTP libraries read for `ca_file`. Fails with INVALID_OPTIONS where the
 * reference client fails to start (a timeout that is no integer). hc_settings_clear()
 * what was filled, also after a failure.
 */
HC_PUBLIC int hc_settings_load(struct hc_settings *settings, struct hc_error *err);

/* Appends a copy of `dir`. */
HC_PUBLIC int hc_settings_add_local_root(struct hc_settings *settings, const char *dir,
                                         struct hc_error *err);

/* Appends a copy of `url`. Mirrors are asked in this order, and never get a token. */
HC_PUBLIC int hc_settings_add_mirror(struct hc_settings *settings, const char *url,
                                     struct hc_error *err);

HC_PUBLIC void hc_settings_clear(struct hc_settings *settings);

#ifdef __cplusplus
}
#endif

#endif
