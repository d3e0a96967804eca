/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that grow, as those of an answer do. Zero-initialise it; always NUL-terminated
 * once something was added. For one thread at a time.
 */
#ifndef HC_HUB_BODY_H
#define HC_HUB_BODY_H

#include <base/auto.h>

#include <stddef.h>

struct hc_error;

struct hc_body {
    char *bytes;
    size_t used;
    size_t room;
};

int hc_body_add(struct hc_body *body, const void *bytes, size_t count,
                struct hc_error *err);
void hc_body_clear(struct hc_body *body);
HC_DEFINE_AUTO_VALUE(hc_body, hc_body_clear)

#endif
