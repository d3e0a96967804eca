/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The promise: a public Hub cannot lead hubcache to an address inside, by whatever name
 * or spelling, unless that is allowed; and a Hub that is inside itself may.
 */
#include "hub_fixture.h"

#include "raw_server.h"

#include <hub/address.h>
#include <hub/http_exchange.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool address_text_is_private(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1)
        return hc_address_is_private((const struct sockaddr *)&v4);
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return hc_address_is_private((const struct sockaddr *)&v6);
}

static const char *const addresses_inside[] = {
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.255",
    "169.254.0.0",
    "169.254.169.254",
    "169.254.255.255",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.0",
    "255.255.255.255",
    "168.63.129.16",
    "::",
    "::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::192.168.1.1",
    "64:ff9b:1::1",
    "2002:a00:1::",
    "2001::1",
    "fc00::",
    "fd00:ec2::254",
    "fdff:ffff::",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
    "::ffff:0:127.0.0.1",
};
static const char *const addresses_outside[] = {
    "1.1.1.1",         "9.255.255.255",    "11.0.0.0",
    "100.63.255.255",  "100.128.0.0",      "126.255.255.255",
    "128.0.0.0",       "169.253.255.255",  "169.255.0.0",
    "172.15.255.255",  "172.32.0.0",       "192.0.1.0",
    "192.167.255.255", "192.169.0.0",      "198.17.255.255",
    "198.20.0.0",      "223.255.255.255",  "168.63.129.15",
    "168.63.129.17",   "2606:4700::1111",  "2001:4860:4860::8888",
    "::ffff:1.1.1.1",  "64:ff9b::8.8.8.8", "2002:808:808::",
    "fbff::1",         "fe00::1",          "2001:1::1",
};

static void addresses_inside_are_told_from_those_outside(void **state)
{
    const struct sockaddr local = {.sa_family = AF_UNIX};

    (void)state;
    for (size_t i = 0; i < sizeof addresses_inside / sizeof *addresses_inside; i++) {
        if (!address_text_is_private(addresses_inside[i]))
            fail_msg("taken for public: %s", addresses_inside[i]);
    }
    for (size_t i = 0; i < sizeof addresses_outside / sizeof *addresses_outside; i++) {
        if (address_text_is_private(addresses_outside[i]))
            fail_msg("taken for private: %s", addresses_outside[i]);
    }
    assert_true(hc_address_is_private(&local));
}

static void addresses_are_seen_in_urls_however_they_are_spelt(void **state)
{
    static const char *const inside[] = {
        "http://127.0.0.1/",
        "https://127.0.0.1:8080/x?y",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://169.254.169.254./",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]:1",
        "http://[fe80::1%25eth0]/",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost:1/",
        "http://0/",
    };
    static const char *const outside[] = {
        "http://1.1.1.1/",       "https://huggingface.co/", "http://127.0.0.1.example/",
        "http://localhost.com/", "http://[2606:4700::1]/",  "http://10.example/",
        "http://h/127.0.0.1",    "http://nolocalhost/",
    };

    (void)state;
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        if (!hc_address_url_is_private(inside[i]))
            fail_msg("not seen: %s", inside[i]);
    }
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        if (hc_address_url_is_private(outside[i]))
            fail_msg("seen: %s", outside[i]);
    }
}

/* ---- connections ------------------------------------------------------------------- */

#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

struct inside {
    struct raw_server *site; /* at 127.0.0.1 */
    struct hc_http_pool *pool;
    struct hc_hub_response reply;
    struct hc_error err;
};

static int address_set_up(void **state)
{
    struct inside *inside = calloc(1, sizeof *inside);

    assert_non_null(inside);
    inside->site = raw_server_start();
    raw_server_answer(inside->site, " HTTP/1.1", ANSWER);
    inside->pool = hc_http_pool_open("test", NULL, 0, &inside->err);
    assert_non_null(inside->pool);
    *state = inside;
    return 0;
}

/* NULL: takes the variable away. The test's own thread is the only one that reads it. */
static void address_set_variable(const char *name, const char *value)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe) */
    if (value)
        assert_int_equal(setenv(name, value, 1), 0);
    else
        (void)unsetenv(name);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

static int address_tear_down(void **state)
{
    struct inside *inside = *state;

    address_set_variable("http_proxy", NULL);
    address_set_variable("no_proxy", NULL);
    hc_http_pool_close(inside->pool);
    raw_server_stop(inside->site);
    free(inside);
    return 0;
}

static const char *address_port_of(const struct inside *inside)
{
    return strrchr(raw_server_url(inside->site), ':');
}

/* One exchange with the server by that name, as if a redirect had led there. */
static int address_follow(struct inside *inside, const char *name, bool is_led_to)
{
    struct hc_http_request request = {.timeout_s = 5, .is_redirect_target = is_led_to};

    (void)snprintf(request.url, sizeof request.url, "http://%s%s/x", name,
                   address_port_of(inside));
    return hc_http_perform(inside->pool, &request, &inside->reply, &inside->err);
}

static void an_answer_does_not_lead_inside(void **state)
{
    /* Only the connection shows what this name means: curl takes it for this machine. */
    static const char *const names[] = {"127.0.0.1", "localhost", "storage.localhost"};
    struct inside *inside = *state;

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(address_follow(inside, names[i], true), -1);
        assert_int_equal(inside->err.reason, HC_BAD_HUB_REPLY);
        assert_non_null(strstr(inside->err.message, "--allow-private-redirects"));
    }
    assert_int_equal(raw_server_count(inside->site, " HTTP/1.1"), 0);
}

/* A name that is public when it is looked at, and means an address inside afterwards. */
static void the_address_that_is_connected_to_counts(void **state)
{
    struct inside *inside = *state;
    char name[256] = "";

    if (gethostname(name, sizeof name - 1) < 0 || !strcmp(name, "localhost"))
        skip();
    assert_false(hc_address_url_is_private(name));
    assert_int_equal(address_follow(inside, name, true), -1);
    if (inside->err.reason == HC_HUB_UNREACHABLE)
        skip(); /* the machine does not know its name */
    assert_int_equal(inside->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(raw_server_count(inside->site, " HTTP/1.1"), 0);
}

static void an_answer_leads_inside_when_that_is_allowed(void **state)
{
    struct inside *inside = *state;

    hc_http_pool_allow_private(inside->pool);
    assert_int_equal(address_follow(inside, "127.0.0.1", true), 0);
    assert_int_equal(inside->reply.status, 200);
}

static void a_hub_that_is_inside_may_lead_inside(void **state)
{
    struct inside *inside = *state;

    assert_int_equal(address_follow(inside, "hub.localhost", false), 0);
    assert_int_equal(address_follow(inside, "storage.localhost", true), 0);
}

/* An endpoint of the policy that is inside opens that for itself, not for the Hub. */
static void an_endpoint_that_is_inside_leads_inside_alone(void **state)
{
    struct inside *inside = *state;
    atomic_bool is_private = false;
    struct hc_http_request request = {.timeout_s = 5, .allows_private = &is_private};

    (void)snprintf(request.url, sizeof request.url, "http://hub.localhost%s/x",
                   address_port_of(inside));
    assert_int_equal(hc_http_perform(inside->pool, &request, &inside->reply,
                                     &inside->err),
                     0);
    assert_true(is_private);
    request.is_redirect_target = true;
    assert_int_equal(hc_http_perform(inside->pool, &request, &inside->reply,
                                     &inside->err),
                     0);
    assert_int_equal(address_follow(inside, "storage.localhost", true), -1);
    assert_int_equal(inside->err.reason, HC_BAD_HUB_REPLY);
}

/* The proxy is inside; what is behind it is not seen but in URLs. */
static void a_proxy_may_be_inside(void **state)
{
    struct inside *inside = *state;
    struct hc_http_request request = {.timeout_s = 5, .is_redirect_target = true};

    address_set_variable("http_proxy", raw_server_url(inside->site));
    (void)strcpy(request.url, "http://storage.example/x");
    assert_int_equal(hc_http_perform(inside->pool, &request, &inside->reply,
                                     &inside->err),
                     0);
    assert_int_equal(raw_server_count(inside->site, "GET http://storage.example/x"), 1);

    (void)strcpy(request.url, "http://169.254.169.254/latest/meta-data");
    assert_int_equal(hc_http_perform(inside->pool, &request, &inside->reply,
                                     &inside->err),
                     -1);
    assert_int_equal(inside->err.reason, HC_BAD_HUB_REPLY);

    address_set_variable("no_proxy",
                         "storage.localhost"); /* and the port is the proxy's */
    assert_int_equal(address_follow(inside, "storage.localhost", true), -1);
    assert_int_equal(inside->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(raw_server_count(inside->site, " HTTP/1.1"), 1);
}

/* Head and bytes; the Hub is public, for it is behind the proxy. */
static void a_public_hub_cannot_redirect_inside(void **state)
{
    static const char redirect[] =
        "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/meta-data\r\n"
        "Content-Length: 0\r\nConnection: close\r\n\r\n";
    struct inside *inside = *state;
    HC_AUTO(hc_hub) *hub = NULL;
    struct hc_repo repo;
    const struct hc_repo_file place = {&repo, "main", "f"};
    const struct hc_hub_credentials credentials = {0};
    struct hc_metadata metadata;

    address_set_variable("http_proxy", raw_server_url(inside->site));
    raw_server_answer(inside->site, "http://hub.example", redirect);
    hub = hub_fixture_open("http://hub.example", 0);
    assert_int_equal(hc_repo_init(&repo, HC_REPO_MODEL, "org/m", &inside->err), 0);
    assert_int_equal(hc_hub_head(hub, &place, &credentials, &metadata, &inside->err), -1);
    assert_int_equal(inside->err.reason, HC_BAD_HUB_REPLY);
    assert_non_null(strstr(inside->err.message, "private"));
    assert_null(hc_hub_tree(hub, &repo, "0123456789abcdef0123456789abcdef01234567",
                            &credentials, &inside->err));
    assert_int_equal(inside->err.reason, HC_BAD_HUB_REPLY);
    assert_int_equal(raw_server_count(inside->site, "http://169.254"), 0);
}

#define TEST(name)                                                                       \
    cmocka_unit_test_setup_teardown(name, address_set_up, address_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_inside_are_told_from_those_outside),
        cmocka_unit_test(addresses_are_seen_in_urls_however_they_are_spelt),
        TEST(an_answer_does_not_lead_inside),
        TEST(the_address_that_is_connected_to_counts),
        TEST(an_answer_leads_inside_when_that_is_allowed),
        TEST(a_hub_that_is_inside_may_lead_inside),
        TEST(an_endpoint_that_is_inside_leads_inside_alone),
        TEST(a_proxy_may_be_inside),
        TEST(a_public_hub_cannot_redirect_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
