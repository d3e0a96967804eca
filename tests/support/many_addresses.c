/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A library for LD_PRELOAD with which the name "replicas.test" has the addresses
 * 127.0.0.1 to 127.0.0.3. gRPC asks getaddrinfo(3) with GRPC_DNS_RESOLVER=native.
 */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>

typedef int (*lookup_fn)(const char *, const char *, const struct addrinfo *,
                         struct addrinfo **);

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name)
__attribute__((visibility("default"))) int getaddrinfo(const char *name,
                                                       const char *service,
                                                       const struct addrinfo *hints,
                                                       struct addrinfo **result);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **result)
{
    static const char *const addresses[] = {"127.0.0.1", "127.0.0.2", "127.0.0.3"};
    struct addrinfo **end = result;
    lookup_fn real;
    int status = 0;

    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (!name || strcmp(name, "replicas.test") != 0)
        return real(name, service, hints, result);
    *result = NULL;
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses && status == 0; i++) {
        status = real(addresses[i], service, hints, end);
        while (status == 0 && *end)
            end = &(*end)->ai_next;
    }
    return status;
}
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
