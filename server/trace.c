/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids are SplitMix64 of a counter (Steele, Lea, Flood, 2014): one atomic addition, and a
 * sequence that repeats no number before 2^64 of them.
 *
 * Of the flags only "sampled" is passed on, as version 00 of the format demands. The
 * header "tracestate" is not: it holds what vendors of tracing tell each other, which is
 * no business of the Hub's.
 */
#include "trace.h"

#include <string.h>
#include <sys/random.h>

enum {
    VERSION_END = 2,
    ID_END = VERSION_END + 1 + 32,
    SPAN_END = ID_END + 1 + 16,
    FLAGS_END = SPAN_END + 1 + 2,
    SAMPLED = 1
};

static uint64_t number_mix(uint64_t number)
{
    number = (number ^ number >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 27) * UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

/* Without random bytes, of which the kernel has some after its first seconds, ids are
 * unique in this process. */
void hc_trace_source_init(struct hc_trace_source *source)
{
    memset(source->seeds, 0, sizeof source->seeds);
    (void)getrandom(source->seeds, sizeof source->seeds, GRND_NONBLOCK);
    atomic_init(&source->count, 1);
}

/* Zero stands for no id. */
static uint64_t source_number(uint64_t seed, uint64_t count)
{
    uint64_t number = number_mix(seed + count * UINT64_C(0x9e3779b97f4a7c15));

    return number != 0 ? number : 1;
}

/* Lower-case hexadecimal digits; false: there is another byte. */
static bool digits_parse(const char *text, size_t count, uint64_t *number)
{
    *number = 0;
    for (size_t i = 0; i < count; i++) {
        bool is_digit = text[i] >= '0' && text[i] <= '9';

        if (!is_digit && (text[i] < 'a' || text[i] > 'f'))
            return false;
        *number = *number << 4 | (uint64_t)(text[i] - (is_digit ? '0' : 'a' - 10));
    }
    return true;
}

/* A later version may have more behind another dash. */
static bool header_has_form(const char *header, size_t size)
{
    uint64_t version;

    if (size < FLAGS_END || !digits_parse(header, 2, &version) || version == 0xff)
        return false;
    if (header[VERSION_END] != '-' || header[ID_END] != '-' || header[SPAN_END] != '-')
        return false;
    return size == FLAGS_END || (version > 0 && header[FLAGS_END] == '-');
}

bool hc_trace_parse(struct hc_trace *trace, const char *header, size_t size)
{
    struct hc_trace parsed;
    uint64_t flags;

    if (!header_has_form(header, size) ||
        !digits_parse(header + VERSION_END + 1, 16, &parsed.id[0]) ||
        !digits_parse(header + VERSION_END + 17, 16, &parsed.id[1]) ||
        !digits_parse(header + ID_END + 1, 16, &parsed.span) ||
        !digits_parse(header + SPAN_END + 1, 2, &flags))
        return false;
    if ((parsed.id[0] | parsed.id[1]) == 0 || parsed.span == 0)
        return false;
    parsed.flags = flags & SAMPLED;
    *trace = parsed;
    return true;
}

struct hc_trace hc_trace_begin(struct hc_trace_source *source, const char *header,
                               size_t size)
{
    uint64_t count = atomic_fetch_add_explicit(&source->count, 1, memory_order_relaxed);
    struct hc_trace trace = {.flags = 0};

    if (!header || !hc_trace_parse(&trace, header, size)) {
        trace.id[0] =
            number_mix(source->seeds[1] ^ source_number(source->seeds[0], count));
        trace.id[1] = source_number(source->seeds[0], count);
    }
    trace.span = source_number(source->seeds[1], count);
    return trace;
}

static char *digits_format(char *out, uint64_t number)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        *out++ = "0123456789abcdef"[number >> shift & 15];
    return out;
}

void hc_trace_format_id(const struct hc_trace *trace, char id[HC_TRACE_ID_SIZE])
{
    *digits_format(digits_format(id, trace->id[0]), trace->id[1]) = '\0';
}

void hc_trace_format(const struct hc_trace *trace, char header[HC_TRACEPARENT_SIZE])
{
    char *end;

    *header = '\0';
    if (trace->span == 0)
        return;
    memcpy(header, "00-", 3);
    end = digits_format(digits_format(header + 3, trace->id[0]), trace->id[1]);
    *end++ = '-';
    end = digits_format(end, trace->span);
    memcpy(end, trace->flags & SAMPLED ? "-01" : "-00", 4);
}
