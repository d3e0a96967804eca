/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, closing and sweeping. A resolver owns a copy of its settings, a hub, a policy,
 * a cache, the transfers between hub and cache, the queries that threads share, and the
 * threads that fetch the files of batches. They are opened in this order and closed while
 * no call is running.
 */
#include "access_memory.h"
#include "batch.h"
#include "keep.h"
#include "lease_quota.h"
#include "warm_up.h"

#include <base/free_space.h>
#include <cache/fetched.h>
#include <cache/memo.h>
#include <cache/no_exist.h>
#include <cache/occupancy.h>
#include <cache/proof.h>
#include <cache/roll_out.h>
#include <cache/tree_cache.h>
#include <cache/usage.h>
#include <cache/visibility.h>
#include <claim/claim_record.h>
#include <claim/sweep.h>
#include <hub/shared_query.h>
#include <maintenance/eviction.h>
#include <maintenance/names_ahead.h>
#include <maintenance/prune.h>
#include <maintenance/quarantine_limit.h>
#include <maintenance/removal.h>
#include <maintenance/scrub.h>
#include <maintenance/trash.h>
#include <policy/rules_file.h>

#include <string.h>
#include <sys/statvfs.h>

HC_DEFINE_AUTO(hc_resolver, hc_resolver_close)

enum {
    MARKERS_EVERY_MS = 3600 * 1000,
    LOOKUP_THREADS = 64, /* of which one repo has half at most */
    LOOKUP_QUEUE = 4096,
    INVENTORY_THREADS = 32,
    INVENTORY_QUEUE = 1024
};

/* The strings and lists of `settings`; the plain members are copied already. */
static int settings_copy_strings(struct hc_settings *copy,
                                 const struct hc_settings *settings, struct hc_error *err)
{
    copy->cache_dir = hc_text_copy(settings->cache_dir, err);
    copy->endpoint = hc_text_copy(settings->endpoint, err);
    copy->token = hc_text_copy(settings->token, err);
    copy->token_file = hc_text_copy(settings->token_file, err);
    copy->user_agent = hc_text_copy(settings->user_agent, err);
    copy->ca_file = hc_text_copy(settings->ca_file, err);
    copy->policy_file = hc_text_copy(settings->policy_file, err);
    if (!copy->cache_dir || !copy->endpoint || !copy->token != !settings->token ||
        !copy->token_file != !settings->token_file ||
        !copy->user_agent != !settings->user_agent ||
        !copy->ca_file != !settings->ca_file ||
        !copy->policy_file != !settings->policy_file)
        return -1;
    for (size_t i = 0; i < settings->local_root_count; i++) {
        if (hc_settings_add_local_root(copy, settings->local_roots[i], err) < 0)
            return -1;
    }
    for (size_t i = 0; i < settings->mirror_count; i++) {
        if (hc_settings_add_mirror(copy, settings->mirrors[i], err) < 0)
            return -1;
    }
    return 0;
}

static int settings_copy(struct hc_settings *copy, const struct hc_settings *settings,
                         struct hc_error *err)
{
    if (!settings->cache_dir || !settings->endpoint)
        return hc_fail(err, HC_INVALID_OPTIONS, "no cache_dir or no endpoint is set");
    *copy = *settings;
    copy->cache_dir = copy->endpoint = copy->token = NULL;
    copy->token_file = copy->user_agent = copy->ca_file = NULL;
    copy->policy_file = NULL;
    copy->local_roots = NULL;
    copy->local_root_count = 0;
    copy->mirrors = NULL;
    copy->mirror_count = 0;
    return settings_copy_strings(copy, settings, err);
}

/*
 * A token file that held a token at the start, and does not later, has been lost:
 * requests fail then, instead of asking the Hub without a token (policy/token.h). The
 * token itself is of no interest here, and is wiped.
 */
int hc_resolver_check_token(struct hc_resolver *resolver, struct hc_error *err)
{
    char token[HC_TOKEN_MAX + 1];
    int result =
        hc_token_choose(&resolver->settings, NULL, &resolver->had_token_file, token, err);

    explicit_bzero(token, sizeof token);
    return result;
}

/*
 * For the files of all batches: twice as many threads as one batch may use, so that it
 * leaves as many to others. There are more threads than connections, because a thread may
 * also wait for a blob that another process fetches.
 */
static struct hc_workers *resolver_open_workers(const struct hc_settings *settings,
                                                struct hc_error *err)
{
    enum { QUEUE_MAX = 1 << 20 };
    unsigned width = settings->connections;

    if (width < settings->snapshot_workers)
        width = settings->snapshot_workers;
    if (width < 1)
        width = 1;
    if (width > HC_BATCH_WIDTH_MAX)
        width = HC_BATCH_WIDTH_MAX;
    return hc_workers_open(2 * width, QUEUE_MAX, err);
}

/* Callers have what the Hub gives to their own tokens; the resolver's is not used. */
static int resolver_open_access(struct hc_resolver *resolver, struct hc_error *err)
{
    if (resolver->settings.hub_access == HC_HUB_ACCESS_SERVER)
        return 0;
    resolver->settings.no_implicit_token = true;
    resolver->access = hc_access_memory_new(resolver->settings.hub_access_ttl_ms, err);
    return resolver->access ? 0 : -1;
}

/* In this order downloads ask for room: what is abandoned or corrupt is removed first. */
static int resolver_open_eviction(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_free_space *space = hc_cache_free_space(resolver->cache);

    resolver->hold_rules = hc_hold_rules_of(&resolver->policy);
    resolver->eviction = hc_eviction_new(resolver->cache, &resolver->hold_rules, err);
    if (!resolver->eviction)
        return -1;
    hc_free_space_add_reclaimer(space, hc_claim_reclaim, resolver->cache);
    hc_free_space_add_reclaimer(space, hc_quarantine_reclaim, resolver->cache);
    hc_free_space_add_reclaimer(space, hc_eviction_reclaim, resolver->eviction);
    return 0;
}

static int resolver_open_leases(struct hc_resolver *resolver, struct hc_error *err)
{
    struct hc_settings *settings = &resolver->settings;

    if (settings->max_lease_ms == 0)
        settings->max_lease_ms = HC_MAX_LEASE_MS;
    if (settings->leases_per_caller == 0)
        settings->leases_per_caller = HC_LEASES_PER_CALLER;
    resolver->lease_quota = hc_lease_quota_new(settings->leases_per_caller, err);
    return resolver->lease_quota ? 0 : -1;
}

static int resolver_open_lookups(struct hc_resolver *resolver, struct hc_error *err)
{
    resolver->lookup_workers = hc_workers_open(LOOKUP_THREADS, LOOKUP_QUEUE, err);
    if (!resolver->lookup_workers)
        return -1;
    resolver->inventory_workers =
        hc_workers_open(INVENTORY_THREADS, INVENTORY_QUEUE, err);
    if (!resolver->inventory_workers)
        return -1;
    resolver->files_ahead = hc_names_ahead_new(err);
    return resolver->files_ahead ? 0 : -1;
}

struct hc_resolver *hc_resolver_open(const struct hc_settings *settings,
                                     struct hc_error *err)
{
    HC_AUTO(hc_resolver) *resolver = calloc(1, sizeof *resolver);
    struct hc_error ignored;

    if (!resolver) {
        (void)hc_fail_memory(err);
        return NULL;
    }
    hc_shared_queries_init(&resolver->queries);
    hc_policy_init(&resolver->policy);
    if (settings_copy(&resolver->settings, settings, err) < 0 ||
        resolver_open_access(resolver, err) < 0)
        return NULL;
    resolver->hub = hc_hub_open(settings, err);
    if (!resolver->hub || hc_resolver_load_policy(resolver, err) < 0)
        return NULL;
    resolver->cache = hc_cache_open(settings->cache_dir, settings->no_symlinks, err);
    if (!resolver->cache)
        return NULL;
    if (resolver_open_eviction(resolver, err) < 0 ||
        resolver_open_leases(resolver, err) < 0)
        return NULL;
    resolver->scrub_lock =
        (struct hc_replica_lock){.cache = resolver->cache, .path = HC_SCRUB_LOCK};
    atomic_store(&resolver->markers_swept_ms, hc_monotonic_ms());
    hc_resolver_sweep(resolver);
    (void)hc_resolver_check_token(resolver, &ignored);
    hc_resolver_change(resolver, settings);
    resolver->download_workers = resolver_open_workers(settings, err);
    if (!resolver->download_workers)
        return NULL;
    if (resolver_open_lookups(resolver, err) < 0)
        return NULL;
    resolver->keeps = hc_keeps_new(err);
    if (!resolver->keeps)
        return NULL;
    resolver->warm_ups = hc_warm_ups_open(resolver, err);
    if (!resolver->warm_ups)
        return NULL;
    resolver->transfers =
        hc_transfers_open(resolver->cache, resolver->hub, settings, err);
    return resolver->transfers ? hc_take(&resolver) : NULL;
}

void hc_resolver_close(struct hc_resolver *resolver)
{
    if (!resolver)
        return;
    hc_warm_ups_close(resolver->warm_ups);
    hc_workers_close(resolver->lookup_workers);
    hc_workers_close(resolver->inventory_workers);
    hc_workers_close(resolver->download_workers);
    hc_transfers_close(resolver->transfers);
    hc_hub_close(resolver->hub);
    hc_single_flights_clear(&resolver->queries);
    hc_access_memory_free(resolver->access);
    hc_eviction_free(resolver->eviction);
    hc_lease_quota_free(resolver->lease_quota);
    hc_names_ahead_free(resolver->files_ahead);
    hc_keeps_free(resolver->keeps);
    hc_cache_close(resolver->cache);
    hc_settings_clear(&resolver->settings);
    hc_policy_clear(&resolver->policy);
    free(resolver);
}

/* With HC_HUB_ACCESS_CALLER no token of the server's opens a repo to callers. */
static int rules_check_tokens(const struct hc_rules *rules,
                              const struct hc_settings *settings, struct hc_error *err)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];

        if (rule->token_file && settings->hub_access == HC_HUB_ACCESS_CALLER)
            return hc_fail_field(err, HC_INVALID_OPTIONS, "policy",
                                 "%s:%u:1: the rule '%s' has a token_file, which is not "
                                 "used with hub-access: caller",
                                 settings->policy_file, rule->line, rule->name);
    }
    return 0;
}

/* Each is a URL of a Hub, and there is room for it. From now on `hub` has them. */
static int rules_add_endpoints(const struct hc_rules *rules,
                               const struct hc_settings *settings, struct hc_hub *hub,
                               struct hc_error *err)
{
    for (size_t i = 0; i < rules->count; i++) {
        const struct hc_rule *rule = &rules->items[i];
        struct hc_endpoint *unused;
        struct hc_error cause;

        if (rule->endpoint &&
            hc_hub_find_endpoint(hub, rule->endpoint, &unused, &cause) < 0)
            return hc_fail_field(err, HC_INVALID_OPTIONS, "policy", "%s:%u:%u: %s",
                                 settings->policy_file, rule->endpoint_line,
                                 rule->endpoint_column, cause.message);
    }
    return 0;
}

static struct hc_rules *resolver_read_rules(const struct hc_settings *settings,
                                            struct hc_hub *hub, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = hc_rules_read(settings->policy_file, err);

    if (!rules || rules_check_tokens(rules, settings, err) < 0 ||
        rules_add_endpoints(rules, settings, hub, err) < 0)
        return NULL;
    return hc_take(&rules);
}

int hc_resolver_check_settings(const struct hc_settings *settings, struct hc_error *err)
{
    HC_AUTO(hc_hub) *hub = hc_hub_open(settings, err);
    HC_AUTO(hc_rules) *rules = NULL;

    if (!hub || !settings->policy_file)
        return hub ? 0 : -1;
    rules = resolver_read_rules(settings, hub, err);
    return rules ? 0 : -1;
}

int hc_resolver_load_policy(struct hc_resolver *resolver, struct hc_error *err)
{
    HC_AUTO(hc_rules) *rules = NULL;

    if (!resolver->settings.policy_file)
        return 0;
    rules = resolver_read_rules(&resolver->settings, resolver->hub, err);
    if (!rules)
        return -1;
    hc_policy_set_rules(&resolver->policy, hc_take(&rules));
    return 0;
}

struct hc_policy *hc_resolver_policy(struct hc_resolver *resolver)
{
    return &resolver->policy;
}

uint32_t hc_resolver_policy_generation(const struct hc_resolver *resolver)
{
    return atomic_load(&resolver->policy.generation);
}

void hc_resolver_change(struct hc_resolver *resolver, const struct hc_settings *settings)
{
    atomic_store(&resolver->policy.offline, settings->offline);
    atomic_store(&resolver->policy.max_staleness_ms, settings->max_staleness_ms);
    hc_memo_set_interval(hc_cache_memo(resolver->cache), settings->confirm_after_ms);
    hc_tree_cache_set_budget(hc_cache_trees(resolver->cache), settings->tree_memory
                                                                  ? settings->tree_memory
                                                                  : HC_TREE_MEMORY);
    hc_free_space_set_bounds(hc_cache_free_space(resolver->cache), settings->cache_limit,
                             settings->free_floor);
    hc_hub_set_rates(resolver->hub, settings->requests_per_second,
                     settings->bytes_per_second);
}

void hc_resolver_watch(struct hc_resolver *resolver, hc_transfer_fn fn, void *ctx)
{
    hc_transfers_observe(resolver->transfers, fn, ctx);
}

void hc_resolver_watch_stale(struct hc_resolver *resolver, hc_stale_fn fn, void *ctx)
{
    resolver->stale_watcher = fn;
    resolver->stale_ctx = ctx;
}

/* These sweeps look through all repos: once an hour, and not while a process
 * starts. Of several threads that sweep at the same time, one is told that it is due. */
static bool resolver_is_marker_sweep_due(struct hc_resolver *resolver)
{
    int64_t now_ms = hc_monotonic_ms();
    int64_t last_ms = atomic_load(&resolver->markers_swept_ms);

    return now_ms - last_ms >= MARKERS_EVERY_MS &&
           atomic_compare_exchange_strong(&resolver->markers_swept_ms, &last_ms, now_ms);
}

int hc_resolver_check_volume(struct hc_resolver *resolver, struct hc_error *err)
{
    return hc_cache_check(resolver->cache, err);
}

bool hc_resolver_volume_space(const struct hc_resolver *resolver, uint64_t *size,
                              uint64_t *available)
{
    struct statvfs space;

    if (statvfs(hc_resolver_cache_root(resolver), &space) < 0)
        return false;
    *size = (uint64_t)space.f_blocks * space.f_frsize;
    *available = (uint64_t)space.f_bavail * space.f_frsize;
    return true;
}

static void resolver_sweep_folders(struct hc_resolver *resolver, int64_t now_ms)
{
    const struct hc_removal_options options = {.now_ms = now_ms};
    HC_AUTO_VALUE(hc_prune_result) result = {0};
    struct hc_error unused;
    HC_AUTO(hc_removal) *removal =
        hc_removal_new(resolver->cache, &options, &result.revisions, &unused);
    const struct hc_prune prune = {.cache = resolver->cache,
                                   .removal = removal,
                                   .result = &result,
                                   .now_ms = now_ms};

    if (removal)
        (void)hc_prune_folders(&prune, &unused);
}

/* Each sweep is bounded, and its failures are of no interest: the next one comes soon. */
void hc_resolver_sweep(struct hc_resolver *resolver)
{
    int64_t now_ms = hc_volume_now_ms(resolver->cache);

    (void)hc_claim_sweep(resolver->cache, now_ms);
    (void)hc_removal_sweep(resolver->cache, now_ms, HC_TRASH_EXPIRY_MS);
    hc_resolver_sweep_leases(resolver, now_ms);
    hc_occupancy_sweep(resolver->cache, now_ms);
    if (resolver_is_marker_sweep_due(resolver)) {
        (void)hc_no_exist_sweep(resolver->cache, now_ms);
        hc_proof_sweep(resolver->cache, now_ms);
        hc_roll_out_sweep(resolver->cache, now_ms);
        (void)hc_fetched_sweep(resolver->cache, now_ms);
        resolver_sweep_folders(resolver, now_ms);
    }
    (void)hc_quarantine_sweep(resolver->cache, now_ms);
    hc_visibility_sweep(resolver->cache, now_ms);
}

bool hc_resolver_is_volume_slow(const struct hc_resolver *resolver)
{
    return hc_memo_is_slow(hc_cache_memo(resolver->cache));
}

void hc_resolver_count(struct hc_resolver *resolver, unsigned *transfers,
                       unsigned *connections)
{
    hc_transfers_count(resolver->transfers, transfers, connections);
}

void hc_resolver_count_warmed(const struct hc_resolver *resolver, uint64_t *warmed,
                              uint64_t *left)
{
    hc_warm_ups_count(resolver->warm_ups, warmed, left);
}

void hc_resolver_list_transfers(struct hc_resolver *resolver, hc_running_transfer_fn fn,
                                void *ctx)
{
    hc_transfers_list(resolver->transfers, fn, ctx);
}

void hc_resolver_hub_counts(const struct hc_resolver *resolver,
                            struct hc_hub_counts *counts)
{
    hc_hub_counts(resolver->hub, counts);
}

bool hc_resolver_endpoint_state(const struct hc_resolver *resolver, size_t number,
                                struct hc_endpoint_state *state)
{
    return hc_hub_endpoint_state(resolver->hub, number, state);
}

uint64_t hc_resolver_received(const struct hc_resolver *resolver)
{
    return hc_transfers_received(resolver->transfers);
}

int hc_resolver_scan_usage(const struct hc_resolver *resolver,
                           struct hc_cancellation *cancellation, struct hc_usage *usage,
                           struct hc_error *err)
{
    if (hc_usage_scan(resolver->cache, cancellation, usage, err) < 0)
        return -1;
    hc_free_space_get_bounds(hc_cache_free_space(resolver->cache), &usage->limit_bytes,
                             &usage->floor_bytes);
    return 0;
}

const char *hc_resolver_cache_root(const struct hc_resolver *resolver)
{
    return hc_cache_root(resolver->cache);
}

const char *hc_resolver_cache_id(const struct hc_resolver *resolver)
{
    return hc_cache_id(resolver->cache);
}

const char *hc_resolver_endpoint(const struct hc_resolver *resolver)
{
    return resolver->settings.endpoint;
}

bool hc_resolver_is_offline(const struct hc_resolver *resolver)
{
    return atomic_load(&resolver->policy.offline);
}
