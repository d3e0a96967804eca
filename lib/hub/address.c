/* SPDX-License-Identifier: Apache-2.0 */
/*
 * IANA's special-purpose registries as a table of prefixes. IPv6 addresses that carry an
 * IPv4 address are judged by that one.
 */
#include "address.h"

#include <base/text.h>

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PORT_OF_PROXY = 1080 /* curl's, when none is named */ };

static const struct {
    uint32_t prefix;
    unsigned bits;
} private_v4[] = {
    {0x00000000, 8},  /* this network, unspecified */
    {0x0a000000, 8},  /* private */
    {0x64400000, 10}, /* shared, CGNAT; metadata of Alibaba Cloud */
    {0x7f000000, 8},  /* loopback */
    {0xa83f8110, 32}, /* 168.63.129.16: Azure's host */
    {0xa9fe0000, 16}, /* link-local; metadata */
    {0xac100000, 12}, /* private */
    {0xc0000000, 24}, /* protocol assignments; metadata of Oracle */
    {0xc0a80000, 16}, /* private */
    {0xc6120000, 15}, /* benchmarks */
    {0xe0000000, 4},  /* multicast */
    {0xf0000000, 4},  /* reserved, broadcast */
};

static bool v4_is_private(uint32_t address)
{
    for (size_t i = 0; i < sizeof private_v4 / sizeof *private_v4; i++) {
        if ((address ^ private_v4[i].prefix) >> (32 - private_v4[i].bits) == 0)
            return true;
    }
    return false;
}

static uint32_t v6_word_at(const struct in6_addr *address, size_t offset)
{
    uint32_t word;

    memcpy(&word, address->s6_addr + offset, sizeof word);
    return ntohl(word);
}

/* Where an IPv6 address carries an IPv4 one; -1: it does not. */
static int v6_offset_of_v4(const struct in6_addr *address)
{
    static const struct {
        unsigned char prefix[12];
        size_t size;
        int offset;
    } carriers[] = {
        {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 12, 12},    /* mapped */
        {{0}, 12, 12},                                           /* compatible, ::, ::1 */
        {{0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0}, 12, 12},    /* translated */
        {{0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0}, 12, 12}, /* NAT64 */
        {{0x20, 0x02}, 2, 2},                                    /* 6to4 */
    };

    for (size_t i = 0; i < sizeof carriers / sizeof *carriers; i++) {
        if (memcmp(address->s6_addr, carriers[i].prefix, carriers[i].size) == 0)
            return carriers[i].offset;
    }
    return -1;
}

static bool v6_is_private(const struct in6_addr *address)
{
    static const unsigned char local_nat64[6] = {0, 0x64, 0xff, 0x9b, 0, 1};
    static const unsigned char teredo[4] = {0x20, 0x01, 0, 0};
    const unsigned char *bytes = address->s6_addr;
    int offset = v6_offset_of_v4(address);

    if (offset >= 0)
        return v4_is_private(v6_word_at(address, (size_t)offset));
    return (bytes[0] & 0xfe) == 0xfc ||                       /* unique local; metadata */
           (bytes[0] == 0xfe && (bytes[1] & 0x80) == 0x80) || /* link- and site-local */
           bytes[0] == 0xff ||                                /* multicast */
           memcmp(bytes, local_nat64, sizeof local_nat64) == 0 ||
           memcmp(bytes, teredo, sizeof teredo) == 0;
}

bool hc_address_is_private(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    switch (address->sa_family) {
    case AF_INET:
        memcpy(&v4, address, sizeof v4);
        return v4_is_private(ntohl(v4.sin_addr.s_addr));
    case AF_INET6:
        memcpy(&v6, address, sizeof v6);
        return v6_is_private(&v6.sin6_addr);
    default:
        return true; /* of another family: no way to a public Hub */
    }
}

/* The host of a URL as curl reads it, the caller frees with curl_free(); NULL: none. */
static char *url_host_part(const char *text, CURLUPart part)
{
    CURLU *url = curl_url();
    char *value = NULL;

    if (url && curl_url_set(url, CURLUPART_URL, text,
                            CURLU_GUESS_SCHEME | CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK)
        (void)curl_url_get(url, part, &value,
                           part == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0);
    curl_url_cleanup(url);
    return value;
}

static bool host_is_private(char *host)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    size_t length = strlen(host);

    if (length > 0 && host[length - 1] == '.')
        host[--length] = '\0';
    if (length > 2 && host[0] == '[') {
        host[strcspn(host, "%]")] = '\0';
        return inet_pton(AF_INET6, host + 1, &v6.sin6_addr) == 1 &&
               hc_address_is_private((const struct sockaddr *)&v6);
    }
    if (inet_pton(AF_INET, host, &v4.sin_addr) == 1)
        return hc_address_is_private((const struct sockaddr *)&v4);
    return strcasecmp(host, "localhost") == 0 ||
           (length > 10 && strcasecmp(host + length - 10, ".localhost") == 0);
}

bool hc_address_url_is_private(const char *url)
{
    char *host = url_host_part(url, CURLUPART_HOST);
    bool is_private = host && host_is_private(host);

    curl_free(host);
    return is_private;
}

/* The first variable of these that is set and not empty. */
static const char *environment_first(const char *const names[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        /* NOLINTNEXTLINE(concurrency-mt-unsafe): no thread sets variables by now */
        const char *value = getenv(names[i]);

        if (value && value[0])
            return value;
    }
    return NULL;
}

static const char *proxy_of_url(const char *url)
{
    static const char *const plain[] = {"http_proxy", "HTTP_PROXY", "all_proxy",
                                        "ALL_PROXY"};
    static const char *const tls[] = {"https_proxy", "HTTPS_PROXY", "all_proxy",
                                      "ALL_PROXY"};

    return hc_text_starts(url, "https://") ? environment_first(tls, 4)
                                           : environment_first(plain, 4);
}

static unsigned url_port(const char *url, unsigned fallback)
{
    char *text = url_host_part(url, CURLUPART_PORT);
    unsigned port = text ? (unsigned)strtoul(text, NULL, 10) : fallback;

    curl_free(text);
    return port;
}

/* Curl gives a proxy without a port 1080, whatever its scheme but https. */
static unsigned proxy_port(const char *proxy)
{
    const char *host = strstr(proxy, "://");
    bool names_port = strrchr(host ? host + 3 : proxy, ':') != NULL;

    if (!names_port && !hc_text_starts(proxy, "https://"))
        return PORT_OF_PROXY;
    return url_port(proxy, PORT_OF_PROXY);
}

bool hc_address_is_of_proxy(const struct sockaddr *address, const char *url)
{
    static const char *const exceptions[] = {"no_proxy", "NO_PROXY"};
    const char *proxy = proxy_of_url(url);
    struct sockaddr_in any; /* the port is at the same place in both families */
    unsigned port;

    if (!proxy)
        return false;
    memcpy(&any, address, sizeof any);
    port = ntohs(any.sin_port);
    return port == proxy_port(proxy) &&
           (!environment_first(exceptions, 2) || port != url_port(url, 0));
}
