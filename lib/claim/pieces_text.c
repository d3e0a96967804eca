/* SPDX-License-Identifier: Apache-2.0 */
#include "pieces_text.h"

#include <base/text.h>

#include <inttypes.h>
#include <stdlib.h>

enum { RANGE_TEXT = 48 };

void hc_pieces_format(struct hc_pieces *pieces, char text[HC_PIECES_TEXT_SIZE])
{
    struct hc_span range = {0};
    size_t used = 0;

    text[0] = '\0';
    while (used + RANGE_TEXT < HC_PIECES_TEXT_SIZE &&
           hc_pieces_next_range(pieces, range.end, &range))
        used += (size_t)hc_format(text + used, HC_PIECES_TEXT_SIZE - used,
                                  "%s%" PRIu64 "-%" PRIu64, used > 0 ? "," : "",
                                  range.start, range.end);
}

static bool range_parse(const char **text, struct hc_span *range)
{
    char *end;

    if (**text < '0' || **text > '9')
        return false;
    range->start = strtoull(*text, &end, 10);
    if (end[0] != '-' || end[1] < '0' || end[1] > '9')
        return false;
    range->end = strtoull(end + 1, &end, 10);
    *text = end;
    return range->start < range->end;
}

static bool pieces_parse_ranges(struct hc_pieces *pieces, const char *text)
{
    struct hc_span range = {0};

    while (*text) {
        if (!range_parse(&text, &range) || range.end > hc_pieces_size(pieces) ||
            (*text != '\0' && *text != ','))
            return false;
        text += *text == ',';
        hc_pieces_mark_range(pieces, &range);
    }
    return true;
}

bool hc_pieces_parse(struct hc_pieces *pieces, const char *text)
{
    bool is_good;

    hc_pieces_clear(pieces);
    is_good = pieces_parse_ranges(pieces, text);
    if (!is_good)
        hc_pieces_clear(pieces);
    return is_good;
}
