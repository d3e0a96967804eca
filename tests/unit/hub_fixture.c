/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Timeouts are short, so that tests of silence are; all else is as in production.
 */
#include "hub_fixture.h"

#include <stdlib.h>
#include <string.h>

const char good_token[] = "hf_secret";

struct hc_hub *hub_fixture_open(const char *url, unsigned retries)
{
    char *endpoint = strdup(url);
    struct hc_settings settings = {.endpoint = endpoint,
                                   .metadata_timeout_s = 2,
                                   .download_timeout_s = 1,
                                   .retries = retries,
                                   .retry_base_ms = 1};
    struct hc_error err;
    struct hc_hub *hub = hc_hub_open(&settings, &err);

    assert_non_null(hub);
    free(endpoint);
    return hub;
}

int hub_fixture_set_up(void **state)
{
    const struct test_hub_options options = {.valid_token = good_token, .page_size = 2};
    struct fixture *f = calloc(1, sizeof *f);

    assert_non_null(f);
    f->server = test_hub_start(&options);
    test_hub_add(f->server, "config.json", "{}", 2, false);
    test_hub_add(f->server, "model.bin", "0123456789", 10, true);
    test_hub_add(f->server, "sub/a b+c%.txt", "odd", 3, false);
    test_hub_commit(f->server, "models/org/m", "main", f->commit);
    f->hub = hub_fixture_open(test_hub_endpoint(f->server), 3);
    assert_int_equal(hc_repo_init(&f->repo, HC_REPO_MODEL, "org/m", &f->err), 0);
    *state = f;
    return 0;
}

int hub_fixture_tear_down(void **state)
{
    struct fixture *f = *state;

    hc_hub_close(f->hub);
    test_hub_stop(f->server);
    free(f);
    return 0;
}

int hub_fixture_head_file(struct fixture *f, const char *path,
                          struct hc_metadata *metadata)
{
    return hc_hub_head(f->hub, &(const struct hc_repo_file){&f->repo, "main", path},
                       &f->credentials, metadata, &f->err);
}

void hub_fixture_add_rule(struct fixture *f, struct test_hub_rule rule)
{
    test_hub_rule(f->server, &rule);
}

void hub_fixture_expect_log(struct fixture *f, const char *text, bool is_there)
{
    char *log = test_hub_log(f->server);

    if ((strstr(log, text) != NULL) != is_there)
        fail_msg("'%s' is%s in the log:\n%s", text, is_there ? " not" : "", log);
    free(log);
}
