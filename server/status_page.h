/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The status page: status.html, which the build puts into the program, with what is
 * gathered in server_status.h in its slots. It is whole without its script, which only
 * fetches it again. Any thread.
 */
#ifndef HC_SERVER_STATUS_PAGE_H
#define HC_SERVER_STATUS_PAGE_H

#include "server_status.h"

enum { HC_STATUS_PAGE_REPOS_MAX = 100, HC_PAGE_POLICY_SIZE = 512 };

void hc_status_page_write(const struct hc_status_facts *facts, FILE *out);

/*
 * The header Content-Security-Policy of the page: its own style and script, known by
 * their hashes, and fetches from its own origin; nothing else.
 */
int hc_status_page_policy(char policy[HC_PAGE_POLICY_SIZE], struct hc_error *err);

/* The same facts as JSON; see hubcached(8). False: memory is short. */
bool hc_status_json_write(const struct hc_status_facts *facts, FILE *out);

#endif
