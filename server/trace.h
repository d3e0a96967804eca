/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The trace that a call belongs to, as W3C's Trace Context says (recommendation of 2021,
 * "00-<trace id>-<span id>-<flags>"). A caller that sends a valid header "traceparent"
 * has begun the trace; for any other call a new one begins. Each call is a span of its
 * own, which the Hub's requests have as their parent. A value, copyable; a source serves
 * any number of threads.
 */
#ifndef HC_SERVER_TRACE_H
#define HC_SERVER_TRACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All ids are but a number to others, so random ones that come fast will do. */
struct hc_trace_source {
    uint64_t seeds[2];
    atomic_uint_least64_t count;
};

void hc_trace_source_init(struct hc_trace_source *source);

/* Zero: none. */
struct hc_trace {
    uint64_t id[2];
    uint64_t span;
    uint8_t flags; /* 1: the caller records the trace */
};

/* `header` NULL: the call has none. */
struct hc_trace hc_trace_begin(struct hc_trace_source *source, const char *header,
                               size_t size);

/* False: not valid, and `trace` is what it was. Its span becomes the caller's. */
bool hc_trace_parse(struct hc_trace *trace, const char *header, size_t size);

enum { HC_TRACE_ID_SIZE = 33, HC_TRACEPARENT_SIZE = 56 };

void hc_trace_format_id(const struct hc_trace *trace, char id[HC_TRACE_ID_SIZE]);

/* The header for requests that this span makes. "" for no trace. */
void hc_trace_format(const struct hc_trace *trace, char header[HC_TRACEPARENT_SIZE]);

#endif
