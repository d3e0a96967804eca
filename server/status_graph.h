/* SPDX-License-Identifier: Apache-2.0 */
/* A graph of the status page: lines over time as inline SVG, which needs no script. */
#ifndef HC_SERVER_STATUS_GRAPH_H
#define HC_SERVER_STATUS_GRAPH_H

#include "status_history.h"

#include <stdbool.h>
#include <stdio.h>

enum { HC_GRAPH_LINES_MAX = 3 };

struct hc_graph {
    const char *title;
    const char *unit; /* "/s", "" */
    bool is_of_bytes;
    struct {
        enum hc_series series;
        const char *name; /* NULL: there are no more */
    } lines[HC_GRAPH_LINES_MAX];
};

/* A figure element. `span`: "10 minutes". */
void hc_status_graph_write(const struct hc_graph *graph, const struct hc_samples *samples,
                           const char *span, FILE *out);

/*
 * The top of the scale: the smallest of 1, 2, 5, 10, 20, … times `least` that is not
 * below `value`.
 */
double hc_graph_scale(double value, double least);

#endif
