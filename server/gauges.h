/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of the page of metrics that other parts of the server count: gauges, and the
 * counters that have an owner already. Each number is read from its owner while the page
 * is written. Any thread.
 */
#ifndef HC_SERVER_GAUGES_H
#define HC_SERVER_GAUGES_H

#include <stdio.h>

struct hc_audit;
struct hc_coalescer;
struct hc_keeper;
struct hc_policy_file;
struct hc_prefetches;
struct hc_read_streams;
struct hc_reload;
struct hc_resolver;
struct hc_rpc;
struct hc_scrubber;
struct hc_tls;
struct hc_usage_scanner;
struct hc_workers;

/* The owners; all borrowed. */
struct hc_gauges {
    struct hc_workers *disk, *hub, *admin; /* the pools */
    struct hc_coalescer *coalescer;
    struct hc_prefetches *prefetches;
    struct hc_keeper *keeper;
    struct hc_scrubber *scrubber;
    struct hc_resolver *resolver;
    struct hc_rpc *rpc;
    struct hc_read_streams *reads;
    struct hc_reload *reload;
    struct hc_tls *tls;            /* NULL: clear text */
    struct hc_audit *audit;        /* NULL: none */
    struct hc_policy_file *policy; /* NULL: none */
    struct hc_usage_scanner *usage;
};

void hc_gauges_write(const struct hc_gauges *gauges, FILE *out);

#endif
