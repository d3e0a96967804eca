/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uses the parts of the in-process library that need no cache, as its headers say.
 */
#include <hubcache/cancellation.h>
#include <hubcache/error.h>
#include <hubcache/repo.h>
#include <hubcache/resolver.h>
#include <hubcache/settings.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    struct hc_settings settings;
    struct hc_error err;
    int result;

    memset(&settings, 0, sizeof settings);
    result = hc_settings_load(&settings, &err);
    if (result == 0)
        printf("libhubcache %s, Hub at %s\n", hc_version(), settings.endpoint);
    hc_settings_clear(&settings);
    return result == 0 ? 0 : 1;
}
