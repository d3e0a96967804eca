/* SPDX-License-Identifier: Apache-2.0 */
/* A library for LD_PRELOAD with which gRPC's library never ends its last shutdown. */
#include <dlfcn.h>
#include <unistd.h>

__attribute__((visibility("default"))) void grpc_shutdown_blocking(void);

void grpc_shutdown_blocking(void)
{
    void (*real)(void);
    int (*is_initialized)(void);

    *(void **)&real = dlsym(RTLD_NEXT, "grpc_shutdown_blocking");
    *(void **)&is_initialized = dlsym(RTLD_NEXT, "grpc_is_initialized");
    real();
    while (!is_initialized())
        (void)pause();
}
