/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events are made of the bytes of the packed result, which are not unpacked: a field
 * of its list, and one of a list of its own in an event, differ in the tag alone.
 */
#include "watch_result.h"

#include "message.h"

#include <string.h>

enum {
    RESULT = 2, /* the fields of WatchSnapshotResponse */
    FILES = 3,
    LIST = 13,            /* `files` of ResolveSnapshotResponse */
    FILE_TAG = 1 << 3 | 2 /* `files` of SnapshotFiles: a field with a length */
};

/* Where the list is among the bytes: protobuf packs it in one place. */
struct list_range {
    const uint8_t *begin, *end;
};

static struct list_range result_find_list(const struct hc_answer *result)
{
    const uint8_t *at = result->bytes, *end = result->bytes + result->size;
    struct list_range list = {end, end};
    struct hc_message_field field;

    while (at < end && hc_message_take_field(&at, end, &field)) {
        if (field.number != LIST)
            continue;
        if (list.begin == end)
            list.begin = field.begin;
        list.end = at;
    }
    return list;
}

/* An event with the fields of the list from `begin` to `end`. */
static struct hc_answer *files_event_new(const uint8_t *begin, const uint8_t *end)
{
    struct hc_message_field field;
    const uint8_t *at = begin;
    uint8_t *room;
    HC_AUTO(hc_answer) *files = hc_answer_new_room((size_t)(end - begin), &room);

    if (!files)
        return NULL;
    memcpy(room, begin, files->size);
    while (at < end && hc_message_take_field(&at, end, &field))
        room[field.begin - begin] = FILE_TAG; /* both tags have one byte */
    return hc_answer_wrap(FILES, files);
}

/* The end of the files that fit into the event that begins at `begin`. */
static const uint8_t *files_event_end(const uint8_t *begin, const uint8_t *end)
{
    struct hc_message_field field;
    const uint8_t *at = begin, *fits = begin;

    while (at < end && hc_message_take_field(&at, end, &field) &&
           (fits == begin || at - begin <= HC_WATCH_FILES_MAX))
        fits = at;
    return fits;
}

/* The result without its list. */
static struct hc_answer *result_event_new(const struct hc_answer *result,
                                          const struct list_range *list)
{
    size_t before = (size_t)(list->begin - result->bytes);
    size_t after = (size_t)(result->bytes + result->size - list->end);
    uint8_t *room;
    HC_AUTO(hc_answer) *rest = hc_answer_new_room(before + after, &room);

    if (!rest)
        return NULL;
    memcpy(room, result->bytes, before);
    memcpy(room + before, list->end, after);
    return hc_answer_wrap(RESULT, rest);
}

/*
 * The events with the files from `at` on, and then `last`. As deep as there are events,
 * whose number is that of the list's mebibytes.
 */
static struct hc_answer *events_new(/* NOLINT(misc-no-recursion) */
                                    const uint8_t *at, const uint8_t *end,
                                    struct hc_answer *last)
{
    const uint8_t *next = at < end ? files_event_end(at, end) : at;
    HC_AUTO(hc_answer) *following = NULL;
    HC_AUTO(hc_answer) *event = NULL;

    if (next == at)
        return hc_answer_hold(last);
    following = events_new(next, end, last);
    event = following ? files_event_new(at, next) : NULL;
    if (event)
        hc_answer_set_next(event, following);
    return hc_take(&event);
}

struct hc_answer *hc_watch_result_new(const struct hc_answer *result)
{
    HC_AUTO(hc_answer) *last = NULL;
    struct list_range list;
    struct hc_answer *first;

    if (result->size <= HC_WATCH_RESULT_MAX)
        return hc_answer_wrap(RESULT, result);
    list = result_find_list(result);
    last = result_event_new(result, &list);
    first = last ? events_new(list.begin, list.end, last) : NULL;
    if (first)
        first->facts = result->facts;
    return first;
}
