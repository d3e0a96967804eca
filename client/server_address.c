/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC would look up a target that is no URI as a name, and decode "%" in one that is.
 * The address is therefore checked here, where the message can say what is wrong, and
 * encoded.
 */
#include "server_address.h"

#include "base/error.h"
#include "base/text.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

/* Appends `text` to `uri`, percent-encoding what a URI's path may not hold. */
static int uri_append(char *uri, size_t size, const char *text)
{
    size_t used = strlen(uri);

    for (const unsigned char *s = (const unsigned char *)text; *s; s++) {
        bool is_plain = isalnum(*s) || strchr("-._~/:", *s);
        int length = hc_format(uri + used, size - used, is_plain ? "%c" : "%%%02X", *s);

        if (length < 0)
            return -1;
        used += (size_t)length;
    }
    return 0;
}

static bool port_is_valid(const char *text)
{
    size_t length = strlen(text);

    return length >= 1 && length <= 5 && strspn(text, "0123456789") == length &&
           strtol(text, NULL, 10) >= 1 && strtol(text, NULL, 10) <= 65535;
}

static bool host_is_valid(const char *text, size_t length)
{
    if (length > 2 && text[0] == '[' && text[length - 1] == ']')
        return strcspn(text, "]") == length - 1;
    return length > 0 && strcspn(text, ":[]/ ") >= length;
}

static int unix_address_check(const char *address, struct hc_error *err)
{
    const char *path = address + strlen("unix:");

    if (path[0] != '/')
        return hc_fail_field(err, HC_INVALID_OPTIONS, "server",
                             "server '%.200s': the socket's path must be absolute, as in "
                             "'unix:/run/hubcached.sock'",
                             address);
    if (strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "server",
                             "server '%.200s…': the socket's path is too long", address);
    return 0;
}

static int inet_address_check(const char *address, struct hc_error *err)
{
    const char *colon = strrchr(address, ':');

    if (colon && host_is_valid(address, (size_t)(colon - address)) &&
        port_is_valid(colon + 1))
        return 0;
    return hc_fail_field(err, HC_INVALID_OPTIONS, "server",
                         "server '%.200s' is not an address: write 'host:port', "
                         "'https://host:port', 'dns:///host:port' or 'unix:/path'",
                         address);
}

/* Skips the scheme, if it is that one. */
static bool address_skip_scheme(const char **address, const char *scheme)
{
    if (!hc_text_starts(*address, scheme))
        return false;
    *address += strlen(scheme);
    return true;
}

int hc_server_address_parse(const char *text, struct hc_server_address *address,
                            struct hc_error *err)
{
    const char *rest = text;
    bool is_unix = hc_text_starts(text, "unix:");

    *address = (struct hc_server_address){.is_balanced = false};
    address->has_tls = address_skip_scheme(&rest, "https://");
    address->is_balanced = !address->has_tls && address_skip_scheme(&rest, "dns:///");
    if ((is_unix ? unix_address_check(rest, err) : inet_address_check(rest, err)) < 0)
        return -1;
    if (hc_format(address->uri, sizeof address->uri, "%s", is_unix ? "" : "dns:///") <
            0 ||
        uri_append(address->uri, sizeof address->uri, rest) < 0)
        return hc_fail_field(err, HC_INVALID_OPTIONS, "server",
                             "server '%.200s…': the address is too long", text);
    return 0;
}
