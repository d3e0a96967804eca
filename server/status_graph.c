/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drawing has a unit of width for each sample and 100 units of height; it is
 * stretched to the room there is, with lines of the same width. Its texts are beside it,
 * in HTML, so that they are not stretched. The last sample is at the right edge.
 */
#include "status_graph.h"

#include "html.h"

#include <stdint.h>

static const double height = 100;

double hc_graph_scale(double value, double least)
{
    double top = least;

    while (top < value) {
        if (2 * top >= value)
            return 2 * top;
        if (5 * top >= value)
            return 5 * top;
        top *= 10;
    }
    return top;
}

/* One decimal, of small figures that are no whole ones. */
static void write_value(const struct hc_graph *graph, double value, FILE *out)
{
    double whole = (double)(uint64_t)(value + 0.5);

    if (graph->is_of_bytes)
        hc_html_bytes(out, (uint64_t)value);
    else if (value < 10 && (value - whole >= 0.05 || whole - value >= 0.05))
        (void)fprintf(out, "%.1f", value);
    else
        hc_html_count(out, (uint64_t)whole);
    (void)fputs(graph->unit, out);
}

static double series_peak(const struct hc_samples *samples, enum hc_series series)
{
    double peak = 0;

    for (size_t i = 0; i < samples->count; i++) {
        if (peak < (double)samples->values[series][i])
            peak = (double)samples->values[series][i];
    }
    return peak;
}

static double graph_peak(const struct hc_graph *graph, const struct hc_samples *samples)
{
    double peak = 0;

    for (size_t i = 0; i < HC_GRAPH_LINES_MAX && graph->lines[i].name; i++) {
        double highest = series_peak(samples, graph->lines[i].series);

        if (peak < highest)
            peak = highest;
    }
    return peak;
}

static void write_path(const struct hc_samples *samples, enum hc_series series,
                       double top, FILE *out)
{
    size_t x = samples->room - samples->count;

    for (size_t i = 0; i < samples->count; i++) {
        double y = height * (1 - (double)samples->values[series][i] / top);

        (void)fprintf(out, "%c%zu %.4g", i == 0 ? 'M' : 'L', x + i, y < 0 ? 0 : y);
    }
}

/* The area below the first line, and all lines. */
static void write_drawing(const struct hc_graph *graph, const struct hc_samples *samples,
                          double top, FILE *out)
{
    size_t right = samples->room - 1;

    (void)fprintf(out,
                  "<svg viewBox=\"0 0 %zu 100\" preserveAspectRatio=\"none\" "
                  "aria-hidden=\"true\">"
                  "<path class=\"grid\" d=\"M0 0H%zuM0 50H%zuM0 100H%zu\"/>",
                  right, right, right, right);
    if (samples->count > 0) {
        (void)fputs("<path class=\"area\" d=\"", out);
        write_path(samples, graph->lines[0].series, top, out);
        (void)fprintf(out, "V100H%zuZ\"/>", samples->room - samples->count);
    }
    for (size_t i = 0; i < HC_GRAPH_LINES_MAX && graph->lines[i].name; i++) {
        (void)fprintf(out, "<path class=\"line l%zu\" d=\"", i);
        write_path(samples, graph->lines[i].series, top, out);
        (void)fputs("\"/>", out);
    }
    (void)fputs("</svg>", out);
}

/* The figures that the lines show, for readers who do not see them, too. */
static void write_legend(const struct hc_graph *graph, const struct hc_samples *samples,
                         FILE *out)
{
    (void)fputs("<ul class=\"legend\">", out);
    for (size_t i = 0; i < HC_GRAPH_LINES_MAX && graph->lines[i].name; i++) {
        const float *values = samples->values[graph->lines[i].series];

        (void)fprintf(out, "<li><i class=\"l%zu\"></i>%s ", i, graph->lines[i].name);
        if (samples->count > 0) {
            (void)fputs("<b>", out);
            write_value(graph, (double)values[samples->count - 1], out);
            (void)fputs("</b> <small>max ", out);
            write_value(graph, series_peak(samples, graph->lines[i].series), out);
            (void)fputs("</small>", out);
        }
        (void)fputs("</li>", out);
    }
    (void)fputs("</ul>", out);
}

void hc_status_graph_write(const struct hc_graph *graph, const struct hc_samples *samples,
                           const char *span, FILE *out)
{
    double top =
        hc_graph_scale(graph_peak(graph, samples), graph->is_of_bytes ? 1000 : 1);

    (void)fprintf(out, "<figure><figcaption><span>%s <small>%s</small></span><small>",
                  graph->title, span);
    if (samples->count > 0)
        write_value(graph, top, out);
    else
        (void)fputs("no sample yet", out);
    (void)fputs("</small></figcaption>", out);
    write_drawing(graph, samples, top, out);
    (void)fprintf(out, "<div class=\"axis\"><span>%s ago</span><span>now</span></div>",
                  span);
    write_legend(graph, samples, out);
    (void)fputs("</figure>\n", out);
}
