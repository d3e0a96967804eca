/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: the library, the server and the client can be linked into one program, whole,
 * and work there side by side: no name means two things.
 */
#include "temp_dir.h"
#include "test.h"

#include <base/auto.h>
#include <hubcache-client/client.h>
#include <hubcache/resolver.h>
#include <server/rpc.h>

#include <string.h>

static void assert_resolver_answers(void)
{
    char *dir = temp_dir_make();
    struct hc_settings settings = {.cache_dir = dir,
                                   .endpoint = (char[]){"http://127.0.0.1:1"},
                                   .offline = true};
    const struct hc_file_request request = {.repo.id = "org/name", .filename = "a"};
    struct hc_error err;
    struct hc_resolver *resolver = hc_resolver_open(&settings, &err);
    struct hc_file file;

    assert_non_null(resolver);
    assert_int_equal(hc_resolve_file(resolver, &request, NULL, &file, &err), -1);
    assert_int_equal(err.reason, HC_NOT_CACHED);
    hc_resolver_close(resolver);
    temp_dir_remove(dir);
}

/* The server of this process serves nothing, and says so to the client of this
 * process. */
static void a_program_resolves_serves_and_asks(void **state)
{
    const struct hc_rpc_limits limits = {.connections = 8};
    struct hc_error err;
    HC_AUTO(hc_rpc) *server = hc_rpc_open(&limits, NULL, NULL, &err);
    const struct hc_client_file_request request = {.repo.id = "org/name",
                                                   .filename = "a"};
    struct hc_client_options to = {.timeout_ms = 60000};
    struct hc_client_file file;
    struct hc_client *client;
    char address[512];

    (void)state;
    assert_resolver_answers();
    assert_non_null(server);
    assert_int_equal(hc_rpc_listen(server, "127.0.0.1:0", address, sizeof address, &err),
                     0);
    assert_int_equal(hc_rpc_start(server, &err), 0);
    to.server = address;
    client = hc_client_open(&to, &err);
    assert_non_null(client);
    assert_int_equal(hc_client_resolve_file(client, &request, &file, &err), -1);
    assert_int_equal(err.reason, HC_INTERNAL);
    assert_non_null(strstr(err.message, "knows this call"));
    hc_client_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_resolves_serves_and_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
