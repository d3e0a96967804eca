/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: each of thousands of callers has as many leases as it may have, whatever the
 * others have, and no more; a lease that it gives back makes place for another.
 */
#include "cache_fixture.h"
#include "test.h"

#include <resolver/lease_quota.h>

#include <stdio.h>

#define WITH_CACHE(test) cmocka_unit_test_setup_teardown(test, make_cache, remove_cache)

enum { CALLERS = 3000, LEASES = 2, NOW_MS = 1 };

static int caller_take(struct hc_lease_quota *quota, const struct hc_cache *cache,
                       unsigned number)
{
    char name[32];
    const struct hc_identity identity = {.kind = "token", .name = name};
    struct hc_error err;

    (void)snprintf(name, sizeof name, "caller-%u", number);
    return hc_lease_quota_add(quota, cache, &identity, NOW_MS, &err);
}

static void caller_give_back(struct hc_lease_quota *quota, unsigned number)
{
    char name[32];
    const struct hc_identity identity = {.kind = "token", .name = name};

    (void)snprintf(name, sizeof name, "caller-%u", number);
    hc_lease_quota_remove(quota, &identity);
}

static void thousands_of_callers_are_counted_apart(void **state)
{
    const struct fixture *f = *state;
    HC_AUTO(hc_lease_quota) *quota = hc_lease_quota_new(LEASES, &(struct hc_error){0});

    /* The volume has no leases: after a look at it, counting begins anew. */
    for (unsigned lease = 0; lease <= LEASES; lease++)
        assert_int_equal(caller_take(quota, f->cache, CALLERS), 0);
    for (unsigned lease = 0; lease < LEASES; lease++) {
        for (unsigned i = 0; i < CALLERS; i++)
            assert_int_equal(caller_take(quota, f->cache, i), 0);
    }
    for (unsigned i = 0; i < CALLERS; i += 2)
        caller_give_back(quota, i);
    for (unsigned i = 0; i < CALLERS; i++)
        assert_int_equal(caller_take(quota, f->cache, i), i % 2 == 0 ? 0 : -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_CACHE(thousands_of_callers_are_counted_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
