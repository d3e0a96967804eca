/* SPDX-License-Identifier: Apache-2.0 */
/* Later releases of gRPC declare in <grpc/credentials.h> what 1.51 declares here. */
#include <grpc/grpc_security.h>
