/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Promise: "host:port" and "unix:/path" become URIs that gRPC understands, with any
 * characters, https:// stands for TLS and dns:/// for all addresses of a name; every
 * other form is refused with a message, and not looked up as a name.
 */
#include "test.h"

#include "client/server_address.h"

#include <base/error.h>

#include <stdio.h>
#include <string.h>

static void assert_uri(const char *address, const char *expected)
{
    struct hc_server_address parsed;
    struct hc_error err = {0};

    assert_int_equal(hc_server_address_parse(address, &parsed, &err), 0);
    assert_string_equal(parsed.uri, expected);
    assert_int_equal(parsed.has_tls, strncmp(address, "https:", 6) == 0);
    assert_int_equal(parsed.is_balanced, strncmp(address, "dns:", 4) == 0);
}

static void assert_address_refused(const char *address)
{
    struct hc_server_address parsed;
    struct hc_error err = {0};

    assert_int_equal(hc_server_address_parse(address, &parsed, &err), -1);
    assert_int_equal(err.reason, HC_INVALID_OPTIONS);
    assert_string_equal(err.field, "server");
    assert_non_null(strstr(err.message, "server"));
}

static void a_host_and_a_port_are_looked_up_by_dns(void **state)
{
    (void)state;
    assert_uri("hubcached:50051", "dns:///hubcached:50051");
    assert_uri("127.0.0.1:1", "dns:///127.0.0.1:1");
    assert_uri("hubcached.ai.svc:65535", "dns:///hubcached.ai.svc:65535");
}

static void a_scheme_asks_for_tls_or_for_all_addresses(void **state)
{
    (void)state;
    assert_uri("https://hubcached:443", "dns:///hubcached:443");
    assert_uri("https://[::1]:443", "dns:///%5B::1%5D:443");
    assert_uri("dns:///hubcached.ai.svc:50051", "dns:///hubcached.ai.svc:50051");
}

static void brackets_of_an_ipv6_address_are_encoded(void **state)
{
    (void)state;
    assert_uri("[::1]:50051", "dns:///%5B::1%5D:50051");
    assert_uri("[fe80::1%eth0]:5", "dns:///%5Bfe80::1%25eth0%5D:5");
}

static void a_socket_keeps_every_character_of_its_path(void **state)
{
    (void)state;
    assert_uri("unix:/run/hubcached.sock", "unix:/run/hubcached.sock");
    assert_uri("unix:/a b%41?#.sock", "unix:/a%20b%2541%3F%23.sock");
}

static void an_address_without_a_valid_port_is_refused(void **state)
{
    (void)state;
    assert_address_refused("");
    assert_address_refused("hubcached");
    assert_address_refused("hubcached:");
    assert_address_refused("hubcached:0");
    assert_address_refused("hubcached:65536");
    assert_address_refused("hubcached:http");
    assert_address_refused("hubcached:+80");
    assert_address_refused("hubcached:000080");
}

static void an_address_without_a_valid_host_is_refused(void **state)
{
    (void)state;
    assert_address_refused(":50051");
    assert_address_refused("::1:50051");
    assert_address_refused("[]:50051");
    assert_address_refused("[::1:50051");
    assert_address_refused("[::1]]:50051");
    assert_address_refused("a b:50051");
}

static void other_schemes_are_refused(void **state)
{
    (void)state;
    assert_address_refused("http://hubcached:50051");
    assert_address_refused("dns:hubcached:50051");
    assert_address_refused("dns://1.1.1.1/hubcached:50051");
    assert_address_refused("dns:///https://hubcached:50051");
    assert_address_refused("dns:///hubcached");
    assert_address_refused("https://hubcached");
    assert_address_refused("https://hubcached:50051/path");
    assert_address_refused("https://unix:/run/hubcached.sock");
    assert_address_refused("xds:///hubcached:50051");
    assert_address_refused("unix:hubcached.sock");
}

static void a_socket_path_longer_than_the_system_allows_is_refused(void **state)
{
    char address[256];

    (void)state;
    (void)snprintf(address, sizeof address, "unix:/%0107d", 0);
    assert_address_refused(address);
}

static void a_host_longer_than_a_uri_may_be_is_refused(void **state)
{
    char address[2048];

    (void)state;
    (void)snprintf(address, sizeof address, "%01500d:80", 0);
    assert_address_refused(address);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_host_and_a_port_are_looked_up_by_dns),
        cmocka_unit_test(a_scheme_asks_for_tls_or_for_all_addresses),
        cmocka_unit_test(brackets_of_an_ipv6_address_are_encoded),
        cmocka_unit_test(a_socket_keeps_every_character_of_its_path),
        cmocka_unit_test(an_address_without_a_valid_port_is_refused),
        cmocka_unit_test(an_address_without_a_valid_host_is_refused),
        cmocka_unit_test(other_schemes_are_refused),
        cmocka_unit_test(a_socket_path_longer_than_the_system_allows_is_refused),
        cmocka_unit_test(a_host_longer_than_a_uri_may_be_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
