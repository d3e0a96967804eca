/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of the list of leases. Its order, and so the token of a page, is by a text that
 * is made of repo, commit and time, and of so few digits of the id that the rest is still
 * a secret.
 */
#include "resolver.h"

#include <base/hash.h>
#include <cache/ref.h>
#include <claim/claim_record.h>
#include <claim/lease.h>
#include <hubcache/lease.h>
#include <maintenance/page.h>

#include <inttypes.h>
#include <string.h>

enum { ID_DIGITS = 8, KEY_SIZE = HC_LEASE_ID_SIZE + 32 };

HC_DEFINE_AUTO_VALUE(hc_leases, hc_leases_clear)

/* What is walked; the repo is NULL for all. */
struct lease_place {
    struct hc_repo repo;
    char commit[HC_COMMIT_SIZE];
    bool has_repo, has_commit;
};

static void lease_format_key(const struct hc_lease *lease, char key[KEY_SIZE])
{
    (void)hc_format(key, KEY_SIZE, "%s.%d.%s.%013" PRId64 ".%.*s", lease->repo_id,
                    (int)lease->repo_type, lease->commit_hash, lease->since_ms, ID_DIGITS,
                    hc_lease_id_name(lease->id));
}

static int lease_compare(const void *one, const void *other)
{
    char key[KEY_SIZE], other_key[KEY_SIZE];

    lease_format_key(one, key);
    lease_format_key(other, other_key);
    return strcmp(key, other_key);
}

/* 1; 0: the cache does not know the revision. */
static int place_find(const struct hc_resolver *resolver, const struct hc_target *target,
                      struct lease_place *place, struct hc_error *err)
{
    *place = (struct lease_place){.has_repo = target->id && target->id[0]};
    if (!place->has_repo)
        return 1;
    if (hc_repo_init(&place->repo, target->type, target->id, err) < 0)
        return -1;
    if (!target->revision || !target->revision[0])
        return 1;
    place->has_commit = true;
    return hc_ref_find_commit(resolver->cache, &place->repo, target->revision,
                              place->commit, err);
}

static bool lease_is_listed(struct hc_resolver *resolver,
                            const struct hc_leases_request *request,
                            const struct hc_lease *lease)
{
    const struct hc_identity *identity = request->options.identity;
    struct hc_repo repo;
    struct hc_error unused;

    return (!request->mine || hc_lease_is_of(lease, identity)) &&
           hc_repo_init(&repo, lease->repo_type, lease->repo_id, &unused) == 0 &&
           hc_policy_may_see(&resolver->policy, identity, &repo);
}

static int leases_add(struct hc_leases *leases, size_t *capacity,
                      const struct hc_lease *lease, struct hc_error *err)
{
    if (leases->count == *capacity) {
        size_t wider = *capacity ? 2 * *capacity : 64;
        struct hc_lease *grown =
            reallocarray(leases->items, wider, sizeof *leases->items);

        if (!grown)
            return hc_fail_memory(err);
        leases->items = grown;
        *capacity = wider;
    }
    leases->items[leases->count++] = *lease;
    return 0;
}

/* All leases that the request lists, from the page on. */
static int leases_collect(struct hc_resolver *resolver,
                          const struct hc_leases_request *request, struct hc_page *page,
                          struct hc_leases *leases, struct hc_error *err)
{
    struct lease_place place;
    int found = place_find(resolver, &request->repo, &place, err);
    size_t capacity = 0;
    char key[KEY_SIZE];

    if (found < 1)
        return found;

    HC_AUTO_VALUE(hc_lease_list)
    list = hc_lease_list(resolver->cache, place.has_repo ? &place.repo : NULL,
                         place.has_commit ? place.commit : NULL,
                         hc_volume_now_ms(resolver->cache));

    while (hc_lease_list_next(&list)) {
        lease_format_key(&list.lease, key);
        if (hc_page_wants(page, key) && lease_is_listed(resolver, request, &list.lease) &&
            (hc_page_add(page, key, err) < 0 ||
             leases_add(leases, &capacity, &list.lease, err) < 0))
            return -1;
    }
    return 0;
}

/* Anonymous callers are one, so the ids of their leases are for administrators. */
static void lease_hide_id(struct hc_resolver *resolver,
                          const struct hc_identity *identity, struct hc_lease *lease)
{
    struct hc_repo repo;
    struct hc_error unused;

    if ((!identity || !hc_lease_is_of(lease, identity)) &&
        (hc_repo_init(&repo, lease->repo_type, lease->repo_id, &unused) < 0 ||
         hc_policy_may_administer(&resolver->policy, identity, &repo, &unused) < 0))
        lease->id[0] = '\0';
}

static uint64_t request_hash(const struct hc_leases_request *request)
{
    const char *texts[] = {"leases", request->repo.id, request->repo.revision};
    uint64_t hash = hc_hash_bytes(HC_HASH_START, &request->mine, sizeof request->mine);

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        hash = hc_hash_bytes(hash, texts[i] ? texts[i] : "",
                             texts[i] ? strlen(texts[i]) + 1 : 1);
    return hc_hash_bytes(hash, &request->repo.type, sizeof request->repo.type);
}

int hc_resolver_list_leases(struct hc_resolver *resolver,
                            const struct hc_leases_request *request,
                            struct hc_leases *leases, struct hc_error *err)
{
    HC_AUTO_VALUE(hc_leases) listed = {0};
    HC_AUTO_VALUE(hc_page) page = {0};

    if (hc_page_open(&page, request_hash(request), request->page_token,
                     request->page_size, err) < 0 ||
        leases_collect(resolver, request, &page, &listed, err) < 0)
        return -1;
    hc_page_close(&page);
    if (listed.count > 0)
        qsort(listed.items, listed.count, sizeof *listed.items, lease_compare);
    if (listed.count > page.count)
        listed.count = page.count;
    for (size_t i = 0; i < listed.count; i++)
        lease_hide_id(resolver, request->options.identity, &listed.items[i]);
    if (page.has_more) {
        listed.next_page_token = hc_page_token(&page, page.count - 1, err);
        if (!listed.next_page_token)
            return -1;
    }
    *leases = listed;
    listed = (struct hc_leases){0};
    return 0;
}

void hc_leases_clear(struct hc_leases *leases)
{
    free(leases->items);
    free(leases->next_page_token);
    *leases = (struct hc_leases){0};
}
