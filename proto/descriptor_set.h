/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hubcache.protoset in memory: a google.protobuf.FileDescriptorSet of the contract, of
 * the standard contracts that hubcached serves, and of all that they import, with
 * comments.
 */
#ifndef HC_PROTO_DESCRIPTOR_SET_H
#define HC_PROTO_DESCRIPTOR_SET_H

#include <stddef.h>
#include <stdint.h>

/* From the first byte up to, and without, the byte at the end. */
extern const uint8_t hc_descriptor_set[], hc_descriptor_set_end[];

#endif
