/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Link header (RFC 8288): links to other resources, each with parameters that say
 * what it is to the one that was asked for. Parsing only; everything here may be fed
 * hostile bytes.
 */
#ifndef HC_HUB_LINK_H
#define HC_HUB_LINK_H

#include <stddef.h>

/*
 * The target of the link with the relation "next" among those of one header value. Found:
 * 1, and `target`, as it was sent. Absent: 0. -1 when the value is no list of links, so
 * that nothing is known of the next page, and when a next page is named that cannot be
 * asked for: without a target, with one that does not fit in `size` bytes, two that
 * differ, or one for another resource (`anchor`).
 */
int hc_link_next(const char *value, char *target, size_t size);

#endif
