/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hub, and the test hub it asks: one model with a git file, an LFS file, and a nested
 * file with an odd name. Three retries, a millisecond apart.
 */
#ifndef HC_UNIT_HUB_FIXTURE_H
#define HC_UNIT_HUB_FIXTURE_H

#include "test.h"

#include "test_hub.h"

#include <hub/hub.h>

struct fixture {
    struct test_hub *server;
    struct hc_hub *hub;
    struct hc_repo repo;
    struct hc_hub_credentials credentials; /* no token, no cancellation */
    struct hc_error err;
    char commit[41];
};

extern const char good_token[];

int hub_fixture_set_up(void **state);
int hub_fixture_tear_down(void **state);

/* A hub with that endpoint, to be closed. */
struct hc_hub *hub_fixture_open(const char *url, unsigned retries);

/* hc_hub_head of a file of the model at main. */
int hub_fixture_head_file(struct fixture *f, const char *path,
                          struct hc_metadata *metadata);

void hub_fixture_add_rule(struct fixture *f, struct test_hub_rule rule);

void hub_fixture_expect_log(struct fixture *f, const char *text, bool is_there);

#endif
